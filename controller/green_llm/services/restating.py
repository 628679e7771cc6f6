"""The audit with what is known by now: the same energy, by revised signals. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import numpy as np

from green_llm.domain.audit import AMOUNTS, FACTS, SIGNALS, TEXTS, TIMES, Column, Rows, quality_column, source_column
from green_llm.domain.instance import BoolArray, FloatArray
from green_llm.domain.series import SignalBook, SignalKind, SlotValue
from green_llm.domain.time import Slots
from green_llm.domain.units import kilograms, per_kwh

KnownKey = tuple[str, SignalKind, np.datetime64, np.datetime64]
"""Site, kind, start and end."""
Known = Mapping[KnownKey, SlotValue]
"""What signals were."""
SCALES = {SignalKind.ELECTRICITY_PRICE: per_kwh(1.0), SignalKind.CARBON_INTENSITY: kilograms(1.0)}
"""From a signal's unit to that of its column."""
CURTAILED_KWH = 1e-9
_ALIKE = (*TIMES, *(name for name in TEXTS if name not in ("demand", "class")), *FACTS)


def restated(rows: Rows, known: Known) -> Rows:
    """Rows with every known value in place of the one they were booked with; the rest stays as it was.

    Energy is a fact, and so is whether renewables gave way to the grid. How much of them there was follows their output.
    """
    if not len(rows["site"]):
        return rows
    found = dict(rows)
    for kind in SIGNALS:
        _revise(found, kind, known)
    if all(found[SIGNALS[kind]] is rows[SIGNALS[kind]] for kind in SIGNALS):
        return rows
    available = _available(rows, found)
    energy, grid, curtailed = _by_site(rows, rows["energy_kwh"], rows["grid_energy_kwh"], _curtailed(rows))
    (there,) = _by_site(rows, available)
    least = np.maximum(0.0, energy - there)
    whole = np.where(curtailed > 0, np.maximum(least, grid), least)
    part = np.divide(rows["energy_kwh"], energy, out=np.zeros_like(energy), where=energy > 0)
    return found | {"available_kwh": available} | _amounts(found, part * whole, part * least)


def _curtailed(rows: Rows) -> FloatArray:
    """1 where renewables gave way to the grid."""
    marked: FloatArray = (rows["displaced_renewables_kwh"] > CURTAILED_KWH).astype(np.float64)
    return marked


def _revise(rows: dict[str, Column], kind: SignalKind, known: Known) -> None:
    """Put known values of one kind into its columns."""
    name = SIGNALS[kind]
    places = zip(rows["site"], rows["start_time"], rows["end_time"], strict=True)
    values = [known.get((site, kind, start, end)) for site, start, end in places]
    # What a site declares itself, or does not have, is no signal.
    open_to = (rows[source_column(kind)] != "InferenceSite") & _has(rows, kind)
    new = np.array([value is not None for value in values]) & open_to
    if not new.any():
        return
    scale = SCALES.get(kind, 1.0)
    numbers = np.array([np.nan if value is None else value.value * scale for value in values])
    rows[name] = np.where(new, numbers, rows[name])
    rows[source_column(kind)] = np.where(new, _texts(v.source if v else "" for v in values), rows[source_column(kind)])
    rows[quality_column(kind)] = np.where(
        new, _texts(v.quality.value if v else "" for v in values), rows[quality_column(kind)]
    )


def _has(rows: Rows, kind: SignalKind) -> BoolArray:
    capacity = {SignalKind.SOLAR_OUTPUT: "solar_capacity_kw", SignalKind.WIND_OUTPUT: "wind_capacity_kw"}.get(kind)
    found: BoolArray = np.ones(len(rows["site"]), dtype=bool) if capacity is None else rows[capacity] > 0
    return found


