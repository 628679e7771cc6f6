"""CAISO OASIS: day-ahead locational marginal prices of a node, hourly.

https://oasis.caiso.com, interface specification 5.1.8. A ZIP with a CSV; errors come with status 200 as a ZIP with an XML.
Rows are in no order and hold the price's components too.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from datetime import timedelta

from green_llm.domain.series import Point, Quality
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, number, ordered, utc

LARGEST_BYTES = 20_000_000
NO_DATA = "1000"
PRICE_COLUMNS = ("MW", "VALUE", "PRC")


def requests(ask: Ask) -> list[Request]:
    """The day-ahead market over the interval."""
    query = {
        "queryname": "PRC_LMP", "market_run_id": "DAM", "version": "12", "resultformat": "6", "node": ask.params["node"],
        "startdatetime": f"{ask.start:%Y%m%dT%H:00}-0000", "enddatetime": f"{ask.end:%Y%m%dT%H:00}-0000",
    }  # fmt: skip
    return [Request("/SingleZip", query)]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Prices in USD/MWh, which do not age."""
    text = _member(bodies[0])
    if text.lstrip().startswith("<"):
        code, words = _tag(text, "ERR_CODE"), _tag(text, "ERR_DESC")
        if code == NO_DATA:
            return Found("USD/MWh", ())
        raise SignalError(f"refused with code {code}: {words}")
    points = []
    for row in csv.DictReader(io.StringIO(text)):
        if row.get("LMP_TYPE") != "LMP" or row.get("NODE") not in (None, ask.params["node"]):
            continue
        value = next((number(row[name]) for name in PRICE_COLUMNS if row.get(name)), None)
        if value is not None:
            start, end = utc(row["INTERVALSTARTTIME_GMT"]), utc(row["INTERVALENDTIME_GMT"])
            points.append(Point(start, end, value, Quality.MEASURED))
    return Found("USD/MWh", ordered(points))


def _member(body: bytes) -> str:
    """The one file in the archive.

    Raises:
        SignalError: it is no archive, or one that would unpack to too much.
    """
    if not zipfile.is_zipfile(io.BytesIO(body)):
        raise SignalError(f"the answer is no ZIP ({body[:60]!r}…)")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        first = archive.infolist()[0]
        if first.file_size > LARGEST_BYTES:
            raise SignalError(f"{first.filename} would unpack to {first.file_size} bytes; ask for one node")
        return archive.read(first).decode("utf-8-sig", "replace")


def _tag(text: str, name: str) -> str:
    match = re.search(rf"<(?:\w+:)?{name}>([^<]*)<", text)
    return match[1] if match else "?"


FEED = Feed(requests, parse, past=Past(timedelta(days=30), auction=("America/Los_Angeles", 14), pause_seconds=5.0))
