"""Octopus Agile: half-hourly retail prices in Great Britain, without VAT.

https://developer.octopus.energy. A retail tariff with distribution in it: use it with basis Retail. p/kWh × 10 = GBP/MWh.
Newest first; the last may have no end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from green_llm.domain.series import Point, Quality
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered, utc

PENCE_PER_KWH_IN_GBP_PER_MWH = 10.0
OPEN_ENDED = timedelta(minutes=30)


def requests(ask: Ask) -> list[Request]:
    """The interval in one page: 1,500 half hours are a month."""
    product = ask.params["product"]
    tariff = f"E-1R-{product}-{ask.params['region']}"
    query = {
        "period_from": f"{ask.start:%Y-%m-%dT%H:%MZ}", "period_to": f"{ask.end:%Y-%m-%dT%H:%MZ}", "page_size": "1500",
    }  # fmt: skip
    return [Request(f"/products/{product}/electricity-tariffs/{tariff}/standard-unit-rates/", query)]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Prices in GBP/MWh, which do not age."""
    del ask
    points = []
    for row in list_of(json_of(bodies[0]), "results"):
        value = number(row.get("value_exc_vat"))
        if value is not None:
            start = utc(row["valid_from"])
            end = utc(row["valid_to"]) if row.get("valid_to") else start + OPEN_ENDED
            points.append(Point(start, end, value * PENCE_PER_KWH_IN_GBP_PER_MWH, Quality.MEASURED))
    return Found("GBP/MWh", ordered(points))


FEED = Feed(requests, parse, past=Past(timedelta(days=30), auction=("Europe/London", 20)))
