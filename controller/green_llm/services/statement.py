"""A statement of audit rows: totals by side, site and class, and what the factors behind them are worth. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from green_llm.domain.amounts import Amounts
from green_llm.domain.audit import AMOUNTS, FACTORS, IN_FORCE, SIDES, SIGNALS, Rows, quality_column
from green_llm.domain.instance import BoolArray, FloatArray
from green_llm.domain.series import SignalKind

UNKNOWN = "unknown"
"""Quality of a factor that no source had."""
_ONLY_WITH = {SignalKind.SOLAR_OUTPUT: "solar_capacity_kw", SignalKind.WIND_OUTPUT: "wind_capacity_kw"}


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What some rows come to; of one currency and one way of counting carbon."""

    sides: Mapping[str, Amounts]
    """By ``domain.audit.SIDES``; emissions are 0 where they are counted as differences alone."""
    sites: Mapping[str, Amounts]
    """Of the weights in force."""
    classes: Mapping[str, Amounts]
    """Of the weights in force, by ``namespace/demand/class``."""
    avoided_kg: Mapping[str, float]
    """Emissions of each baseline less those in force."""
    qualities: Mapping[SignalKind, Mapping[str, float]]
    """Share of what each signal was multiplied with, by the signal's quality, or a price's basis; of the
    weights in force."""
    contracted_kwh: float
    """Grid energy in force at sites that say what they have contracted: what the market-based figure covers."""


def groups(rows: Rows) -> Iterator[tuple[str, str, Rows]]:
    """(currency, carbon basis, rows) of everything that may be added up."""
    pairs = sorted(set(zip(rows["currency"], rows["carbon_basis"], strict=True)))
    for currency, basis in pairs:
        yield currency, basis, _only(rows, (rows["currency"] == currency) & (rows["carbon_basis"] == basis))


def statement(rows: Rows) -> Statement:
    """Add rows up; a value that is not known adds nothing, and is in ``qualities``."""
    ours = _only(rows, rows["side"] == IN_FORCE)
    emissions = {side: _emissions(_only(rows, rows["side"] == side)) for side in SIDES}
    names = np.array(
        [f"{demand}/{name}" for demand, name in zip(ours["demand"], ours["class"], strict=True)], dtype=object
    )
    contracted = ~np.isnan(ours["market_kg_per_kwh"])
    return Statement(
        sides={side: _total(_only(rows, rows["side"] == side)) for side in SIDES},
        sites={site: _total(_only(ours, ours["site"] == site)) for site in sorted(set(ours["site"]))},
        classes={name: _total(_only(ours, names == name)) for name in sorted(set(names))},
        avoided_kg={side: emissions[side] - emissions[IN_FORCE] for side in SIDES if side != IN_FORCE},
        qualities={kind: found for kind in SIGNALS if (found := _qualities(ours, kind))},
        contracted_kwh=float(ours["grid_energy_kwh"][contracted].sum()),
    )


def _only(rows: Rows, chosen: BoolArray) -> Rows:
    return {name: values[chosen] for name, values in rows.items()}


def _total(rows: Rows) -> Amounts:
    return Amounts(**{name: float(np.nansum(rows[name])) for name in AMOUNTS})


def _emissions(rows: Rows) -> float:
    """Also of rows that have none of their own: for differences."""
    grid = rows["grid_energy_kwh"]
    by_row: FloatArray = rows["carbon_kg_per_kwh"] * grid + rows["residual_kg_per_kwh"] * (rows["energy_kwh"] - grid)
    return float(np.nansum(by_row))


def _qualities(ours: Rows, kind: SignalKind) -> dict[str, float]:
    weight = ours[FACTORS[SIGNALS[kind]]]
    if kind in _ONLY_WITH:
        weight = np.where(ours[_ONLY_WITH[kind]] > 0, ours["energy_kwh"], 0.0)
    whole = float(weight.sum())
    labels = ours[quality_column(kind)]
    if kind is SignalKind.ELECTRICITY_PRICE:  # an agreed price is none the worse for having been known before
        labels = np.where(ours["price_basis"] == "", labels, ours["price_basis"])
    return {
        str(label) or UNKNOWN: float(weight[labels == label].sum()) / whole for label in sorted(set(labels)) if whole
    }
