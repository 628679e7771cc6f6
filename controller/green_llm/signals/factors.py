"""Emission and water factors of generation, and what a mix makes of them.

Emissions, g CO2e per kWh generated. Lifecycle: IPCC AR5 WG3 Annex III medians as Electricity Maps lists them (oil, other and
unknown: Electricity Maps). Direct: Electricity Maps' direct factors. Read November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping

from green_llm.errors import SignalError

LIFECYCLE = {
    "coal": 820.0, "gas": 490.0, "oil": 650.0, "biomass": 230.0, "geothermal": 38.0, "hydro": 24.0, "nuclear": 12.0,
    "solar": 45.0, "wind": 11.0, "other": 700.0,
}  # fmt: skip
DIRECT = {
    "coal": 760.0, "gas": 370.0, "oil": 406.0, "biomass": 0.0, "geothermal": 0.0, "hydro": 0.0, "nuclear": 0.0,
    "solar": 0.0, "wind": 0.0, "other": 575.0,
}  # fmt: skip
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
    table = sets[factors]
    counted = {fuel: max(0.0, mw) for fuel, mw in mix_mw.items() if fuel != STORAGE}
    total = sum(counted.values())
    if total <= 0:
        return None
    return sum(mw * table.get(fuel, table["other"]) for fuel, mw in counted.items()) / total
