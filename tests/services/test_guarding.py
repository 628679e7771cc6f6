"""The SLO guard in the data path: real solver, real guardrails, sites that degrade above thresholds, a simulated clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import generate_latest

from green_llm.api.status import policy_status
from green_llm.api.status_schema import STATUS
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain import ledger_file
from green_llm.domain.request import (
    Backend,
    DemandArea,
    DemandEntry,
    Guardrails,
    Kind,
    Resources,
    RouteTarget,
    Slo,
    Source,
    SourceRef,
)
from green_llm.domain.routes import Route, RouteRule
from green_llm.domain.series import Measure, Point, Quality
from green_llm.domain.slo import Guards, SiteGuard, Verdict
from green_llm.domain.topology import NetworkLink, QueryClass, Site
from green_llm.observability.metrics import Recorder
from green_llm.services.admission import admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers
from support.resources import NOW, ROUTE, MemoryRoutes, a_demand, a_fleet, a_policy, a_site, backend, static

SITES = ("a", "b", "c", "d")
"""Dearest first: traffic begins at a, the plan wants all of it at the last."""
QUERIES_PER_HOUR, TOKENS = 3600.0, 1000.0
ARRIVING = QUERIES_PER_HOUR * TOKENS / 3600
"""1,000 tokens/s."""
DELAY_LIMIT_S, WINDOW_S, BACKOFF_S, PERIOD_S = 2.0, 120.0, 600.0, 60.0


@dataclass
class Servers:
    """What sites carry over time, and how they do at it: well up to a threshold, badly above."""

    thresholds: dict[str, float]
    loads: list[tuple[datetime, dict[str, float]]] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    """Share that a site answers with errors, at any load."""
    silent: frozenset[str] = frozenset()

    def load(self, site: str, moment: datetime) -> float:
        known = [loads[site] for begun, loads in self.loads if begun <= moment]
        return known[-1] if known else 0.0

    def points(self, site: str, measure: Measure, now: datetime) -> list[Point]:
        found = []
        for n in range(int(WINDOW_S / 10), -1, -1):
            moment = now - timedelta(seconds=10 * n)
            load = self.load(site, moment)
            if load <= 0 or site in self.silent:
                continue
            slow = load > self.thresholds[site]
            value = (5.0 if slow else 1.0) if measure is Measure.P95_DELAY else self.errors.get(site, 0.0)
            found.append(Point(moment - timedelta(seconds=10), moment, value, Quality.MEASURED, moment))
        return found

    def broken(self) -> list[str]:
        """Sites that carry more than they can, now."""
        return [s for s in self.thresholds if self.loads[-1][1][s] > self.thresholds[s] or self.errors.get(s)]


class MeasuringCollector(Collector):
    """The real collector for signals; what servers measure comes from the simulated ones."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(no_file)
        self.servers = servers

    async def recent(
        self, site: Site, reference: SourceRef, sources: Mapping[str, Source], now: datetime
    ) -> Mapping[Measure, Sequence[Point] | str]:
        assert reference.source in sources
        return {m: self.servers.points(site.name, m, now) for m in (Measure.P95_DELAY, Measure.ERROR_RATIO)}


def no_file(name: str) -> tuple[str, str]:
    raise AssertionError(name)


def resources(prices: Mapping[str, float], **rails: Any) -> Resources:
    """One class with a delay limit; traffic may go anywhere."""
    slo = Slo(sources={"large": SourceRef("slo")}, window_seconds=WINDOW_S, backoff_seconds=BACKOFF_S)
    policy = a_policy(
        guardrails=Guardrails(**{"max_shift": 0.25, "slo": slo, **rails}),
        slots=1,
        areas={"iowa": replace(a_policy().areas["iowa"], network={s: NetworkLink(0.01) for s in SITES})},
    )
    sites = {
        name: a_site(
            name,
            capacity=(),
            performance={"large": replace(a_site("x").performance["large"], resource_seconds_per_token={})},
        )
        for name in SITES
    }
    demand = a_demand(
        classes={"chat": QueryClass("chat", "large", 0.6 * TOKENS, 0.4 * TOKENS, 4.0, DELAY_LIMIT_S, 0.1)},
        areas=(
            DemandArea(
                "iowa", (DemandEntry("chat", (QUERIES_PER_HOUR,) * 24),), (RouteTarget(ROUTE, {"chat": "chat"}),)
            ),
        ),
        backends=tuple(Backend(site, backend(site)) for site in SITES),
    )
    sources = {f"price-{name}": static(f"price-{name}", price, "USD/MWh") for name, price in prices.items()}
    sources |= {name: static(name, 400.0, "g/kWh") for name in ("carbon", "slo")}
    return replace(
        a_fleet(), policies={"default": policy}, sites=sites, demands={"inference/assistant": demand}, sources=sources
    )


