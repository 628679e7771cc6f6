"""The truth table of Ready: what a status says in every situation (docs/status.md has the same table)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from green_llm.api import status
from green_llm.bootstrap import MemoryLedgers
from green_llm.demand.profile import ProfileDemand
from green_llm.domain.guardrails import Hold
from green_llm.domain.request import Guardrails, Kind, Mode, ObjectKey, Resources
from green_llm.domain.topology import ResourceCapacity
from green_llm.errors import StoreError
from green_llm.services.admission import admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.signals.collect import Collector
from support.resources import NOW, ROUTE, MemoryRoutes, a_budget, a_demand, a_fleet, a_policy, a_route, a_site, static

POLICY, DEMAND = ObjectKey(Kind.POLICY, "", "default"), ObjectKey(Kind.DEMAND, "inference", "assistant")


def read_text(name: str) -> tuple[str, str]:
    raise StoreError(f"{name}: does not exist")


async def outcome_of(resources: Resources, *, refuse: bool = False, near: int = 1000) -> Outcome:
    routes = MemoryRoutes(a_route(near, 1000 - near))
    if refuse:

        async def write(_change: Any) -> Any:
            raise StoreError("read-only")

        routes.write = write  # type: ignore[method-assign]
    planning = Planning(Collector(read_text), ProfileDemand(), routes, MemoryLedgers())
    request = admit(resources, await routes.read(wanted_routes(resources))).requests["default"]
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


def test_the_table_is_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
    for name in CASES:
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
    third = status.policy_status(replace(later, result=None, error="x"), second)
    assert third["conditions"][0]["lastTransitionTime"] == "2026-10-20T15:10:00Z"


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
