"""One optimum over all slots: in one programme where that is small, else slot by slot under common prices."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from green_llm.optimizer.block import Block
from green_llm.optimizer.block_programme import Data
from green_llm.optimizer.by_slots import by_slots, prices_of_slots
from green_llm.optimizer.limit_prices import Prices, reduced_costs
from green_llm.optimizer.optimum import Optimum, Point, Task
from green_llm.optimizer.running import StoppedError, TimeIsUpError, alone
from green_llm.optimizer.state import State
from green_llm.optimizer.units import clustered, coarse, least_delay, loose_units
from green_llm.optimizer.units import units as units_of

WHOLE = 60_000
"""Shares up to which one programme over all slots is faster than many (measured: the crossing is near)."""
EVERY_SITE = 15_000
"""Shares up to which all of them are columns from the start, where no prices can be guessed."""
GUESSED = 5_000
"""Shares from which prices are worth a guess."""
NEAREST = 3
"""Sites that each unit starts with slot by slot."""
NEAREST_OF_ALL = 5
"""The same in one programme over all slots, where another round takes longer."""

FEW = 1, 4
"""Members of a merged unit that stand for all of them in a first guess of prices, and in a second, slot by slot."""
CLOSE = 0.02
"""Part of each slot's units that begin with two sites then: those that change first."""
CLUSTERED = 10_000
"""Clusters of units that such a guess is made of."""
NEAR = 1e-6
"""Of the objective's mean term: what a site may cost more than the cheapest to be in a programme that ends exactly."""
MANY = 50
"""Units by cell from which one programme is faster however many they are: limits leave nearly all of them one site."""


def minimise(task: Task, start: Point | None) -> Optimum:
    """The optimum; ``start`` keeps every limit and coupling row.

    Raises:
        NoSolutionError: no point keeps everything.
        TimeIsUpError: at the deadline.
        StoppedError: HiGHS found no clear end, or the bounds did not meet.
    """
    if task.units.columns <= WHOLE:
        return _whole(task, start)
    if len(task.units.slots) > MANY * task.instance.slots * len(task.instance.sites):
        return _nearly_closed(task, start if task.terms.names is not None else None)
    # Both ends of a row's price are open there; a mix of answers is no end of ties.
    if any(np.isfinite(row.least) for row in task.rows) or (task.rows and task.terms.names is not None):
        return _whole(task, start)
    return by_slots(task, start, NEAREST, _guess(task, FEW))


def exactly(task: Task, near: Optimum) -> Optimum:
    """The optimum as one programme ends with it: prices that are optimal to the solver's tolerance, no mix of answers.

    ``near`` is one that bounds have proved: its shares and what costs hardly more are what the programme begins with.
    """
    if not task.rows:
        return near
    data = Data.of(task.instance, task.units, 0, task.instance.slots)
    reduced = reduced_costs(data, task.priced(near.prices.coupling), near.prices)
    close = reduced - reduced.min(axis=1, keepdims=True, initial=np.inf) <= NEAR * task.unit
    task.state.candidates[:] = (close | (near.point.shares > 0)) & task.units.serving
    block = Block(task.instance, task.units, task.state, 0, task.instance.slots)
    block.couple(task.rows)
    return _optimum(task, block)


def _guess(task: Task, members: Sequence[int]) -> Prices | None:
    """Prices of limits and rows by a few of the units that would merge; None where there is better or nothing."""
    if task.state.candidates.any() or task.terms.late is not None:
        return None
    if task.terms.delay and not task.rows:
        # All prices would be made of the few's own delays.
        return None
    if not (task.terms.delay or len(task.units.limited) or any(row.terms.delay for row in task.rows)):
        # Where delay does not count, all units that would merge have.
        return None
    loose, prices = loose_units(task.instance, task.units.triples), None
    # No guess is no harm; where time is up, the next run says so.
    with contextlib.suppress(StoppedError):
        for count in members:
            few = coarse(task.units, loose, count)
            if 3 * few.columns > task.units.columns:
                break
            part = replace(task, units=few, state=State.new(task.instance, few))
            prices = (
                _whole(part, None).prices if prices is None else prices_of_slots(part, len(task.instance.sites), prices)
            )
    return prices


def _nearly_closed(task: Task, start: Point | None) -> Optimum:
    """One programme in which each unit begins with its cheapest site at guessed prices, as only few need a second.

    A start is worth its sites too where only ties are left.
    """
    prices = _prices_of_clusters(task)
    task.state.candidates[:] = False
    block = Block(task.instance, task.units, task.state, 0, task.instance.slots, CLOSE)
    block.couple(task.rows)
    terms = task.terms if prices is None else task.priced(prices.coupling)
    block.start_with(terms, 1, prices)
    block.widen(terms)
    if start is not None:
        task.state.candidates[:] |= (start.shares > 0) & task.units.serving
    return _optimum(task, block)


def _prices_of_clusters(task: Task) -> Prices | None:
    """Prices of limits and rows if alike units had common shares; None where that keeps no row."""
    units = task.units
    merged = units_of(task.instance, units.triples, merged=True)
    few = clustered(units, merged, max(1, CLUSTERED // max(1, len(merged.slots))))
    # What common shares add to delay is no reason to be short of a row.
    added = max(0.0, least_delay(few) - least_delay(units))
    rows = tuple(replace(row, most=row.most + row.terms.delay * added, least=-np.inf) for row in task.rows)
    try:
        guess = replace(
            task, units=few, state=State.new(task.instance, few), terms=replace(task.terms, names=None), rows=rows
        )
        return _whole(guess, None).prices
    except TimeIsUpError:
        raise
    except StoppedError:
        return None


def _whole(task: Task, start: Point | None) -> Optimum:
    block = Block(task.instance, task.units, task.state, 0, task.instance.slots)
    block.couple(task.rows)
    prices = _guess(task, FEW[:1]) if task.units.columns > GUESSED else None
    every = prices is None and task.units.columns <= EVERY_SITE
    terms = task.terms if prices is None else task.priced(prices.coupling)
    block.start_with(terms, len(task.instance.sites) if every else NEAREST_OF_ALL, prices)
    if start is not None:
        task.state.candidates[:] |= (start.shares > 0) & task.units.serving
    return _optimum(task, block)


def _optimum(task: Task, block: Block) -> Optimum:
    answer = alone(block.steps(task.terms, task.unit), task.deadline)
    block.keep_basis()
    shares = np.zeros(task.units.delay.shape)
    shares.ravel()[answer.places] = answer.shares
    return Optimum(Point(shares, answer.grid), answer.value, answer.bound, answer.prices)