class World:
    """A policy that is planned every minute; what it writes is what sites carry from then on."""

    def __init__(self, thresholds: Mapping[str, float], prices: Mapping[str, float], **rails: Any) -> None:
        rule = RouteRule("chat", {backend(s): 1000 if s == "a" else 0 for s in SITES})
        self.routes, self.ledgers = MemoryRoutes(Route(ROUTE, "uid", (rule,))), MemoryLedgers()
        self.servers, self.resources = Servers(dict(thresholds)), resources(prices, **rails)
        self.now, self.outcome = NOW, None
        self.carry()
        self.restart()

    def restart(self) -> None:
        collector = MeasuringCollector(self.servers)
        self.planning = Planning(collector, MeasuredDemand(collector.series), self.routes, self.ledgers)

    def carry(self) -> None:
        weights = self.routes.routes[ROUTE].rules[0].weights
        self.servers.loads.append((self.now, {s: weights[backend(s)] / 1000 * ARRIVING for s in SITES}))

    async def minute(self, seconds: float = PERIOD_S) -> Outcome:
        self.now += timedelta(seconds=seconds)
        request = admit(self.resources, await self.routes.read(wanted_routes(self.resources))).requests["default"]
        outcome = await self.planning.reconcile(request, await self.routes.read(request.routes), self.now)
        self.carry()
        return outcome

    async def minutes(self, count: int) -> Outcome:
        for _ in range(count):
            outcome = await self.minute()
        return outcome

    @property
    def loads(self) -> dict[str, float]:
        return self.servers.loads[-1][1]

    @property
    def guards(self) -> Guards:
        return self.ledgers._ledgers["default"].guards if self.ledgers._ledgers else {}

    def guard(self, site: str) -> SiteGuard:
        return self.guards[site, "large"]


SCHEMA = STATUS[Kind.POLICY]["properties"]["slo"]


def within_slo(status: Any) -> tuple[str, str, str]:
    (found,) = [entry for entry in status["conditions"] if entry["type"] == "WithinSLO"]
    return found["status"], found["reason"], found["message"]


CHEAP_D = {"a": 100.0, "b": 80.0, "c": 60.0, "d": 20.0}


