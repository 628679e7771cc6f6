"""Green Software Foundation Carbon Aware SDK, WebApi 1.7: the forecast of a self-hosted service. g CO2 per kWh.

https://github.com/Green-Software-Foundation/carbon-aware-sdk. What it counts depends on what it is fed from: declare it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from green_llm.domain.series import Point, Quality
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Request, json_of, list_of, number, ordered, utc


def requests(ask: Ask) -> list[Request]:
    """The current forecast of a location."""
    return [Request("/emissions/forecasts/current", {"location": ask.params["location"]})]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Points in g/kWh; a negative intensity stands for one that is missing."""
    documents = json_of(bodies[0])
    if not isinstance(documents, list) or not documents:
        raise SignalError(f'there is no forecast for the location "{ask.params["location"]}"')
    document = documents[0]
    issued = utc(document["generatedAt"])
    rows = list_of(document, "forecastData")
    starts = sorted(utc(row["timestamp"]) for row in rows)
    # ``duration`` is that of the window asked for, not of a point: points end where the next begins.
    step = min((b - a for a, b in pairwise(starts) if b > a), default=timedelta(minutes=5))
    points = [
        Point(start := utc(row["timestamp"]), start + step, value, Quality.FORECAST, issued)
        for row in rows
        if (value := number(row.get("value"))) is not None and value >= 0
    ]
    return Found("g/kWh", ordered(points))


FEED = Feed(requests, parse)