def _available(booked: Rows, found: Rows) -> FloatArray:
    """On-site energy that there was: as booked, in proportion to what the installations gave."""
    before, after = _renewable_kw(booked), _renewable_kw(found)
    hours = found["seconds"] / 3600.0
    (whole,) = _by_site(booked, booked["energy_kwh"])
    share = np.divide(booked["energy_kwh"], whole, out=np.zeros_like(whole), where=whole > 0)
    ratio = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    available: FloatArray = np.where(before > 0, booked["available_kwh"] * ratio, share * after * hours)
    return available


def _renewable_kw(rows: Rows) -> FloatArray:
    """What other load leaves of the installations' output, kW; booked without a value, nothing."""
    given = np.nan_to_num(rows["solar_kw_per_kw"]) * rows["solar_capacity_kw"]
    given = given + np.nan_to_num(rows["wind_kw_per_kw"]) * rows["wind_capacity_kw"]
    left: FloatArray = np.maximum(0.0, given - rows["other_load_kw"])
    return left


def _by_site(rows: Rows, *columns: FloatArray) -> list[FloatArray]:
    """Sums over the rows of one site, side and interval that were booked alike, at each of them."""
    keys = ["\x1f".join(map(str, values)) for values in zip(*(rows[name] for name in _ALIKE), strict=True)]
    place = np.unique(np.array(keys), return_inverse=True)[1]
    return [np.bincount(place, column).astype(np.float64)[place] for column in columns]


def _amounts(rows: Rows, grid: FloatArray, least: FloatArray) -> dict[str, Column]:
    """Every amount that a signal is part of."""
    energy, on_site = rows["energy_kwh"], rows["energy_kwh"] - grid
    cost, carbon = rows["price_per_kwh"] * grid, rows["carbon_kg_per_kwh"] * grid
    near, far = rows["wue_l_per_kwh"] / rows["pue"] * energy, rows["ewif_l_per_kwh"] * grid
    residual = rows["residual_kg_per_kwh"] * on_site
    inventory = np.array([not basis.startswith("Marginal") for basis in rows["carbon_basis"]])
    found = {
        "grid_energy_kwh": grid,
        "displaced_renewables_kwh": np.maximum(0.0, grid - least),
        "cost_paid": np.maximum(0.0, cost),
        "cost_earned": np.maximum(0.0, -cost),
        "carbon_cost": np.where(inventory, rows["carbon_price_per_kg"] * carbon, np.nan),
        "emissions_kg": np.where(inventory, carbon + residual, np.nan),
        "market_emissions_kg": np.where(inventory, rows["market_kg_per_kwh"] * grid + residual, np.nan),
        "water_on_site_l": near,
        "water_off_site_l": far,
        "water_weighted_l": rows["scarcity_on_site"] * near + rows["scarcity_off_site"] * far,
    }
    return {name: found.get(name, rows[name]) for name in AMOUNTS}


def covering(rows: Rows) -> Iterator[Slots]:
    """The slots of all rows, by the day and by their length."""
    starts, lengths = rows["start_time"], rows["end_time"] - rows["start_time"]
    day = np.timedelta64(1, "D")
    for length in sorted(set(lengths.tolist())):
        seconds = round(length.total_seconds())
        for begin in sorted(set(starts[lengths == np.timedelta64(length)].astype("datetime64[D]"))):
            start = begin.astype("datetime64[us]").astype(datetime).replace(tzinfo=UTC)
            yield Slots(start, seconds, round(day / np.timedelta64(seconds, "s")))


def known_of(book: SignalBook) -> Iterator[tuple[KnownKey, SlotValue]]:
    """Every value of a book, with where it belongs."""
    bounds = [tuple(np.datetime64(m.replace(tzinfo=None), "us") for m in slot) for slot in book.slots]
    for (site, kind), values in book.values.items():
        for (start, end), value in zip(bounds, values, strict=True):
            if value is not None:
                yield (site, kind, start, end), value


def _texts(values: Iterator[str]) -> Column:
    return np.array(list(values), dtype=object)
