"""One process's part of a back-test: decide, then charge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from green_llm.backtest import actuals, tally
from green_llm.backtest.methods import Method
from green_llm.backtest.replay import Decisions, Progress, Task, replay
from green_llm.domain.instance import FloatArray
from green_llm.optimizer.baselines import nearest_shares
from green_llm.optimizer.coefficients import uniform_shares
from green_llm.services.assemble import Assembled


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What one method came to."""

    method: Method
    tally: tally.Tally
    decisions: Decisions | None
    """Without their shares, which have been charged; None for a rule that looks at no signal."""
    unknown_pairs: int
    """Pairs whose arrivals nobody knows on some day."""


def run(task: Task, progress: Progress = lambda _done, _all: None) -> Ran:
    """Decide and charge every interval of one method."""
    decisions = None if task.method.splits else replay(task, progress)
    found, unknown = asyncio.run(_charged(task, decisions))
    if decisions is not None:
        # 3 kB an interval on nine sites: they would cross to the caller's process, and be held there for every method.
        decisions = replace(decisions, shares=decisions.shares[:0].copy())
    return Ran(method=task.method, tally=found, decisions=decisions, unknown_pairs=unknown)


async def _charged(task: Task, decisions: Decisions | None) -> tuple[tally.Tally, int]:
    request = task.request()
    found, unknown = tally.begin(task.span.count, len(request.sites)), 0
    split = None if decisions is not None else _split(task)
    async for day in actuals.days(task):
        unknown = max(unknown, len(request.pairs) - len(day.pairs))
        if decisions is not None:
            tally.charge(found, day, decisions.shares[day.first : day.last])
        elif split is not None and day.traffic:
            ground = day.ground()
            tally.charge_shares(found, day, ground, split(day, ground))
    return found, unknown


def _split(task: Task) -> Callable[[actuals.Day, Assembled], FloatArray]:
    """The shares [I,J,K,T] of a fixed rule."""
    match task.method:
        case Method.NEAREST:
            return lambda _day, ground: nearest_shares(ground.instance)
        case Method.UNIFORM:
            return lambda _day, ground: uniform_shares(ground.instance)
        case _:
            given = task.settings.split
            return lambda day, ground: _static(given, day, ground)


def _static(given: Mapping[str, float], day: actuals.Day, ground: Assembled) -> FloatArray:
    """One split for ever: the given one, else each pair's weights at adoption; a pair without any keeps to the nearest."""
    sites = ground.instance.sites
    array = nearest_shares(ground.instance)
    for entry, (i, k) in zip(day.traffic, ground.place, strict=True):
        shares = given or entry.static or entry.current
        if shares is not None:
            array[i, :, k] = np.array([shares.get(site, 0.0) for site in sites])[:, None]
    return array
