"""Energy-Charts (Fraunhofer ISE) v1.5: day-ahead prices of a bidding zone, carbon intensity of a country's generation.

https://api.energy-charts.info. Times are the interval's start, unix seconds; arrays have nulls inside and at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from green_llm.domain.series import Point, Quality, SignalKind
from green_llm.errors import SignalError
from green_llm.signals.factors import STORAGE, of_mix
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered

LONGEST = timedelta(hours=1)
FUELS = {
    "Biomass": "biomass", "Fossil brown coal / lignite": "coal", "Fossil hard coal": "coal", "Fossil gas": "gas",
    "Fossil oil": "oil", "Fossil coal-derived gas": "gas", "Geothermal": "geothermal", "Hydro Run-of-River": "hydro",
    "Hydro water reservoir": "hydro", "Hydro pumped storage": STORAGE, "Hydro pumped storage consumption": STORAGE,
    "Nuclear": "nuclear", "Others": "other", "Waste": "other", "Wind onshore": "wind", "Wind offshore": "wind",
    "Solar": "solar",
}  # fmt: skip
"""Names that are not generation (load, shares, trading) are left out."""


def requests(ask: Ask) -> list[Request]:
    """The interval; 404 means that it is not published yet."""
    span = {"start": f"{ask.start:%Y-%m-%dT%H:%MZ}", "end": f"{ask.end:%Y-%m-%dT%H:%MZ}"}
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        return [Request("/price", {"bzn": ask.params["zone"], **span}, no_data=frozenset({404}))]
    return [Request("/public_power", {"country": ask.params["zone"].lower(), **span}, no_data=frozenset({404}))]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Prices in EUR/MWh, which do not age; or g/kWh of the generation."""
    if not bodies[0]:
        return Found("EUR/MWh", ()) if ask.kind is SignalKind.ELECTRICITY_PRICE else of_mix(ask, ())
    document = json_of(bodies[0])
    stamps = list_of(document, "unix_seconds")
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        unit = str(document.get("unit", "EUR / MWh")).replace(" ", "")
        if unit not in ("EUR/MWh", "NoUnit"):
            raise SignalError(f'prices are in "{document.get("unit")}", not in EUR / MWh')
        values = list_of(document, "price")
        found = [Point(s, e, v, Quality.MEASURED) for s, e, v in _zipped(stamps, values)]
        return Found("EUR/MWh", ordered(found))
    mixes = _mixes(list_of(document, "production_types"), len(stamps))
    return of_mix(ask, [(start, end, mix) for (start, end), mix in zip(_spans(stamps), mixes, strict=False) if mix])


def _mixes(types: list[Any], count: int) -> list[dict[str, float]]:
    """One per time; empty where a generation type has no value yet."""
    known = {
        entry["name"]: entry["data"]
        for entry in types
        if entry.get("name") in FUELS and any(number(value) is not None for value in entry["data"])
    }
    found: list[dict[str, float]] = []
    for at in range(count):
        values = {name: number(data[at]) if at < len(data) else None for name, data in known.items()}
        if not values or any(value is None for value in values.values()):
            found.append({})
            continue
        mix: dict[str, float] = {}
        for name, value in values.items():
            mix[FUELS[name]] = mix.get(FUELS[name], 0.0) + max(0.0, value or 0.0)
        found.append(mix)
    return found


def _zipped(stamps: list[Any], values: Sequence[Any]) -> Iterator[tuple[datetime, datetime, float]]:
    """(start, end, value) where there is one."""
    for (start, end), value in zip(_spans(stamps), values, strict=False):
        known = number(value)
        if known is not None:
            yield start, end, known


def _spans(stamps: list[Any]) -> list[tuple[datetime, datetime]]:
    """An interval ends where the next begins, and is no longer than an hour."""
    starts = [datetime.fromtimestamp(float(stamp), UTC) for stamp in stamps]
    last = starts[-1] - starts[-2] if len(starts) > 1 else LONGEST
    ends = [*starts[1:], *([starts[-1] + last] if starts else [])]
    return [(start, min(end, start + LONGEST)) for start, end in zip(starts, ends, strict=True)]


FEED = Feed(requests, parse, past=Past(timedelta(days=30), lag=timedelta(hours=2), auction=("Europe/Berlin", 14)))
