"""Emission and water factors of generation, and what a mix makes of them.

Emissions, g CO2e per kWh generated. Lifecycle: IPCC AR5 WG3 Annex III medians as Electricity Maps lists them (oil, other and
unknown: Electricity Maps). Direct: Electricity Maps' direct factors. Water, litres consumed per kWh generated: medians of
Macknick et al. 2012 (NREL; recirculating towers, combined-cycle gas, PV), oil and other as in "Making AI Less Thirsty". Read
November 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from green_llm.domain.series import Point, Quality, SignalKind
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Found, ordered

LIFECYCLE = {
    "coal": 820.0, "gas": 490.0, "oil": 650.0, "biomass": 230.0, "geothermal": 38.0, "hydro": 24.0, "nuclear": 12.0,
    "solar": 45.0, "wind": 11.0, "other": 700.0,
}  # fmt: skip
DIRECT = {
    "coal": 760.0, "gas": 370.0, "oil": 406.0, "biomass": 0.0, "geothermal": 0.0, "hydro": 0.0, "nuclear": 0.0,
    "solar": 0.0, "wind": 0.0, "other": 575.0,
}  # fmt: skip
WATER = {
    "coal": 2.60, "gas": 0.78, "oil": 1.32, "biomass": 2.09, "nuclear": 2.54, "solar": 0.10, "wind": 0.0, "other": 1.80,
}  # fmt: skip
HYDRO_WATER = 17.0
"""Evaporation from reservoirs: the largest choice of all, so both ways are reported."""
STORAGE = "storage"
"""Charging and discharging moves energy in time; it is in neither sum."""


def carbon_intensity(mix_mw: Mapping[str, float], factors: str) -> float | None:
    """g/kWh of what is generated: Σ g·EF / Σ g over positive generation, imports and storage left out.

    None where nothing is generated. A fuel without a factor counts as ``other``.

    Raises:
        SignalError: there is no such set of factors.
    """
    sets = {"Lifecycle": LIFECYCLE, "Direct": DIRECT}
    if factors not in sets:
        raise SignalError(f'there are no emission factors called "{factors}" (known: {", ".join(sets)})')
    return _mean(mix_mw, sets[factors])


def water_intensity(mix_mw: Mapping[str, float], hydro: str) -> float | None:
    """L/kWh consumed by what is generated; ``hydro`` says whether reservoirs' evaporation is Included or Excluded (0).

    None where nothing is generated. A fuel without a factor counts as ``other``.
    """
    return _mean(mix_mw, {**WATER, "hydro": HYDRO_WATER if hydro == "Included" else 0.0})


def of_mix(ask: Ask, mixes: Iterable[tuple[datetime, datetime, Mapping[str, float]]]) -> Found:
    """What was asked for of the generation in each interval: measured, and worked out with factors."""
    found: list[Point] = []
    for start, end, mix in mixes:
        if ask.kind is SignalKind.EWIF:
            hydro = ask.params.get("hydro", "Excluded")
            value = water_intensity(mix, hydro)
            other = water_intensity(mix, "Excluded" if hydro == "Included" else "Included")
        else:
            value, other = carbon_intensity(mix, ask.factors), None
        if value is not None:
            found.append(Point(start, end, value, Quality.ESTIMATED, end, other))
    return Found("L/kWh" if ask.kind is SignalKind.EWIF else "g/kWh", ordered(found))


def _mean(mix_mw: Mapping[str, float], factors: Mapping[str, float]) -> float | None:
    counted = {fuel: max(0.0, mw) for fuel, mw in mix_mw.items() if fuel != STORAGE}
    total = sum(counted.values())
    if total <= 0:
        return None
    return sum(mw * factors.get(fuel, factors["other"]) for fuel, mw in counted.items()) / total
