"""UK Carbon Intensity (NESO): half hours of Great Britain or one of 17 regions, with a forecast of 48 h. CC BY 4.0.

https://carbon-intensity.github.io/api-definitions. Operational CO2 only (direct), imports included; regions have no actuals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from green_llm.domain.series import Point, Quality
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered, utc


def requests(ask: Ask) -> list[Request]:
    """The past day and the next two, from the present half hour."""
    now = f"{ask.now:%Y-%m-%dT%H:%MZ}"
    region = ask.params.get("region")
    tail = f"/regionid/{region}" if region else ""
    head = "/regional/intensity" if region else "/intensity"
    accept = {"Accept": "application/json"}
    return [Request(f"{head}/{now}/{span}{tail}", headers=accept) for span in ("pt24h", "fw48h")]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Points in g/kWh: the actual value where there is one, else the forecast as of now."""
    found: list[Point] = []
    for body in bodies:
        for row in _rows(json_of(body)):
            start, end = utc(row["from"]), utc(row["to"])
            intensity = row.get("intensity") or {}
            actual, forecast = number(intensity.get("actual")), number(intensity.get("forecast"))
            if actual is not None and end <= ask.now:
                found.append(Point(start, end, actual, Quality.MEASURED, end))
            elif forecast is not None:
                # No issue time is given; it is made anew every half hour.
                found.append(Point(start, end, forecast, Quality.FORECAST, ask.now))
    return Found("g/kWh", ordered(found))


def _rows(document: Any) -> list[Any]:
    """The half hours: ``data`` is a list, or for a region a mapping (or a list of one) that holds another ``data``."""
    data = document.get("data") if isinstance(document, Mapping) else None
    if isinstance(data, Mapping):
        return list_of(data, "data")
    rows = list_of(document, "data")
    return list_of(rows[0], "data") if rows and isinstance(rows[0], Mapping) and "data" in rows[0] else rows


def past_requests(ask: Ask) -> list[Request]:
    """The interval; of a region what was foreseen last stands for what was."""
    span = f"{ask.start:%Y-%m-%dT%H:%MZ}/{ask.end:%Y-%m-%dT%H:%MZ}"
    region = ask.params.get("region")
    path = f"/regional/intensity/{span}/regionid/{region}" if region else f"/intensity/{span}"
    return [Request(path, headers={"Accept": "application/json"})]


def past_parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Measured values; the forecasts of the past come without the time of their issue and are left out."""
    found: list[Point] = []
    for row in _rows(json_of(bodies[0])):
        start, end = utc(row["from"]), utc(row["to"])
        intensity = row.get("intensity") or {}
        actual = number(intensity.get("actual"))
        last = number(intensity.get("forecast")) if "region" in ask.params else None
        if actual is not None:
            found.append(Point(start, end, actual, Quality.MEASURED, end))
        elif last is not None:
            found.append(Point(start, end, last, Quality.ESTIMATED, end))
    return Found("g/kWh", ordered(found))


FEED = Feed(requests, parse, past=Past(timedelta(days=14), past_requests, past_parse, lag=timedelta(minutes=30)))