async def test_a_shift_that_breaks_a_site_is_rolled_back_and_the_site_capped() -> None:
    world = World({"a": 2000, "b": 2000, "c": 2000, "d": 400}, CHEAP_D)
    await world.minute()
    assert world.loads == {"a": 750, "b": 0, "c": 0, "d": 250}, "the first step of the ramp"
    outcome = await world.minutes(2)
    assert world.loads == {"a": 500, "b": 0, "c": 0, "d": 500}, "a window later the next"
    assert outcome.judged["d", "large"].verdict is Verdict.KEPT
    outcome = await world.minute()
    assert world.loads == {"a": 750, "b": 0, "c": 0, "d": 250}, "back to where it was, not to another site"
    assert {row.held_by for row in outcome.weights} == {"Rollback"}
    guard = world.guard("d")
    assert (guard.cap, guard.good, guard.bad, guard.strikes, guard.rollbacks) == (250, 250, 500, 1, 1)
    assert guard.reason == "p95 delay 5 s, limit 2 s at 500 tokens/s"
    assert outcome.judged["d", "large"].verdict is Verdict.BROKEN
    status = policy_status(outcome)
    assert within_slo(status) == ("False", "SiteCapped", "d: large: p95 delay 5 s, limit 2 s at 500 tokens/s")
    (entry,) = [entry for entry in status["slo"] if entry["site"] == "d"]
    assert entry == {
        "site": "d", "profile": "large", "verdict": "Broken", "message": "p95 delay 5 s, limit 2 s",
        "capTokensPerSecond": 250, "broke": guard.reason, "untilTime": "2026-10-20T12:24:00Z",
    }  # fmt: skip
    assert not {name for entry in status["slo"] for name in entry} - set(SCHEMA["items"]["properties"])
    recorder = Recorder()
    recorder.record(outcome)
    text = generate_latest(recorder.registry).decode()
    for line in (
        'slo_site_capped{policy="default",profile="large",site="d"} 1.0',
        'slo_cap_tokens_per_second{policy="default",profile="large",site="d"} 250.0',
        'slo_rollbacks_total{policy="default",profile="large",site="d"} 1.0',
        'slo_verdict{policy="default",profile="large",site="d",verdict="Broken"} 1.0',
        'slo_delay_seconds{policy="default",profile="large",site="d"} 5.0',
    ):
        assert f"greenllm_{line}\n" in text
    written = len(world.routes.written)
    for _ in range(5):  # our own write has the operator plan again at once
        await world.minute(1.0)
    assert len(world.routes.written) == written, "a rollback is one write"
    outcome = await world.minutes(int(BACKOFF_S / PERIOD_S) - 1)
    assert world.loads["d"] == 250, "within the back-off nothing more goes there"
    assert world.loads["c"] == 750, "the plan sees the cap: the rest goes where it is second cheapest"


async def test_what_is_known_survives_a_restart() -> None:
    world = World({"a": 2000, "b": 2000, "c": 2000, "d": 100}, CHEAP_D)
    while not world.servers.broken():
        await world.minute()
    await world.minute()
    world.restart()
    kept = world.ledgers._ledgers["default"]
    world.ledgers._ledgers["default"] = ledger_file.load(ledger_file.dump(kept), "ledger")
    assert world.ledgers._ledgers["default"] == kept
    while world.servers.broken():
        await world.minute()
    assert world.loads["d"] == 0
    assert world.guard("d").reason == "p95 delay 5 s, limit 2 s at 250 tokens/s"
    world.restart()
    assert (await world.minute()).ledger.guards["d", "large"].cap == 0


async def test_a_site_that_answers_errors_without_a_shift_is_left_at_once() -> None:
    world = World(dict.fromkeys(SITES, 2000.0), CHEAP_D, max_shift=1.0)
    await world.minutes(8)
    assert world.loads["d"] == ARRIVING
    world.servers.errors["d"] = 1.0
    await world.minute()
    assert world.loads == {"a": 0, "b": 0, "c": ARRIVING, "d": 0}, "neither ramp, dead-band nor window delay it"
    world.servers.errors.clear()
    await world.minutes(60)
    assert world.loads["d"] == ARRIVING, "back by the ramp of its cap once it answers"
    assert world.guard("d").cap is None


async def test_no_data_moves_nothing_and_is_not_healthy() -> None:
    world = World({"a": 2000, "b": 2000, "c": 2000, "d": 400}, CHEAP_D)
    world.servers.silent = frozenset(SITES)
    outcome = await world.minutes(10)
    assert world.loads["d"] == ARRIVING, "the plan goes its way"
    assert outcome.judged["d", "large"].verdict is Verdict.UNKNOWN
    assert (
        outcome.judged["d", "large"].message
        == "errorRatio has no value in the last 60 s; p95Delay has no value in the last 60 s"
    )
    state, reason, message = within_slo(policy_status(outcome))
    assert (state, reason) == ("Unknown", "MeasurementsMissing")
    assert message == f"d: large: {outcome.judged['d', 'large'].message}", "sites without load are idle, not unknown"
    assert not world.guard("d").good, "nothing unmeasured is taken for good"


async def test_a_cap_stays_while_nothing_is_known() -> None:
    world = World({"a": 2000, "b": 2000, "c": 2000, "d": 400}, CHEAP_D)
    while world.servers.broken() or "d" not in {site for site, _ in world.guards} or world.guard("d").cap is None:
        await world.minute()
    world.servers.silent = frozenset(SITES)
    await world.minutes(30)
    assert world.guard("d").cap == 250
    assert world.loads["d"] == 250
