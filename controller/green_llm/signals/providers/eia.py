"""U.S. EIA v2: carbon intensity of the hourly generation of a balancing authority. Late by hours: history more than now.

https://www.eia.gov/opendata/documentation.php. ``period`` is the END of the hour, UTC; numbers come as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from green_llm.errors import SignalError
from green_llm.signals.factors import STORAGE, of_mix
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number

HOUR = timedelta(hours=1)
FUELS = {
    "COL": "coal", "NG": "gas", "OIL": "oil", "NUC": "nuclear", "WAT": "hydro", "SUN": "solar", "SNB": "solar",
    "WND": "wind", "WNB": "wind", "GEO": "geothermal", "PS": STORAGE, "BAT": STORAGE, "UES": STORAGE, "OES": STORAGE,
}  # fmt: skip
"""Codes that are new count as other."""


def requests(ask: Ask) -> list[Request]:
    """The interval's hours, all fuels, newest first."""
    query = {
        "frequency": "hourly", "data[0]": "value", "facets[respondent][]": ask.params["respondent"],
        "start": f"{ask.start:%Y-%m-%dT%H}", "end": f"{ask.now:%Y-%m-%dT%H}", "sort[0][column]": "period",
        "sort[0][direction]": "desc", "length": "5000",
    }  # fmt: skip
    return [Request("/electricity/rto/fuel-type-data/data/", query, private={"api_key": ask.secret})]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Points in g/kWh, an hour each."""
    document = json_of(bodies[0])
    if not isinstance(document, dict) or "response" not in document:
        raise SignalError(f"the answer holds no response: {str(document)[:120]}")
    mixes: dict[datetime, dict[str, float]] = {}
    for row in list_of(document["response"], "data"):
        value = number(row.get("value"))
        if value is None or row.get("respondent") not in (None, ask.params["respondent"]):
            continue
        end = datetime.strptime(str(row["period"]), "%Y-%m-%dT%H").replace(tzinfo=UTC)
        mix, fuel = mixes.setdefault(end, {}), FUELS.get(str(row.get("fueltype")), "other")
        mix[fuel] = mix.get(fuel, 0.0) + max(0.0, value)
    return of_mix(ask, [(end - HOUR, end, mix) for end, mix in sorted(mixes.items())])


FEED = Feed(requests, parse, past=Past(timedelta(days=20), lag=timedelta(days=1)))
