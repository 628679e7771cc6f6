"""Decisions, interval by interval, through ``reconcile``: each sees what was known then, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from green_llm.backtest import checkpoint
from green_llm.backtest.methods import Method, Settings, policy_of, solver_of
from green_llm.backtest.world import FrozenRecordings, MemoryRoutes, World
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.amounts import Ledger
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.instance import FloatArray
from green_llm.domain.plan import Termination
from green_llm.domain.request import DemandEntry, Policy, Source
from green_llm.domain.series import Measure, MeasureKey, Point, SignalBook
from green_llm.domain.time import Slots
from green_llm.domain.topology import Area, Site
from green_llm.services.admission import PolicyRequest
from green_llm.services.concluding import decision_of
from green_llm.services.interval import pair_name
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.services.ports import DemandCollector, SignalCollector
from green_llm.services.weighing import pair_shares
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers

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

    @property
    def kept_at(self) -> Path | None:
        """The same; None on a machine that does not share the directory: nobody would look for it there, or remove it."""
        shared = self.checkpoint is not None and self.checkpoint.parent.is_dir()
        return self.checkpoint if shared else None

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


@dataclass(frozen=True)
class _Signals:
    """Recorded signals; with a ``moment`` as they were known then, whatever the time."""

    collector: Collector
    moment: datetime | None = None

    async def collect(
        self, policy: Policy, sites: Collection[Site], sources: Mapping[str, Source], slots: Slots, now: datetime
    ) -> SignalBook:
        """A value per slot."""
        return await self.collector.collect(policy, sites, sources, slots, self.moment or now)

    async def measured(self, *_: object) -> Mapping[MeasureKey, float]:
        """Nothing: it is shown, never planned with."""
        return {}

    async def recent(self, *_: object) -> Mapping[Measure, Sequence[Point] | str]:
        """Nothing: what servers measured was under the weights of then."""
        return {}


@dataclass(frozen=True)
class _Demand:
    """Recorded demand times a factor; with a ``moment`` as it was known then."""

    demand: MeasuredDemand
    factor: float
    moment: datetime | None = None

    async def collect(
        self, entry: DemandEntry, area: Area, namespace: str, sources: Mapping[str, Source], slots: Slots, now: datetime
    ) -> Arrivals:
        """Queries per slot."""
        found = await self.demand.collect(entry, area, namespace, sources, slots, self.moment or now)
        return replace(found, queries=found.queries * self.factor)

    async def served(self, *_: object) -> Mapping[str, float] | None:
        """Nothing: what a gateway counted was under the weights of then."""
        return None


def collectors(world: World, moment: datetime | None = None) -> tuple[SignalCollector, DemandCollector]:
    """Signals and demand as they were known at each time; with a ``moment``, all as it was known then."""
    collector = Collector(world.read_text, None, FrozenRecordings(world.tables))
    return _Signals(collector, moment), _Demand(MeasuredDemand(collector.series), world.demand_factor, moment)


def afterwards(task: Task) -> tuple[SignalCollector, DemandCollector]:
    """What really came."""
    return collectors(task.world, task.span.end + AFTERWARDS)


def replay(task: Task, progress: Progress = lambda _done, _all: None) -> Decisions:
    """Decide every interval of a task; where a checkpoint is there, from where it left off."""
    return asyncio.run(_replay(task, progress))


async def _replay(task: Task, progress: Progress) -> Decisions:
    request = task.request()
    signals, demand = afterwards(task) if task.method is Method.FORESIGHT else collectors(task.world)
    routes, ledgers = MemoryRoutes(task.world.routes), MemoryLedgers()
    solve = solver_of(task.method, task.settings)
    planning = Planning(signals, demand, routes, ledgers, solve=solve, conclude=decision_of)
    sites = [site.name for site in request.sites]
    size, keep = (task.span.count, len(request.pairs), len(sites)), task.kept_at
    state = checkpoint.begin(*size) if keep is None else checkpoint.load(keep, *size)
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
        if keep is not None and (state.done == task.span.count or time.monotonic() - saved > SAVE_SECONDS):
            checkpoint.save(keep, state, await ledgers.load(request.policy.name), routes.routes)
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
