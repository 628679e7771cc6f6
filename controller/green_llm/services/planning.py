"""``reconcile``: the data path, top to bottom. The operator, the command line and the embedded run all call it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from green_llm.domain.amounts import Ledger
from green_llm.domain.audit import AuditBatch
from green_llm.domain.plan import Plan, Result, Termination
from green_llm.domain.request import Kind, ObjectKey, Problem
from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteWrite
from green_llm.domain.slo import Verdict
from green_llm.domain.time import Slots, floor_to_slot, slots_from
from green_llm.errors import NoPlanError, SignalError, StoreError
from green_llm.optimizer import Planner, Session, optimize
from green_llm.services import tolerances, valuing
from green_llm.services.accounting import open_ledger, plan_water_liters, slots_in_period, water_account
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Traffic, assemble
from green_llm.services.availability import (
    Availability,
    availability,
    held_since,
    remaining_traffic,
)
from green_llm.services.concluding import outcome_of
from green_llm.services.guarding import (
    Guarding,
    above_plan,
    guarding,
    guards_after,
    judgements,
    refuge,
    shares_before,
)
from green_llm.services.interval import Interval, PairName, Planned, RoutesRead, pair_name, water_cap
from green_llm.services.outcome import Outcome
from green_llm.services.pairing import PairRequest, RuleKey
from green_llm.services.ports import AuditStore, DemandCollector, LedgerStore, Routes, SignalCollector
from green_llm.services.weighing import (
    SiteShares,
    Weighed,
    pair_shares,
    rule_id,
    rule_shares,
    static_shares,
    weigh,
    writes,
)

BORROWED = 1e-6
"""Of what remains of the period's water: less than this is rounding."""
LONGEST_CHARGE = timedelta(days=7)
"""Elapsed time beyond it (the planner was away) is counted as uncharged."""
WRITES_AT_ONCE = 4
"""Routes: one after another, a store's round trips would add up to longer than the plan."""
Solve = Callable[..., Result]
"""As ``optimize``."""
Conclude = Callable[..., Outcome]
"""As ``outcome_of``."""


@dataclass
class Memory:
    """What makes the next interval faster. Losing it costs time, nothing else."""

    session: Session = field(default_factory=Session)
    previous: Plan | None = None


