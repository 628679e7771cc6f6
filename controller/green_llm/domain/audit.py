"""Rows of the audit: what was used in an hour, and every factor that makes an amount of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from green_llm.domain.amounts import Amounts
from green_llm.domain.series import SignalKind

IN_FORCE, NEAREST, STATIC = "in_force", "nearest", "static"
SIDES = (IN_FORCE, NEAREST, STATIC)
"""What traffic was, or would have been, served by."""
Column = NDArray[Any]
Rows = Mapping[str, Column]
"""Columns of equal length, by name."""

AMOUNTS = tuple(field.name for field in fields(Amounts))
"""As in ``Amounts``; they add up."""
TIMES = ("start_time", "end_time")
"""UTC: an hour, or the slot where slots are shorter."""
SIGNALS = {
    SignalKind.ELECTRICITY_PRICE: "price_per_kwh", SignalKind.CARBON_INTENSITY: "carbon_kg_per_kwh",
    SignalKind.WUE: "wue_l_per_kwh", SignalKind.EWIF: "ewif_l_per_kwh", SignalKind.SOLAR_OUTPUT: "solar_kw_per_kw",
    SignalKind.WIND_OUTPUT: "wind_kw_per_kw",
}  # fmt: skip
"""The column of a signal's value, by kind; prices in the row's currency. Those of its source and quality begin alike."""


def source_column(kind: SignalKind) -> str:
    """Where the source of a signal's value stands."""
    return SIGNALS[kind].partition("_")[0] + "_source"


def quality_column(kind: SignalKind) -> str:
    """Where the quality of a signal's value stands."""
    return SIGNALS[kind].partition("_")[0] + "_quality"


TEXTS = (
    "policy", "side", "site", "demand", "class", "currency", "water_basis", "price_basis", "carbon_basis",
    *(column(kind) for kind in SIGNALS for column in (source_column, quality_column)),
)  # fmt: skip
"""``demand`` and ``class`` are empty in rows of a baseline."""
FACTORS = {
    "price_per_kwh": "grid_energy_kwh", "carbon_kg_per_kwh": "grid_energy_kwh", "wue_l_per_kwh": "energy_kwh",
    "ewif_l_per_kwh": "grid_energy_kwh", "solar_kw_per_kw": "seconds", "wind_kw_per_kw": "seconds",
    "residual_kg_per_kwh": "energy_kwh",
}  # fmt: skip
"""What a mean of each is weighted by."""
FACTS = (
    "pue", "carbon_price_per_kg", "market_kg_per_kwh", "scarcity_on_site", "scarcity_off_site", "solar_capacity_kw",
    "wind_capacity_kw", "other_load_kw", "grid_limit_kw",
)  # fmt: skip
"""Of the site, as they were then."""
SUMS = ("seconds", "available_kwh", *AMOUNTS)
"""``available_kwh``: on-site energy that there was for this traffic."""
NUMBERS = (*FACTORS, *FACTS, *SUMS)
COLUMNS = (*TIMES, *TEXTS, *NUMBERS)
_TYPES = dict.fromkeys(TIMES, "datetime64[us]") | dict.fromkeys(TEXTS, "object")


@dataclass(frozen=True, eq=False)
class AuditBatch:
    """What a ledger was charged with from ``begun`` until ``until``."""

    policy: str
    begun: datetime
    until: datetime
    rows: Rows


def joined(parts: list[Rows]) -> Rows:
    """All rows, one below the other."""
    if not parts:
        return {name: np.array([], dtype=_TYPES.get(name, "float64")) for name in COLUMNS}
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
