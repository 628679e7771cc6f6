"""The truth table of Ready: what a status says in every situation (docs/status.md has the same table)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from green_llm.api import status
from green_llm.api.status_schema import STATUS
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.guardrails import Hold
from green_llm.domain.request import Guardrails, Kind, Mode, ObjectKey, Resources
from green_llm.domain.routes import RouteKey, Rung, Verified
from green_llm.domain.topology import ResourceCapacity
from green_llm.errors import StoreError
from green_llm.routing.documents import GATEWAY
from green_llm.services.admission import admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers
from support.resources import (
    NOW,
    ROUTE,
    MemoryRoutes,
    a_budget,
    a_demand,
    a_fleet,
    a_policy,
    a_route,
    a_site,
    backend,
    static,
)

POLICY, DEMAND = ObjectKey(Kind.POLICY, "", "default"), ObjectKey(Kind.DEMAND, "inference", "assistant")


def read_text(name: str) -> tuple[str, str]:
    raise StoreError(f"{name}: does not exist")


async def outcome_of(
    resources: Resources, *, refuse: bool = False, near: int = 1000, sick: frozenset[Any] = frozenset(), **route: Any
) -> Outcome:
    routes = MemoryRoutes(replace(a_route(near, 1000 - near), **route))
    if refuse:

        async def write(_change: Any) -> Any:
            raise StoreError("read-only")

        routes.write = write  # type: ignore[method-assign]
    collector = Collector(read_text)
    planning = Planning(collector, MeasuredDemand(collector.series), routes, MemoryLedgers())
    request = admit(resources, await routes.read(wanted_routes(resources)), sick).requests["default"]
    return await planning.reconcile(request, await routes.read(request.routes), NOW)


def conditions(found: Any) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in found["conditions"]}


def fleet(policy: dict[str, Any] | None = None, demand: dict[str, Any] | None = None) -> Resources:
    return replace(
        a_fleet(),
        policies={"default": a_policy(**policy or {})},
        demands={"inference/assistant": a_demand(**demand or {})},
    )


SMALL = {"capacity": (ResourceCapacity("gpu", 0.4 * 1e6 * 0.001 / 3600),)}
NO_PRICE = replace(a_fleet(), sources={**a_fleet().sources, "price-cheap": static("price-cheap", 1.0, "g/kWh")})
RAMPING = replace(
    fleet({"guardrails": Guardrails(max_shift=0.1)}),
    sites={"near": a_site("near", **SMALL), "cheap": a_site("cheap")},
)
NOTHING = replace(a_fleet(), demands={})
CASES: dict[str, tuple[Resources, bool, tuple[str, str], tuple[str, str], tuple[str, str, str, str] | None]] = {
    # name: resources, writes refused, policy Ready, policy Degraded, demand (Ready, reason, Routed, reason)
    "all is well": (fleet(), False, ("True", "Planned"), ("False", "Optimal"), ("True", "Ready", "True", "Written")),
    "shadow policy": (fleet({"mode": Mode.SHADOW}), False, ("True", "Planned"), ("False", "Optimal"), ("True", "Ready", "False", "Shadow")),
    "shadow demand": (fleet(demand={"mode": Mode.SHADOW}), False, ("True", "Planned"), ("False", "Optimal"), ("True", "Ready", "False", "Shadow")),
    "suspended": (fleet(demand={"suspend": True}), False, ("True", "Planned"), ("False", "Optimal"), ("True", "Ready", "False", "Suspended")),
    "infeasible": (fleet({"water": a_budget(1.0)}), False, ("True", "Planned"), ("True", "Infeasible"), ("True", "Ready", "True", "Written")),
    "a site without signals": (NO_PRICE, False, ("True", "Planned"), ("True", "SignalsMissing"), ("True", "Ready", "True", "Written")),
    "ramping": (RAMPING, False, ("True", "Planned"), ("True", "Ramping"), ("True", "Ready", "True", "Written")),
    "a write failed": (fleet(), True, ("True", "Planned"), ("False", "Optimal"), ("False", "WriteFailed", "False", "WriteFailed")),
    "no demand": (NOTHING, False, ("False", "NoPlan"), ("True", "NoPlan"), None),
    "not admitted": (fleet({"allowed_namespaces": None}), False, ("False", "NoPlan"), ("True", "NoPlan"), ("False", "NamespaceNotAllowed", "False", "NoRoutes")),
}  # fmt: skip


@pytest.mark.parametrize(("resources", "refuse", "ready", "degraded", "demand"), CASES.values(), ids=CASES)
async def test_the_truth_table(
    resources: Resources, refuse: bool, ready: tuple[str, str], degraded: tuple[str, str], demand: Any
) -> None:
    outcome = await outcome_of(resources, refuse=refuse)
    policy = conditions(status.policy_status(outcome))
    assert policy["Ready"] == ready
    assert policy["Degraded"] == degraded
    found = status.demand_statuses(outcome, {})
    if demand is None:
        assert found == {}
    else:
        mine = conditions(found[DEMAND])
        assert (*mine["Ready"], *mine["Routed"]) == demand


async def test_limits_that_no_plan_keeps_are_said_by_time_and_in_declared_units() -> None:
    sites = {name: a_site(name, capacity=(ResourceCapacity("gpu", 0.1),)) for name in ("near", "cheap")}
    found = status.policy_status(await outcome_of(a_fleet(sites=sites)))["conditions"]
    (message,) = [entry["message"] for entry in found if entry["type"] == "Degraded"]
    # 1,000 queries of a gpu-second an hour need 0.278 gpu, of which each site has 0.1, in all four hours.
    assert sorted(message.split("; ")) == [
        f"gpu at {site} does not suffice in 4 of 4 slots, the worst that of 20 Oct 12:00 UTC: 0.139 needed, 0.100 usable"
        for site in ("cheap", "near")
    ]


def unknown_fields(value: Any, schema: dict[str, Any], path: str = "status") -> list[str]:
    """What the API server would drop without a word."""
    if isinstance(value, list):
        return [name for entry in value for name in unknown_fields(entry, schema["items"], f"{path}[]")]
    if not isinstance(value, dict):
        return []
    known = schema["properties"]
    return [f"{path}.{name}" for name in value if name not in known] + [
        found
        for name, entry in value.items()
        if name in known
        for found in unknown_fields(entry, known[name], f"{path}.{name}")
    ]


@pytest.mark.parametrize("name", CASES)
async def test_the_api_server_keeps_all_that_is_said(name: str) -> None:
    outcome = await outcome_of(CASES[name][0])
    assert not unknown_fields(status.policy_status(outcome), STATUS[Kind.POLICY])
    for kind, found in (
        (Kind.DEMAND, status.demand_statuses(outcome, {})), (Kind.SITE, status.site_statuses(outcome, {}))
    ):  # fmt: skip
        for content in found.values():
            assert not unknown_fields(content, STATUS[kind])


OF_ROUTES: dict[str, tuple[dict[str, Any], tuple[str, str, str, str]]] = {
    "the gateways accept": ({"verified": Verified(Rung.ACCEPTED)}, ("True", "Ready", "True", "Accepted")),
    "the gateway refuses the route": (
        {"verified": Verified(Rung.REFUSED, "no")}, ("False", "RouteNotAccepted", "False", "RouteNotAccepted")
    ),
    "the gateway takes the route in part": (
        {"verified": Verified(Rung.IMPAIRED, "no")}, ("False", "RouteImpaired", "False", "RouteImpaired")
    ),
    "somebody else writes the weights": ({"contended": True}, ("False", "Contended", "False", "Contended")),
    "no back-end is ready": (
        {"sick": frozenset({backend("near"), backend("cheap")})}, ("True", "Ready", "False", "NoSiteAvailable")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("route", "demand"), OF_ROUTES.values(), ids=OF_ROUTES)
async def test_what_routes_make_of_it(route: dict[str, Any], demand: tuple[str, ...]) -> None:
    outcome = await outcome_of(a_fleet(), **route)
    found = conditions(status.demand_statuses(outcome, {})[DEMAND])
    assert (*found["Ready"], *found["Routed"]) == demand
    assert found["Accepted"] == ("True", "Accepted")
    assert found["Contended"][0] == str("contended" in route)
    assert not unknown_fields(status.demand_statuses(outcome, {})[DEMAND], STATUS[Kind.DEMAND])


async def test_a_site_that_cannot_be_sent_to_is_said() -> None:
    outcome = await outcome_of(a_fleet(), sick=frozenset({backend("cheap")}))
    found = status.demand_statuses(outcome, {})[DEMAND]
    assert conditions(found)["Degraded"] == ("True", "SitesUnavailable")
    assert "llm-cheap:8000 has no ready endpoint" in next(
        c["message"] for c in found["conditions"] if c["type"] == "Degraded"
    )


async def test_the_largest_status_fits_into_an_object() -> None:
    """512 rows and 256 routes with the longest names there can be: far from the 1.5 MiB that etcd takes."""
    outcome = await outcome_of(a_fleet())
    long, longest = "n" * 63, "r" * 253
    (row, *_) = outcome.weights
    keys = [RouteKey(GATEWAY, "HTTPRoute", long, f"{n:0>63}") for n in range(256)]
    rows = tuple(
        replace(row, area=long, query_class=long, route=keys[n % 256], rule=longest, site=long) for n in range(20_000)
    )
    verified = dict.fromkeys(keys, Verified(Rung.WRITTEN, "m" * 2000))
    found = status.demand_statuses(replace(outcome, weights=rows, verified=verified), {})[DEMAND]
    assert found["omittedWeights"] == 20_000 - 512
    assert len(json.dumps(found)) < 600_000


def test_the_table_is_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
    for name in (*CASES, *list(OF_ROUTES)[1:], "no plan for the moment", "no plan for long"):
        assert f"| {name} |" in text, name


async def test_planned_and_written_are_different_fields() -> None:
    outcome = await outcome_of(fleet({"guardrails": Guardrails(max_shift=0.2)}))
    found = status.demand_statuses(outcome, {})[DEMAND]
    by_site = {entry["site"]: entry for entry in found["weights"]}
    assert by_site["cheap"]["plannedBasisPoints"] == 10_000
    assert by_site["cheap"]["weight"] == 200
    assert {row.held_by for row in outcome.weights} == {Hold.RAMP.value}


async def test_what_a_policy_says() -> None:
    found = status.policy_status(await outcome_of(fleet({"water": a_budget(1000.0)})))
    assert found["plan"] == {
        "solvedTime": "2026-10-20T12:10:00Z", "validUntilTime": "2026-10-20T12:25:00Z", "termination": "optimal",
        "slots": 4,
    }  # fmt: skip
    assert found["objectives"][0] == {"name": "Cost", "value": "0.2", "unit": "USD", "budget": "0.2"}
    assert found["perHour"] == {
        "cost": "0.05", "emissionsKilograms": "0.4", "waterLiters": "1", "meanDelayMilliseconds": 51
    }  # fmt: skip
    assert found["savings"]["versus"] == "nearest"
    assert found["savings"]["cost"] == "0.05"
    assert found["water"]["remainingLiters"] == "1000"


async def test_a_transition_time_moves_only_with_the_status() -> None:
    outcome = await outcome_of(fleet())
    first = status.policy_status(outcome)
    later = replace(outcome, now=NOW.replace(hour=15))
    second = status.policy_status(later, first)
    assert second["conditions"][0]["lastTransitionTime"] == "2026-10-20T12:10:00Z"
    much_later = replace(outcome, now=NOW.replace(hour=16), result=None, error="x")
    third = status.policy_status(much_later, second)
    assert third["conditions"][0]["lastTransitionTime"] == "2026-10-20T16:10:00Z"


async def test_a_plan_stays_good_for_a_while_and_then_expires() -> None:
    outcome = await outcome_of(fleet())
    first = status.policy_status(outcome)
    without = replace(outcome, now=NOW + timedelta(minutes=10), result=None, error="the solver failed")
    soon = status.policy_status(without, first)
    assert conditions(soon)["Ready"] == ("True", "LastPlanInForce")
    assert conditions(soon)["Degraded"] == ("True", "NoPlan")
    assert soon["plan"] == first["plan"]
    demand = status.demand_statuses(without, {POLICY: first})[DEMAND]
    assert conditions(demand)["Ready"] == ("True", "Ready"), "its weights are those of a plan that is still good"
    late = status.policy_status(replace(without, now=NOW + timedelta(minutes=15)), soon)
    assert conditions(late)["Ready"] == ("False", "PlanExpired")
    assert conditions(late)["Degraded"] == ("True", "PlanExpired")
    demand = status.demand_statuses(replace(without, now=NOW + timedelta(minutes=15)), {POLICY: soon})[DEMAND]
    assert conditions(demand)["Ready"] == ("False", "PlanExpired")


async def test_rates_of_a_demand_are_written_when_they_move() -> None:
    outcome = await outcome_of(fleet())
    first = status.demand_statuses(outcome, {})[DEMAND]
    assert first["perHour"] == {
        "cost": "0.05", "emissionsKilograms": "0.4", "waterLiters": "1", "meanDelayMilliseconds": 51
    }  # fmt: skip
    mine = outcome.in_force_by_demand["inference/assistant"]
    for factor, written in ((1.005, "0.05"), (1.02, "0.051")):
        moved = replace(outcome, in_force_by_demand={"inference/assistant": mine.scaled(factor)})
        assert status.demand_statuses(moved, {DEMAND: first})[DEMAND]["perHour"]["cost"] == written


async def test_a_site_says_what_its_signals_are() -> None:
    found = status.site_statuses(await outcome_of(NO_PRICE), {})
    cheap, near = (found[ObjectKey(Kind.SITE, "", name)] for name in ("cheap", "near"))
    assert conditions(cheap)["Ready"] == ("False", "SignalsMissing")
    assert conditions(near)["Ready"] == ("True", "SignalsFresh")
    price = near["signals"][1]
    assert (price["kind"], price["value"], price["unit"], price["quality"], price["source"]) == (
        "electricityPrice", "100", "USD/MWh", "static", "price-near"
    )  # fmt: skip


def test_numbers_are_decimal_strings() -> None:
    assert [status.decimal(v) for v in (0.0, -0.0000001, 1.5, 1e6, 0.000001, -2.25)] == [
        "0", "0", "1.5", "1000000", "0.000001", "-2.25"
    ]  # fmt: skip
    assert str(ROUTE)


async def test_more_weights_than_a_status_holds_are_counted_and_tabled() -> None:
    outcome = await outcome_of(fleet())
    first = outcome.weights[0]
    many = replace(outcome, weights=tuple(replace(first, rule=f"rule-{n}") for n in range(600)))
    found = status.demand_statuses(many, {})[DEMAND]
    assert (len(found["weights"]), found["omittedWeights"]) == (512, 88)
    table = status.tables_of_weights(many)["inference.assistant"].splitlines()
    assert table[0] == "area,class,route,rule,site,plannedBasisPoints,weight"
    assert len(table) == 601
    assert table[600].split(",")[3] == "rule-599"
    assert status.tables_of_weights(outcome) == {}