class Planning:
    """Plans policies; one instance serves all of them."""

    def __init__(
        self,
        signals: SignalCollector,
        demand: DemandCollector,
        routes: Routes,
        ledgers: LedgerStore,
        time_limit_s: float | None = None,
        solver_threads: int = 0,
        audit: AuditStore | None = None,
        solve: Solve = optimize,
        conclude: Conclude = outcome_of,
    ) -> None:
        """``solve`` is what plans: the lexicographic optimum, or what it is compared with in a back-test.

        ``conclude`` says what came of an interval: everything, or the decision alone.
        """
        self._conclude = conclude
        self._solver = solve
        self._audit = audit
        self._signals, self._demand, self._routes, self._ledgers = signals, demand, routes, ledgers
        self._time_limit_s, self._threads = time_limit_s, solver_threads
        self._memory: dict[str, Memory] = {}
        self._guarding: dict[str, Guarding] = {}

    async def reconcile(self, request: PolicyRequest, routes: RoutesRead, now: datetime) -> Outcome:
        """Bring the weights of one policy's rules towards the optimum for ``now``.

        ``routes`` are the policy's routes as just read. Without a plan the weights stay and the outcome says why.

        Raises:
            StoreError: the ledger cannot be read or kept.
        """
        clock = _Clock()
        interval, unknown = await self._prepare(request, routes, now)
        clock.lap("signals")
        planned = await self._plan(interval)
        clock.lap("solve")
        shares = planned.shares(interval.traffic)
        weighed = _weigh(interval, planned, shares, routes)
        after, failed = await self._write(weighed, routes)
        clock.lap("write")
        written = {e.binding.key for e in weighed if e.write and e.binding.route not in failed}
        ledger = _kept(interval, weighed, after, written)
        if planned.result is not None and planned.assembled is not None:
            ledger = tolerances.promised(ledger, request.policy.order, planned.assembled.instance, planned.result, now)
        audit_error = await self._keep(interval.audit)
        await self._ledgers.save(request.policy.name, ledger)
        self._guarding[request.policy.name] = replace(interval.guarding, guards=ledger.guards)
        outcome = self._conclude(
            replace(interval, ledger=ledger), planned, shares, weighed, after, failed, written, unknown, clock.laps
        )
        return replace(outcome, audit_error=audit_error)

    async def _keep(self, batch: AuditBatch | None) -> str | None:
        """Keep the audit before the ledger; why it could not be kept. Planning does not stop for it."""
        try:
            if self._audit is not None and batch is not None:
                await self._audit.append(batch)
        except StoreError as error:
            return str(error)
        return None

    async def rehearse(self, request: PolicyRequest, routes: RoutesRead, now: datetime) -> None:
        """Plan without writing or keeping anything, so that a replica that takes over has all at hand."""
        interval, _ = await self._prepare(request, routes, now)
        await self._plan(interval)

    async def guard(self, request: PolicyRequest, routes: RoutesRead, now: datetime) -> dict[RouteKey, str]:
        """Take traffic off sites that must have none, at once and without a plan; the writes that failed."""
        steered = [pair for pair in request.pairs if pair.fixed is None]
        found: dict[RuleKey, Weighed] = {}
        for pair in steered:
            for binding in pair.bindings:
                current = rule_shares(binding, routes[binding.route]) if binding.route in routes else None
                gone = frozenset(binding.backends) - pair.sites
                if current is not None and any(current.get(site, 0.0) > 0 for site in gone):
                    found.setdefault(
                        binding.key, weigh(request.policy, pair, binding, routes[binding.route], current, now, None)
                    )
        return (await self._write(list(found.values()), routes))[1]

    async def slo_moved(self, request: PolicyRequest, now: datetime) -> bool:
        """Whether a site has come to break its limits, or to keep them, since the last interval: then plan at once."""
        guarded = self._guarding.get(request.policy.name)
        if guarded is None or not guarded.judged:
            return False
        judged = await judgements(self._signals, request, guarded.guards, now)
        return any(
            entry.verdict in (Verdict.BROKEN, Verdict.KEPT) and entry.verdict is not guarded.judged[key].verdict
            for key, entry in judged.items()
            if key in guarded.judged
        )

    async def _prepare(
        self, request: PolicyRequest, routes: RoutesRead, now: datetime
    ) -> tuple[Interval, list[Problem]]:
        """Collect signals and demand, charge what has elapsed, see which sites can be planned with."""
        policy = request.policy
        ledger = await self._ledgers.load(policy.name) or open_ledger(now, policy.slot_seconds)
        ledger = tolerances.executed(ledger, now, policy.slot_seconds, policy.slots)
        slots = slots_from(now, policy.slot_seconds, policy.slots)
        window, past = _window(ledger, slots, now)
        book, measured = await asyncio.gather(
            self._signals.collect(policy, request.sites, request.sources, window, now),
            self._signals.measured(request.sites, request.sources, now),
        )
        traffic, unknown = await self._traffic(request, routes, window, now)
        traffic = [await self._counted(entry, request, ledger.charged_until, now) for entry in traffic]
        audited = self._audit is not None
        charged = valuing.charged(request, ledger, traffic, book, past, now, audited=audited)
        ledger = charged.ledger
        sites = availability(request.sites, book, past, ledger, now, policy.guardrails.hold_seconds)
        guarded = await guarding(self._signals, request, ledger, traffic, past, policy.slot_seconds, now)
        ledger = replace(ledger, held_since=held_since(ledger, sites, now), guards=guarded.guards)
        interval = Interval(
            request=request,
            now=now,
            slots=slots,
            book=book,
            past=past,
            traffic=tuple(traffic),
            ledger=ledger,
            audit=charged.audit,
            sites=sites,
            measured=measured,
            water=None if policy.water is None else water_account(ledger, policy.water, slots),
            guarding=guarded,
        )
        return interval, unknown

    async def _traffic(
        self, request: PolicyRequest, routes: RoutesRead, window: Slots, now: datetime
    ) -> tuple[list[Traffic], list[Problem]]:
        """What arrives in every slot of the window, and the pairs of which nobody knows."""
        traffic, problems = [], []
        for pair in request.pairs:
            current = pair_shares(pair, routes)
            if pair.fixed is not None and current is None:
                problems.append(replace(pair.fixed, message=f"{pair.fixed.message}; it has no weights in force either"))
                continue
            try:
                arrivals = await self._demand.collect(
                    pair.entry, pair.area, pair.demand.namespace, request.sources, window, now
                )
            except SignalError as error:
                problems.append(_unknown_demand(pair, str(error)))
                continue
            traffic.append(Traffic(pair, arrivals, current, static_shares(pair, routes)))
        return traffic, problems

    async def _counted(self, entry: Traffic, request: PolicyRequest, since: datetime, now: datetime) -> Traffic:
        """The traffic with where it went since then, as far as gateways count it."""
        pair = entry.pair
        backends: dict[str, set[BackendKey]] = {}
        for binding in pair.bindings:
            for site, keys in binding.backends.items():
                backends.setdefault(site, set()).update(keys)
        by_site = {site: sorted(keys) for site, keys in backends.items()}
        served = await self._demand.served(
            pair.entry, pair.demand.namespace, by_site, entry.current or {}, request.sources, since, now
        )
        return replace(entry, served=served)

    async def _plan(self, interval: Interval) -> Planned:
        """The plan for the sites that have signals; expired ones are held on to where the rest is too small."""
        sites = interval.sites
        if not interval.traffic:
            return Planned(sites=sites, error="no demand takes part; there is nothing to plan")
        if not sites.usable:
            return Planned(
                sites=sites, error=f"no site can be planned with: {sites.describe()}; weights stay as they are"
            )
        planned = await self._optimize(interval, sites)
        infeasible = planned.result is not None and planned.result.termination is Termination.INFEASIBLE
        if infeasible and sites.expired:
            return await self._optimize(interval, sites.holding_on())
        return planned

    async def _optimize(self, interval: Interval, sites: Availability) -> Planned:
        """The plan over the horizon; where it would borrow water from the next period, only up to this one's end."""
        policy, memory = interval.request.policy, self._memory.setdefault(interval.request.policy.name, self._blank())
        planned = await self._solve(interval, sites, memory)
        inside = 0 if policy.water is None else slots_in_period(interval.ledger, policy.water, interval.slots)
        if planned.result is None or planned.assembled is None or not 0 < inside < sites.slots:
            return planned
        remaining = water_cap(interval, sites, inside)
        used = plan_water_liters(planned.assembled.instance, planned.result.plan)[:inside].sum()
        if remaining is None or used <= remaining * (1.0 + BORROWED):
            return planned
        # Another number of slots is another programme: it would only spoil the live solver's bases.
        return await self._solve(interval, replace(sites, slots=inside), self._blank())

    def _blank(self) -> Memory:
        return Memory(Session(planner=Planner(self._threads)))

    async def _solve(self, interval: Interval, sites: Availability, memory: Memory) -> Planned:
        """One solve, off the event loop."""
        policy = interval.request.policy
        rest = remaining_traffic(interval.traffic, sites)
        if not rest:
            return Planned(
                sites=sites, error=f"all traffic is on held sites: {sites.describe()}; weights stay as they are"
            )
        window = (interval.past, interval.past + sites.slots)
        cap = water_cap(interval, sites, sites.slots)
        usable = interval.guarding.capped(sites.usable)
        assembled = assemble(policy.name, usable, rest, interval.book, window, water_cap=cap)
        try:
            result = await asyncio.to_thread(
                self._solver,
                assembled.instance,
                tolerances.over_time(policy.order, interval.ledger),
                time_limit_s=self._time_limit_s,
                previous=memory.previous,
                session=memory.session,
            )
        except NoPlanError as error:
            self._memory.pop(policy.name, None)
            return Planned(sites=sites, assembled=assembled, error=str(error))
        memory.previous = result.plan
        return Planned(sites=sites, result=result, assembled=assembled)

    async def _write(self, weighed: list[Weighed], routes: RoutesRead) -> tuple[RoutesRead, dict[RouteKey, str]]:
        """Write what must change; the routes as they then are, and what failed."""
        after: dict[RouteKey, Route] = dict(routes)
        failed: dict[RouteKey, str] = {}
        free = asyncio.Semaphore(WRITES_AT_ONCE)

        async def write(change: RouteWrite) -> None:
            try:
                async with free:
                    after[change.route.key] = await self._routes.write(change)
            except StoreError as error:
                failed[change.route.key] = str(error)

        async with asyncio.TaskGroup() as group:
            for change in writes(weighed, routes):
                group.create_task(write(change))
        return after, failed


