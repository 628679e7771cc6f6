"""Rows of the audit from what an interval is charged with. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from green_llm.domain.audit import (
    AMOUNTS,
    IN_FORCE,
    SIGNALS,
    AuditBatch,
    Column,
    Rows,
    joined,
    quality_column,
    source_column,
)
from green_llm.domain.instance import FloatArray
from green_llm.domain.request import Policy
from green_llm.domain.series import SignalBook, SignalKind, SlotValue
from green_llm.domain.time import Slots, hours
from green_llm.domain.topology import RenewableType, Site
from green_llm.services.assemble import Assembled
from green_llm.services.columns import Columns

INVENTORY = ("emissions_kg", "carbon_cost", "market_emissions_kg")


def audit_batch(
    policy: Policy,
    sites: Sequence[Site],
    found: Assembled,
    book: SignalBook,
    sides: Mapping[str, Columns],
    begun: datetime,
    until: datetime,
) -> AuditBatch | None:
    """Rows of ``[begun, until)``, piece by piece; None where nothing has elapsed.

    ``found`` is of the book's first slots; ``sides`` are amounts of whole slots: [J,K,T] of the weights in force, [J,T] of
    baselines. Under marginal signals a row has no emissions: they mean something only as differences.
    """
    slots = Slots(book.slots.start, book.slots.slot_seconds, found.instance.slots)
    parts: list[Rows] = []
    for t, (start, end) in enumerate(slots):
        facts = _facts(policy, sites, found, book, t)
        for first, last in hours(start, end):
            seconds = (min(last, until) - max(first, begun)).total_seconds()
            if seconds <= 0:
                continue
            for side, columns in sides.items():
                whole = {name: values[..., t] for name, values in columns.items()}
                whole["available_kwh"] = _shared(found.instance.available_kwh[:, t], whole["energy_kwh"])
                taken = {name: values * (seconds / slots.slot_seconds) for name, values in whole.items()}
                found_rows = _rows(policy, side, found.instance.classes, facts, taken)
                count = len(found_rows["site"])
                times = {"start_time": _times(first, count), "end_time": _times(last, count)}
                parts.append(found_rows | times | {"seconds": np.full(count, seconds)})
    return AuditBatch(policy.name, begun, until, joined(parts)) if begun < until else None


def _rows(
    policy: Policy, side: str, classes: Sequence[str], facts: Mapping[str, Column], taken: Mapping[str, FloatArray]
) -> dict[str, Column]:
    """Rows of one piece and side, without its times: where there is any traffic."""
    used = (taken["energy_kwh"] > 0) | (taken["queries"] > 0)
    place = np.nonzero(used)
    count = len(place[0])
    names = [classes[k].rpartition("/") if side == IN_FORCE else ("", "", "") for k in place[-1].tolist()]
    rows: dict[str, Column] = {
        "policy": _texts([policy.name] * count),
        "side": _texts([side] * count),
        "currency": _texts([policy.currency] * count),
        "demand": _texts([name[0] for name in names]),
        "class": _texts([name[2] for name in names]),
    }
    rows |= {name: values[place[0]] for name, values in facts.items()}
    rows |= {name: taken[name][place] for name in ("available_kwh", *AMOUNTS)}
    if not policy.takes_inventory:
        rows |= {name: np.full(count, np.nan) for name in INVENTORY}
    return rows


def _facts(policy: Policy, sites: Sequence[Site], found: Assembled, book: SignalBook, t: int) -> dict[str, Column]:
    """Every column that depends on the site alone, [J]."""
    instance = found.instance
    values = {kind: [_value(book, site.name, kind, t) for site in sites] for kind in SIGNALS}
    facts: dict[str, Column] = {
        "site": _texts(list(instance.sites)),
        "water_basis": _texts([site.water_basis.value for site in sites]),
        "price_basis": _texts(
            ["" if value is None else value.basis or "" for value in values[SignalKind.ELECTRICITY_PRICE]]
        ),
        "carbon_basis": _texts(["/".join(vars(policy.accounting).values())] * len(sites)),
        "price_per_kwh": instance.electricity_price[:, t],
        "carbon_kg_per_kwh": instance.carbon_intensity[:, t],
        "wue_l_per_kwh": instance.wue[:, t],
        "ewif_l_per_kwh": instance.ewif[:, t],
        "residual_kg_per_kwh": found.residual_kg_per_kwh[:, t],
        "solar_kw_per_kw": _numbers(
            [None if value is None else value.value for value in values[SignalKind.SOLAR_OUTPUT]]
        ),
        "wind_kw_per_kw": _numbers(
            [None if value is None else value.value for value in values[SignalKind.WIND_OUTPUT]]
        ),
        "pue": instance.pue,
        "carbon_price_per_kg": instance.carbon_price,
        "market_kg_per_kwh": _numbers([site.market_kg_per_kwh for site in sites]),
        "scarcity_on_site": _numbers([site.scarcity_on_site for site in sites]),
        "scarcity_off_site": _numbers([site.scarcity_off_site for site in sites]),
        "solar_capacity_kw": _numbers([_capacity(site, RenewableType.SOLAR) for site in sites]),
        "wind_capacity_kw": _numbers([_capacity(site, RenewableType.WIND) for site in sites]),
        "other_load_kw": _numbers([site.other_load_kw for site in sites]),
        "grid_limit_kw": _numbers([site.grid_limit_kw for site in sites]),
    }
    constants = {SignalKind.WUE: [s.wue_l_per_kwh for s in sites], SignalKind.EWIF: [s.ewif_l_per_kwh for s in sites]}
    for kind, known in values.items():
        given = constants.get(kind, [None] * len(sites))
        facts[source_column(kind)] = _texts([_source(v, g) for v, g in zip(known, given, strict=True)])
        facts[quality_column(kind)] = _texts([_quality(v, g) for v, g in zip(known, given, strict=True)])
    return facts


def _shared(available: FloatArray, energy: FloatArray) -> FloatArray:
    """What sites have, shared among their classes by energy; of a baseline a site has it all."""
    if energy.ndim == 1:
        return available
    whole = energy.sum(axis=1, keepdims=True)
    part = np.divide(energy, whole, out=np.zeros_like(energy), where=whole > 0)
    shared: FloatArray = part * available[:, None]
    return shared


def _value(book: SignalBook, site: str, kind: SignalKind, t: int) -> SlotValue | None:
    values = book.values.get((site, kind), ())
    return values[t] if t < len(values) else None


def _source(value: SlotValue | None, given: float | None) -> str:
    """A constant of the site has the site for its source."""
    return "InferenceSite" if given is not None else "" if value is None else value.source


def _quality(value: SlotValue | None, given: float | None) -> str:
    return "static" if given is not None else "" if value is None else value.quality.value


def _capacity(site: Site, kind: RenewableType) -> float:
    return sum(entry.capacity_kw for entry in site.renewables if entry.type is kind)


def _texts(values: Sequence[str]) -> Column:
    return np.array(values, dtype=object)


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _times(moment: datetime, count: int) -> Column:
    """UTC without a zone, as numpy has it."""
    return np.full(count, np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us"))
