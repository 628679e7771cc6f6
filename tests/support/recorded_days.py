"""Worlds for back-tests: the two sites of ``support.resources`` with recorded prices and carbon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from green_llm.backtest.replay import Span
from green_llm.backtest.world import World
from green_llm.domain.request import CarbonAccounting, CsvSettings, Resources, Source
from green_llm.domain.series import SignalKind, SignalRef
from support.resources import SITES, a_demand, a_fleet, a_policy, a_route, a_site

BEGIN = datetime(2026, 10, 5, tzinfo=UTC)
HEADER = "start,end,value,unit,quality,issued_at\n"
Value = Callable[[str, int], float]
"""By site and hour."""


def span(days: float, step_seconds: int = 3600, first_day: int = 1) -> Span:
    start = BEGIN + timedelta(days=first_day)
    return Span(start=start, end=start + timedelta(days=days), step_seconds=step_seconds)


def moment(text: datetime) -> str:
    return f"{text:%Y-%m-%dT%H:%MZ}"


def day_ahead(days: int, value: Callable[[int], float]) -> str:
    """Prices that are out at noon of the day before."""
    lines = []
    for hour in range(24 * days):
        start = BEGIN + timedelta(hours=hour)
        issued = (start - timedelta(days=1)).replace(hour=12)
        lines.append(
            f"{moment(start)},{moment(start + timedelta(hours=1))},{value(hour):.3f},USD/MWh,forecast,{moment(issued)}"
        )
    return HEADER + "\n".join(lines) + "\n"


def measured(days: int, value: Callable[[int], float], unit: str, error: float = 0.2) -> str:
    """Measurements, and forecasts issued every day at six that are wrong by ``error`` in turns."""
    lines = []
    for hour in range(24 * days):
        start = BEGIN + timedelta(hours=hour)
        end = start + timedelta(hours=1)
        lines.append(f"{moment(start)},{moment(end)},{value(hour):.3f},{unit},measured,")
        for back in (0, 1):
            issued = (start - timedelta(hours=6)).replace(hour=6) - timedelta(days=back)
            if issued <= start:
                wrong = value(hour) * (1.0 + error * (-1) ** (hour // 5 + back))
                lines.append(f"{moment(start)},{moment(end)},{wrong:.3f},{unit},forecast,{moment(issued)}")
    return HEADER + "\n".join(lines) + "\n"


def waves(site: str, hour: int) -> float:
    """Cheap at night at one site and by day at the other; no two days alike."""
    night = (hour % 24 < 12) == (site == "near")
    return (40.0 if night else 80.0) + 7.0 * ((hour // 24 * 5 + hour) % 3)


def recorded_world(
    days: int = 4, *, price: Value = waves, carbon: Value | None = None, forecast_error: float = 0.2, **changes: Any
) -> World:
    """Two sites whose price and carbon are recorded; ``policy``, ``demand`` and sites by name take changes."""
    intensity = carbon or (lambda site, hour: 900.0 - 8.0 * price(site, hour))
    texts = {}
    for site in SITES:
        texts[f"price-{site}.csv"] = day_ahead(days, lambda hour, site=site: price(site, hour))  # type: ignore[misc]
        texts[f"carbon-{site}.csv"] = measured(
            days, lambda hour, site=site: intensity(site, hour), "g/kWh", forecast_error
        )  # type: ignore[misc]
    signals = {
        site: {
            SignalKind.ELECTRICITY_PRICE: (SignalRef("price", {"site": site}, basis="DayAhead"),),
            SignalKind.CARBON_INTENSITY: (SignalRef("carbon", {"site": site}),),
        }
        for site in SITES
    }
    sources = {
        name: Source(
            name=name, settings=CsvSettings(f"{name}-{{site}}.csv", 1800.0), params={"site": "[a-z]+"},
            accounting=CarbonAccounting(), stale_after_seconds=200_000.0,
        )
        for name in ("price", "carbon")
    }  # fmt: skip
    plain = a_fleet()
    resources = Resources(
        policies={"default": a_policy(**changes.pop("policy", {}))},
        sites={site: a_site(site, **{"signals": signals[site]} | changes.pop(site, {})) for site in SITES},
        demands={"inference/assistant": a_demand(**changes.pop("demand", {}))},
        sources=sources,
        namespace_labels=plain.namespace_labels,
    )
    route = a_route()
    return World("test", resources, {route.key: route}, texts, {}, **changes)


def static_world(**changes: Any) -> World:
    """Two sites whose signals never change."""
    route = a_route()
    return World("test", a_fleet(**changes), {route.key: route}, {}, {})