class _Clock:
    """Wall time by step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


def _window(ledger: Ledger, slots: Slots, now: datetime) -> tuple[Slots, int]:
    """The slots to collect: from the ledger's end to the horizon's; and how many of them come before slot 0."""
    since = max(ledger.charged_until, now - LONGEST_CHARGE)
    first = min(floor_to_slot(since, slots.slot_seconds), slots.start)
    past = round((slots.start - first).total_seconds() / slots.slot_seconds)
    return Slots(first, slots.slot_seconds, past + slots.count), past


def _unknown_demand(pair: PairRequest, message: str) -> Problem:
    key = ObjectKey(Kind.DEMAND, pair.demand.namespace, pair.demand.name)
    return Problem(key, f"spec.areas[{pair.area.name}].demand", message, "DemandUnknown")


def _weigh(
    interval: Interval, planned: Planned, shares: Mapping[PairName, SiteShares], routes: RoutesRead
) -> list[Weighed]:
    """Every steered rule once, in the plan's shares of the first pair that uses it; without one, as the guard asks."""
    wanted = [_wanted(interval, planned, entry, shares.get(pair_name(entry.pair))) for entry in interval.traffic]
    above = above_plan(interval.traffic, wanted, interval.past, interval.request.policy.slot_seconds)
    found: dict[RuleKey, Weighed] = {}
    for entry, share in zip(interval.traffic, wanted, strict=True):
        if entry.fixed or share is None:
            continue
        relief = interval.guarding.relief(entry.pair.query_class.profile, above)
        for binding in entry.pair.bindings:
            if binding.key in found:
                continue
            last = interval.ledger.last_write.get(rule_id(binding))
            route, policy = routes[binding.route], interval.request.policy
            found[binding.key] = weigh(policy, entry.pair, binding, route, share, interval.now, last, relief)
    return list(found.values())


