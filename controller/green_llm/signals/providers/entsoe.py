"""ENTSO-E Transparency Platform: day-ahead prices (A44), and carbon intensity of actual generation (A75).

https://documenter.getpostman.com/view/7009892/2s93JtP3F6. XML whose namespaces change: matched on local names. A document
with curve type A03 leaves out positions that repeat the one before, up to the end of its interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET

from green_llm.domain.series import Point, Quality, SignalKind
from green_llm.errors import SignalError
from green_llm.signals.factors import STORAGE, of_mix
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, ordered, utc

NO_DATA = "999"
NOT_FOUND, BAD_REQUEST = frozenset({404}), frozenset({400})
FUELS = {
    "B01": "biomass", "B02": "coal", "B03": "gas", "B04": "gas", "B05": "coal", "B06": "oil", "B07": "oil",
    "B08": "coal", "B09": "geothermal", "B10": STORAGE, "B11": "hydro", "B12": "hydro", "B13": "wind", "B14": "nuclear",
    "B15": "other", "B16": "solar", "B17": "other", "B18": "wind", "B19": "wind", "B20": "other", "B25": STORAGE,
}  # fmt: skip
"""Lignite and peat count as coal: there is no factor of their own in the table."""
Slot = tuple[datetime, datetime]


def requests(ask: Ask) -> list[Request]:
    """The interval; prices come in whole local days."""
    zone = ask.params["zone"]
    span = {"periodStart": f"{ask.start:%Y%m%d%H00}", "periodEnd": f"{ask.end:%Y%m%d%H00}"}
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        query = {"documentType": "A44", "in_Domain": zone, "out_Domain": zone, "contract_MarketAgreement.type": "A01"}
    else:
        query = {"documentType": "A75", "processType": "A16", "in_Domain": zone}
    # Nothing yet is said with status 400 as well as 200; the body is looked at in both cases.
    return [Request("/api", query | span, private={"securityToken": ask.secret}, no_data=NOT_FOUND, read=BAD_REQUEST)]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Prices per MWh in the document's currency; or what the generation makes: g/kWh or L/kWh."""
    root = _root(bodies[0]) if bodies[0] else None
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        return _prices(root)
    if root is None:
        return of_mix(ask, ())
    mixes: dict[Slot, dict[str, float]] = {}
    types: set[str] = set()
    for series in _all(root, "TimeSeries"):
        consumes = _text(series, "outBiddingZone_Domain.mRID") is not None
        code = _text(series, "psrType") or "B20"
        if consumes or code not in FUELS:
            continue
        types.add(code)
        for slot, value in _expanded(series, "quantity"):
            mix = mixes.setdefault(slot, {})
            mix[code] = mix.get(code, 0.0) + value
    complete = {slot: mix for slot, mix in mixes.items() if mix.keys() == types}
    mixed = []
    for (start, end), mix in sorted(complete.items()):
        fuels: dict[str, float] = {}
        for code, value in mix.items():
            fuels[FUELS[code]] = fuels.get(FUELS[code], 0.0) + value
        mixed.append((start, end, fuels))
    return of_mix(ask, mixed)


def _prices(root: ET.Element | None) -> Found:
    """The finest resolution of the first auction; coarser series fill no gaps of finer ones."""
    if root is None:
        return Found("EUR/MWh", ())
    found: dict[timedelta, list[tuple[Slot, float]]] = {}
    currencies: set[str] = set()
    for series in _all(root, "TimeSeries"):
        if (_text(series, "classificationSequence_AttributeInstanceComponent.position") or "1") != "1":
            continue
        currencies.add(_text(series, "currency_Unit.name") or "EUR")
        for slot, value in _expanded(series, "price.amount"):
            found.setdefault(slot[1] - slot[0], []).append((slot, value))
    if len(currencies) > 1:
        raise SignalError(f"prices come in several currencies ({', '.join(sorted(currencies))})")
    unit = f"{next(iter(currencies), 'EUR')}/MWh"
    finest = found[min(found)] if found else []
    return Found(unit, ordered([Point(start, end, value, Quality.MEASURED) for (start, end), value in finest]))


def _root(body: bytes) -> ET.Element | None:
    """The document; None where it says that there is no data.

    Raises:
        SignalError: it is no XML, or another acknowledgement.
    """
    if b"<!DOCTYPE" in body[:2000] or b"<!ENTITY" in body:
        raise SignalError("the answer declares a document type; it is not read")
    try:
        root = ET.fromstring(body)  # noqa: S314 - entities are refused above
    except ET.ParseError as error:
        raise SignalError(f"the answer is not XML: {error}") from error
    if _local(root) == "Acknowledgement_MarketDocument":
        reason = next(_all(root, "Reason"), root)
        if _text(reason, "code") == NO_DATA:
            return None
        raise SignalError(f"refused with code {_text(reason, 'code')}: {_text(reason, 'text')}")
    return root


def _expanded(series: ET.Element, name: str) -> Iterator[tuple[Slot, float]]:
    """Every position of every period of a series, repeated ones filled in."""
    repeats = _text(series, "curveType") == "A03"
    for period in _all(series, "Period"):
        interval = next(_all(period, "timeInterval"))
        start, end = utc(_text(interval, "start") or ""), utc(_text(interval, "end") or "")
        step = _duration(_text(period, "resolution") or "")
        given = {
            int(_text(point, "position") or 0): float(_text(point, name) or "nan") for point in _all(period, "Point")
        }
        value: float | None = None
        for position in range(1, round((end - start) / step) + 1):
            value = given.get(position, value if repeats else None)
            if value is not None and value == value:  # noqa: PLR0124 - NaN is not itself
                yield (start + (position - 1) * step, start + position * step), value


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"PT(\d+)M", text)
    if match is None:
        raise SignalError(f'the resolution "{text}" is unknown (known: PT15M, PT30M, PT60M)')
    return timedelta(minutes=int(match[1]))


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in element.iter() if _local(child) == name)


def _text(element: ET.Element, name: str) -> str | None:
    found = next(_all(element, name), None)
    return None if found is None or found.text is None else found.text.strip()


FEED = Feed(requests, parse, past=Past(timedelta(days=30), lag=timedelta(hours=2), auction=("Europe/Berlin", 14)))
