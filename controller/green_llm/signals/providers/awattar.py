"""aWATTar: hourly day-ahead prices of Germany (api.awattar.de) or Austria (api.awattar.at), without a key.

https://www.awattar.de/services/api. Times are unix milliseconds; net prices without taxes and fees.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from green_llm.domain.series import Point, Quality
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered


def requests(ask: Ask) -> list[Request]:
    """The interval."""
    span = {"start": str(round(ask.start.timestamp() * 1000)), "end": str(round(ask.end.timestamp() * 1000))}
    return [Request("/marketdata", span)]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Prices in EUR/MWh, which do not age."""
    del ask
    points = []
    for row in list_of(json_of(bodies[0]), "data"):
        if str(row.get("unit", "Eur/MWh")).lower() != "eur/mwh":
            raise SignalError(f'prices are in "{row["unit"]}", not in Eur/MWh')
        value = number(row.get("marketprice"))
        if value is not None:
            start, end = (
                datetime.fromtimestamp(row[name] / 1000, UTC) for name in ("start_timestamp", "end_timestamp")
            )
            points.append(Point(start, end, value, Quality.MEASURED))
    return Found("EUR/MWh", ordered(points))


FEED = Feed(requests, parse, past=Past(timedelta(days=30), auction=("Europe/Berlin", 14)))
