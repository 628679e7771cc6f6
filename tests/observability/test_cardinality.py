"""How many series there are, at a size that nobody has: 100 areas × 100 sites."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from green_llm.domain.plan import Objective, Order, Tolerance
from green_llm.domain.request import Backend, DemandArea, DemandEntry, Guardrails, Resources, RouteTarget
from green_llm.domain.routes import Route, RouteKey, RouteRule
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import Area, Location
from green_llm.observability.metrics import Recorder
from green_llm.services.outcome import Outcome
from support.planner import Planner
from support.resources import NOW, a_budget, a_demand, a_fleet, a_policy, a_site, backend

AREAS, SITES = 100, 100
METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"


def route_key(area: int) -> RouteKey:
    return RouteKey("gateway.networking.k8s.io", "HTTPRoute", "inference", f"area-{area}")


def site_name(number: int) -> str:
    return f"site-{number}"


def large() -> tuple[Resources, list[Route]]:
    """One class; every area's route has every site's back-end."""
    chains = {
        SignalKind.ELECTRICITY_PRICE: (SignalRef("price-near"),),
        SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),),
    }
    sites = {site_name(n): a_site(site_name(n), signals=chains) for n in range(SITES)}
    areas = {
        f"area-{n}": Area(f"area-{n}", Location(40.0 + n / 100, -90.0 - n / 100), "America/Chicago")
        for n in range(AREAS)
    }
    order = Order((Objective.COST,), (Tolerance(0.0),))
    policy = a_policy(slots=1, areas=areas, order=order, water=a_budget(1e6), guardrails=Guardrails())
    asked = tuple(
        DemandArea(f"area-{n}", (DemandEntry("chat", (1000.0,) * 24),), (RouteTarget(route_key(n), {"chat": "chat"}),))
        for n in range(AREAS)
    )
    demand = a_demand(areas=asked, backends=tuple(Backend(name, backend(name)) for name in sites))
    rule = RouteRule("chat", {backend(name): 10 for name in sites})
    routes = [Route(route_key(n), f"uid-{n}", (rule,)) for n in range(AREAS)]
    return a_fleet(policies={"default": policy}, sites=sites, demands={"inference/assistant": demand}), routes


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """The second of two intervals: the first has nothing to charge."""
    resources, routes = large()
    planner = Planner(*routes)

    async def twice() -> Outcome:
        await planner.plan(resources)
        return await planner.plan(resources, NOW + timedelta(hours=1))

    return asyncio.run(twice())


def series(outcome: Outcome, *, route_matrix: bool) -> Counter[str]:
    recorder = Recorder(route_matrix=route_matrix)
    recorder.turn()
    recorder.record(outcome)
    families = text_string_to_metric_families(generate_latest(recorder.registry).decode())
    return Counter(sample.name for family in families for sample in family.samples)


def test_the_number_of_series_is_what_is_documented(outcome: Outcome) -> None:
    assert outcome.result is not None
    assert len(outcome.weights) == AREAS * SITES
    with_matrix, without = (series(outcome, route_matrix=matrix) for matrix in (True, False))
    text = METRICS.read_text(encoding="utf-8")
    per_site, per_pair, per_policy = map(
        int, re.search(r"(\d+) per site, (\d+) per pair and (\d+) per policy", text).groups()
    )  # type: ignore[union-attr]
    assert without.total() <= per_site * SITES + per_pair * AREAS + per_policy
    assert with_matrix.total() == without.total() + 2 * AREAS * SITES
    assert max(without.values()) <= 6 * SITES, without.most_common(3)
    stated = [int(number.replace(",", "")) for number in re.findall(r"less than\s+([\d,]+) series", text)]
    for found, most in zip((without.total(), with_matrix.total()), stated, strict=True):
        assert 0.8 * most < found < most, "docs/metrics.md says how many"


def test_no_label_grows_with_time(outcome: Outcome) -> None:
    """Another interval adds no series."""
    recorder = Recorder()
    recorder.turn()
    counts = []
    for _ in range(3):
        recorder.record(outcome)
        counts.append(len(generate_latest(recorder.registry).splitlines()))
    assert len(set(counts)) == 1
