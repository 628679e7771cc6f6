"""Electricity Maps v4: average carbon intensity (flow-traced consumption) and day-ahead prices.

https://app.electricitymaps.com/developer-hub/api/reference. Times are the interval's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from green_llm.domain.series import Point, Quality, SignalKind
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered, utc

HOUR = timedelta(hours=1)
STEPS = {"5_minutes": timedelta(minutes=5), "15_minutes": timedelta(minutes=15), "hourly": HOUR}


def requests(ask: Ask) -> list[Request]:
    """History and forecast of the zone; without a zone the service would answer for the caller's own place."""
    query = {"zone": ask.params["zone"], "disableCallerLookup": "true"}
    headers = {"auth-token": ask.secret}
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        return [Request("/price-day-ahead/combined", query, headers)]
    query["emissionFactorType"] = ask.factors.lower()
    return [
        Request("/carbon-intensity/history", query, headers),
        # A key without the forecast gets a 403 here: history and the latest value still serve.
        Request("/carbon-intensity/forecast", query | {"horizonHours": "48"}, headers, no_data=frozenset({403, 404})),
    ]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Points in g/kWh, or prices in the currency that the answer names."""
    documents = [json_of(body) for body in bodies if body]
    for document in documents:
        zone = document.get("zone") if isinstance(document, dict) else None
        if zone is not None and zone != ask.params["zone"]:
            raise SignalError(f'answered for the zone "{zone}", not "{ask.params["zone"]}"; check the zone and the key')
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        rows = list_of(documents[0], "data")
        units = sorted({str(row.get("unit")) for row in rows if row.get("unit")})
        if len(units) > 1:
            raise SignalError(f"prices come in several units ({', '.join(units)})")
        points = [_point(row, "value", HOUR, Quality.MEASURED, None) for row in rows]
        return Found(units[0] if units else "EUR/MWh", ordered([point for point in points if point]))
    found: list[Point] = []
    for document in documents:
        step = STEPS.get(str(document.get("temporalGranularity", "hourly")), HOUR)
        factors = document.get("emissionFactorType")
        if factors is not None and factors != ask.factors.lower():
            raise SignalError(f"answered with {factors} factors, not {ask.factors.lower()}")
        issued = utc(document["updatedAt"]) if "forecast" in document and "updatedAt" in document else None
        for row in list_of(document, "forecast", "history", "data"):
            quality = Quality.FORECAST if issued else Quality.ESTIMATED if row.get("isEstimated") else Quality.MEASURED
            point = _point(row, "carbonIntensity", step, quality, issued)
            if point is not None and not (issued and any(p.start == point.start for p in found)):
                found.append(point)
    return Found("g/kWh", ordered(found))


def _point(row: Any, name: str, step: timedelta, quality: Quality, issued: datetime | None) -> Point | None:
    value = number(row.get(name))
    if value is None:
        return None
    start = utc(row["datetime"])
    price = name == "value"
    return Point(start, start + step, value, quality, None if price else issued or start + step)


def past_requests(ask: Ask) -> list[Request]:
    """The interval, at most ten days of hours."""
    query = {
        "zone": ask.params["zone"], "disableCallerLookup": "true", "start": f"{ask.start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{ask.end:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
    headers = {"auth-token": ask.secret}
    if ask.kind is SignalKind.ELECTRICITY_PRICE:
        return [Request("/price-day-ahead/past-range", query, headers)]
    return [Request("/carbon-intensity/past-range", query | {"emissionFactorType": ask.factors.lower()}, headers)]


FEED = Feed(requests, parse, past=Past(timedelta(days=10), past_requests, lag=timedelta(hours=2)))
