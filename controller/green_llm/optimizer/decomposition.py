"""One optimum over all slots: in one programme where that is small, else slot by slot under common prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from green_llm.optimizer.block import Block, Prices
from green_llm.optimizer.by_slots import by_slots
from green_llm.optimizer.optimum import Optimum, Point, Task
from green_llm.optimizer.state import State
from green_llm.optimizer.units import coarse

WHOLE = 60_000
"""Shares up to which one programme over all slots is faster than many (measured: the crossing is near)."""
EVERY_SITE = 15_000
"""Shares up to which all of them are columns from the start."""
NEAREST = 3
"""Sites that each unit starts with otherwise."""

FEW = 1
"""Members of a merged unit that stand for all of them in a first guess of prices."""


def minimise(task: Task, start: Point | None) -> Optimum:
    """The optimum; ``start`` keeps every limit and coupling row.

    Raises:
        NoSolutionError: no point keeps everything.
        TimeIsUpError: at the deadline.
        StoppedError: HiGHS found no clear end, or the bounds did not meet.
    """
    if task.units.columns > WHOLE:
        return by_slots(task, start, NEAREST, _guess(task))
    return _whole(task, start)


def _guess(task: Task) -> Prices | None:
    """Prices of limits and rows by a few members of every merged unit; None where there is better or nothing."""
    if task.merged is None or task.state.candidates.any():
        return None
    few = coarse(task.units, task.merged, FEW)
    if 3 * few.columns > task.units.columns:
        return None
    state = State.new(task.instance, few)
    prices = _whole(replace(task, units=few, state=state), None).prices
    for part in ("grid", "balance", "capacity"):
        getattr(task.state, part)[:] = getattr(state, part)
    return prices


def _whole(task: Task, start: Point | None) -> Optimum:
    block = Block(task.instance, task.units, task.state, 0, task.instance.slots)
    block.couple(task.rows)
    block.start_with(task.terms, len(task.instance.sites) if task.units.columns <= EVERY_SITE else NEAREST)
    if start is not None:
        task.state.candidates[:] |= start.shares > 0
    answer = block.solve(task.terms, task.unit, task.deadline)
    block.keep_basis()
    shares = np.zeros(task.units.delay.shape)
    shares.ravel()[answer.places] = answer.shares
    return Optimum(Point(shares, answer.grid), answer.value, answer.bound, answer.prices)