def _wanted(interval: Interval, planned: Planned, entry: Traffic, share: SiteShares | None) -> SiteShares | None:
    """The plan's shares of a pair; where the guard must take traffic off, without a plan or what it holds, what is left."""
    over = interval.guarding.over(entry.pair.query_class.profile)
    if not over:
        return share
    return refuge(entry.current, over) if share is None else refuge(share, over.keys() & planned.sites.holding.keys())


def _kept(interval: Interval, weighed: list[Weighed], after: RoutesRead, written: set[RuleKey]) -> Ledger:
    """The ledger with what the next interval must know of this one's writes."""
    ledger, policy, now = interval.ledger, interval.request.policy, interval.now
    last_write, slo = _last_write(ledger, weighed, written, now), policy.guardrails.slo
    shares = [] if slo is None else [pair_shares(entry.pair, after) for entry in interval.traffic]
    guards = guards_after(interval.guarding, slo, interval.traffic, shares, interval.past, policy.slot_seconds, now)
    before = shares_before(slo, ledger, weighed, written, last_write, now)
    return replace(ledger, last_write=last_write, before=before, guards=guards)


def _last_write(ledger: Ledger, weighed: list[Weighed], written: set[RuleKey], now: datetime) -> Mapping[str, datetime]:
    """When each rule was written last; rules that are gone are forgotten."""
    known = {rule_id(e.binding): now if e.binding.key in written else None for e in weighed}
    return {name: moment for name, new in known.items() if (moment := new or ledger.last_write.get(name)) is not None}
