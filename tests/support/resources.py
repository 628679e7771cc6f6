"""Resources for tests: a small fleet as the store would hold it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from green_llm.domain.plan import Objective, Order, Tolerance
from green_llm.domain.request import (
    Backend,
    CarbonAccounting,
    Demand,
    DemandArea,
    DemandEntry,
    Guardrails,
    Mode,
    Policy,
    Resources,
    RouteTarget,
    Source,
    StaticSettings,
    WaterBudget,
)
from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteRule, RouteWrite
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import (
    Area,
    Location,
    NetworkLink,
    Performance,
    QueryClass,
    ResourceCapacity,
    Selector,
    Site,
)

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 10, 20, 12, 10, tzinfo=UTC)
EVERYTHING = Selector()
ROUTE = RouteKey("gateway.networking.k8s.io", "HTTPRoute", "inference", "iowa")
SITES = ("near", "cheap")


def backend(site: str) -> BackendKey:
    return BackendKey("", "Service", "inference", f"llm-{site}", 8000)


def a_site(name: str, **changes: Any) -> Site:
    """1 mWh per token, PUE 1, 1 L/kWh on site, no off-site water, room for 3,000 tokens per second."""
    defaults: dict[str, Any] = {
        "name": name, "created": CREATED, "location": Location(41.6, -93.6), "time_zone": "America/Chicago",
        "pue": 1.0, "wue_l_per_kwh": 1.0, "ewif_l_per_kwh": 0.0, "grid_limit_kw": 10_000.0,
        "capacity": (ResourceCapacity("gpu", 3.0),),
        "performance": {"large": Performance("large", 1e9, 1e-6, 1e-6, {"gpu": 0.001})},
        "signals": {
            SignalKind.ELECTRICITY_PRICE: (SignalRef(f"price-{name}"),),
            SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),),
        },
    }  # fmt: skip
    return Site(**defaults | changes)


def a_policy(**changes: Any) -> Policy:
    defaults: dict[str, Any] = {
        "name": "default", "created": CREATED, "mode": Mode.ACTIVE, "sites": EVERYTHING,
        "allowed_namespaces": EVERYTHING, "slots": 4, "guardrails": Guardrails(),
        "order": Order((Objective.COST, Objective.EMISSIONS, Objective.DELAY), (Tolerance(0.0),) * 3),
        "areas": {
            "iowa": Area("iowa", Location(41.6, -93.6), "America/Chicago",
                         {"near": NetworkLink(0.01), "cheap": NetworkLink(0.05)}),
        },
    }  # fmt: skip
    return Policy(**defaults | changes)


def a_demand(name: str = "assistant", **changes: Any) -> Demand:
    """1,000 queries of 1,000 tokens an hour: 1 kWh."""
    defaults: dict[str, Any] = {
        "namespace": "inference", "name": name, "created": CREATED, "policy": "default",
        "classes": {"chat": QueryClass("chat", "large", 600.0, 400.0, 4.0, None, 0.1)},
        "areas": (
            DemandArea("iowa", (DemandEntry("chat", (1000.0,) * 24),), (RouteTarget(ROUTE, {"chat": "chat"}),)),
        ),
        "backends": tuple(Backend(site, backend(site)) for site in SITES),
    }  # fmt: skip
    return Demand(**defaults | changes)


def static(name: str, value: float, unit: str) -> Source:
    return Source(name=name, settings=StaticSettings(value, unit), accounting=CarbonAccounting())


def a_route(near: int = 1000, cheap: int = 0, rule: str = "chat") -> Route:
    return Route(ROUTE, "uid", (RouteRule(rule, {backend("near"): near, backend("cheap"): cheap}),))


def a_fleet(**changes: Any) -> Resources:
    """Two sites at 100 and 50 USD/MWh, one demand, one policy."""
    defaults: dict[str, Any] = {
        "policies": {"default": a_policy()},
        "sites": {name: a_site(name) for name in SITES},
        "demands": {"inference/assistant": a_demand()},
        "sources": {
            source.name: source
            for source in (
                static("price-near", 100.0, "USD/MWh"),
                static("price-cheap", 50.0, "USD/MWh"),
                static("carbon", 400.0, "g/kWh"),
            )
        },
        "namespace_labels": {"inference": {}},
    }
    return Resources(**defaults | changes)


def a_budget(liters: float, days: int = 30) -> WaterBudget:
    return WaterBudget(liters, days)


class MemoryRoutes:
    """A store of routes in memory."""

    def __init__(self, *routes: Route) -> None:
        self.routes = {route.key: route for route in routes}
        self.written: list[RouteWrite] = []

    async def read(self, keys: Any) -> dict[RouteKey, Route]:
        return {key: self.routes[key] for key in keys if key in self.routes}

    async def write(self, change: RouteWrite) -> Route:
        self.written.append(change)
        expected = change.expected
        rules = (
            replace(rule, original=rule.original or change.route.rule(rule.name).weights) for rule in expected.rules
        )
        self.routes[expected.key] = replace(expected, rules=tuple(rules))
        return self.routes[expected.key]


def hours_after(moment: datetime, hours: float) -> datetime:
    return moment + timedelta(hours=hours)
