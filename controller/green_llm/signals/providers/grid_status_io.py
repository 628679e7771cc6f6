"""GridStatus.io: prices of the US ISOs through one API with a key.

https://docs.gridstatus.io. Always one location: without a filter a single call would use up a month's quota.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from green_llm.domain.series import Point, Quality
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered, utc

PRICES = ("lmp", "spp", "price")


def requests(ask: Ask) -> list[Request]:
    """The interval of one location of a data set."""
    query = {
        "start_time": f"{ask.start:%Y-%m-%dT%H:%M:%SZ}", "end_time": f"{ask.end:%Y-%m-%dT%H:%M:%SZ}",
        "filter_column": "location", "filter_value": ask.params["location"], "json_schema": "array-of-arrays",
        "page_size": "2000", "timezone": "UTC",
    }  # fmt: skip
    return [Request(f"/datasets/{ask.params['dataset']}/query", query, {"x-api-key": ask.secret})]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Prices in USD/MWh; of a day-ahead data set they do not age."""
    header, *rows = list_of(json_of(bodies[0]), "data") or [[]]
    if not rows:
        return Found("USD/MWh", ())
    price = next((name for name in PRICES if name in header), None)
    if price is None or "interval_start_utc" not in header:
        raise SignalError(
            f"the data set has no interval_start_utc and price (its columns: {', '.join(map(str, header))})"
        )
    day_ahead = "day_ahead" in ask.params["dataset"]
    points = []
    for row in rows:
        entry = dict(zip(header, row, strict=True))
        value = number(entry[price])
        if value is not None and entry.get("location") in (None, ask.params["location"]):
            start, end = utc(entry["interval_start_utc"]), utc(entry["interval_end_utc"])
            points.append(Point(start, end, value, Quality.MEASURED, None if day_ahead else end))
    return Found("USD/MWh", ordered(points))


FEED = Feed(requests, parse, past=Past(timedelta(days=14)))
