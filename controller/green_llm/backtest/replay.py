"""Decisions, interval by interval, through ``reconcile``: each sees what was known then, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from green_llm.backtest import checkpoint
from green_llm.backtest.methods import Method, Settings, policy_of, solver_of
from green_llm.backtest.world import FrozenRecordings, MemoryRoutes, World
from green_llm.bootstrap import MemoryLedgers
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.amounts import Ledger
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.instance import FloatArray
from green_llm.domain.plan import Termination
from green_llm.domain.request import DemandEntry, Policy, Source
from green_llm.domain.series import MeasureKey, SignalBook
from green_llm.domain.time import Slots
from green_llm.domain.topology import Area, Site
from green_llm.services.admission import PolicyRequest
from green_llm.services.interval import pair_name
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.services.ports import DemandCollector, SignalCollector
from green_llm.services.weighing import pair_shares
from green_llm.signals.collect import Collector

AFTERWARDS = timedelta(days=3650)
"""After the end: by then everything is known."""
SAVE_SECONDS = 30.0
Progress = Callable[[int, int], None]
"""Called with the intervals done and all of them."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The intervals of a back-test."""

    start: datetime
    end: datetime
    step_seconds: int

    @property
    def count(self) -> int:
        """How many there are."""
        return int((self.end - self.start).total_seconds() // self.step_seconds)

    @property
    def slots(self) -> Slots:
        """The same as slots."""
        return Slots(self.start, self.step_seconds, self.count)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One method on one world: what one process works on, in series."""

    world: World
    policy: str
    method: Method
    span: Span
    settings: Settings = field(default_factory=Settings)
    checkpoint: Path | None = None
    """Where its state is kept on the way; None: nowhere."""

    def request(self) -> PolicyRequest:
        """What is planned."""
        found = self.world.request(self.policy)
        return replace(found, policy=policy_of(self.method, found.policy))


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Shares in force in every interval."""

    shares: FloatArray
    """[N, pairs, sites], in the order of the request; NaN where nobody knows."""
    terminations: tuple[str, ...]
    """How each interval's plan ended: a ``Termination``, or ``none``."""
    seconds: FloatArray
    """[N], wall time of each interval."""
    ledger: Ledger | None = None
    """As it was at the end."""


class _Scaled:
    """Demand times a factor."""

    def __init__(self, demand: DemandCollector, factor: float) -> None:
        self._demand, self._factor = demand, factor

    async def collect(
        self, entry: DemandEntry, area: Area, namespace: str, sources: Mapping[str, Source], slots: Slots, now: datetime
    ) -> Arrivals:
        """Queries per slot."""
        found = await self._demand.collect(entry, area, namespace, sources, slots, now)
        return replace(found, queries=found.queries * self._factor)


class Afterwards:
    """Signals and demand as they are known afterwards: what really came."""

    def __init__(self, signals: SignalCollector, demand: DemandCollector, moment: datetime) -> None:
        self._signals, self._demand, self._moment = signals, demand, moment

    async def book(
        self, policy: Policy, sites: Collection[Site], sources: Mapping[str, Source], slots: Slots
    ) -> SignalBook:
        """The signals of some slots."""
        return await self._signals.collect(policy, sites, sources, slots, self._moment)

    async def arrivals(
        self, entry: DemandEntry, area: Area, namespace: str, sources: Mapping[str, Source], slots: Slots
    ) -> Arrivals:
        """What arrived in some slots."""
        return await self._demand.collect(entry, area, namespace, sources, slots, self._moment)


class _ForesightSignals:
    """A collector for which everything has been published."""

    def __init__(self, after: Afterwards) -> None:
        self._after = after

    async def collect(
        self, policy: Policy, sites: Collection[Site], sources: Mapping[str, Source], slots: Slots, _now: datetime
    ) -> SignalBook:
        """What really came."""
        return await self._after.book(policy, sites, sources, slots)

    async def measured(
        self, _sites: Collection[Site], _sources: Mapping[str, Source], _now: datetime
    ) -> Mapping[MeasureKey, float]:
        """Nothing: it is shown, never planned with."""
        return {}


class _ForesightDemand:
    """The same of demand."""

    def __init__(self, after: Afterwards) -> None:
        self._after = after

    async def collect(
        self,
        entry: DemandEntry,
        area: Area,
        namespace: str,
        sources: Mapping[str, Source],
        slots: Slots,
        _now: datetime,
    ) -> Arrivals:
        """What really arrived."""
        return await self._after.arrivals(entry, area, namespace, sources, slots)


def collectors(world: World, end: datetime) -> tuple[SignalCollector, DemandCollector, Afterwards]:
    """Signals and demand as they were known at each time, and as they are known afterwards."""
    signals = Collector(world.read_text, None, FrozenRecordings(world.tables))
    demand = _Scaled(MeasuredDemand(signals.series), world.demand_factor)
    # Demand keeps what it learned of a history's error: the two must not share it.
    after = Afterwards(signals, _Scaled(MeasuredDemand(signals.series), world.demand_factor), end + AFTERWARDS)
    return signals, demand, after


def replay(task: Task, progress: Progress = lambda _done, _all: None) -> Decisions:
    """Decide every interval of a task; where a checkpoint is there, from where it left off."""
    return asyncio.run(_replay(task, progress))


async def _replay(task: Task, progress: Progress) -> Decisions:
    request = task.request()
    signals, demand, after = collectors(task.world, task.span.end)
    if task.method is Method.FORESIGHT:
        signals, demand = _ForesightSignals(after), _ForesightDemand(after)
    routes, ledgers = MemoryRoutes(task.world.routes), MemoryLedgers()
    planning = Planning(signals, demand, routes, ledgers, solve=solver_of(task.method, task.settings))
    sites = [site.name for site in request.sites]
    state = checkpoint.load(task.checkpoint) or checkpoint.begin(task.span.count, len(request.pairs), len(sites))
    routes.routes = state.routes_on(routes.routes)
    if state.ledger is not None:
        await ledgers.save(request.policy.name, state.ledger)
    saved = time.monotonic()
    for number in range(state.done, task.span.count):
        begun = time.perf_counter()
        known = {key: routes.routes[key] for key in request.routes}
        outcome = await planning.reconcile(request, known, task.span.slots.slot_start(number))
        state.shares[number] = in_force(request, routes, outcome, sites)
        state.note(number, _ending(outcome), time.perf_counter() - begun)
        progress(number + 1, task.span.count)
        if task.checkpoint is not None and time.monotonic() - saved > SAVE_SECONDS:
            checkpoint.save(task.checkpoint, state, await ledgers.load(request.policy.name), routes.routes)
            saved = time.monotonic()
    return Decisions(
        shares=state.shares,
        terminations=tuple(state.terminations),
        seconds=state.seconds,
        ledger=await ledgers.load(request.policy.name),
    )


def _ending(outcome: Outcome) -> str:
    """How an interval ended."""
    return "none" if outcome.result is None else outcome.result.termination.value


def in_force(request: PolicyRequest, routes: MemoryRoutes, outcome: Outcome, sites: list[str]) -> FloatArray:
    """Shares by pair and site after an interval, [P,J]: of the routes; of the plan where a pair has none."""
    found = np.full((len(request.pairs), len(sites)), np.nan)
    for number, pair in enumerate(request.pairs):
        shares = pair_shares(pair, routes.routes) or outcome.unrouted.get(pair_name(pair))
        if shares is not None:
            found[number] = [shares.get(site, 0.0) for site in sites]
    return found


def degraded(decisions: Decisions) -> int:
    """How many intervals had less than an optimal plan."""
    return sum(ending != Termination.OPTIMAL.value for ending in decisions.terminations)
