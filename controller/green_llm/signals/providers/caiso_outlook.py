"""CAISO Today's Outlook: carbon intensity of California's generation, every five minutes, without a key.

https://www.caiso.com/todays-outlook. Pacific wall clock without a date: the file's day is that of its first request.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from green_llm.errors import SignalError
from green_llm.signals.factors import STORAGE, of_mix
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, number

PACIFIC = ZoneInfo("America/Los_Angeles")
STEP = timedelta(minutes=5)
Mix = tuple[datetime, datetime, dict[str, float]]
"""(start, end, MW by fuel)."""
FUELS = {
    "Solar": "solar", "Wind": "wind", "Geothermal": "geothermal", "Biomass": "biomass", "Biogas": "biomass",
    "Small hydro": "hydro", "Coal": "coal", "Nuclear": "nuclear", "Natural gas": "gas", "Large hydro": "hydro",
    "Batteries": STORAGE, "Imports": STORAGE, "Other": "other",
}  # fmt: skip
"""Imports are left out like storage: the intensity is that of what is made in the zone."""


def requests(ask: Ask) -> list[Request]:
    """Yesterday's file, whose date is in its address, and today's; a changing parameter keeps caches away."""
    fresh = {"_": str(int(ask.now.timestamp()))}
    yesterday = ask.now.astimezone(PACIFIC) - timedelta(days=1)
    return [
        Request(f"/history/{yesterday:%Y%m%d}/fuelsource.csv", fresh, no_data=frozenset({404})),
        Request("/current/fuelsource.csv", fresh),
    ]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """What the generation makes; rows in the future belong to the day before (the file is late after midnight)."""
    today = ask.now.astimezone(PACIFIC).date()
    found: list[Mix] = []
    for days_ago, body in ((1, bodies[0]), (0, bodies[1])):
        day = today - timedelta(days=days_ago)
        rows = _rows(body)
        last = max((row["Time"] for row in rows if any(row.get(name) for name in FUELS)), default=None)
        if days_ago == 0 and last is not None and _moment(day, last) > ask.now + STEP:
            continue  # still yesterday's
        found += _mixes(day, rows)
    return of_mix(ask, found)


def past_requests(ask: Ask) -> list[Request]:
    """The file of each local day in the interval."""
    return [Request(f"/history/{day:%Y%m%d}/fuelsource.csv", no_data=frozenset({404})) for day in _days(ask)]


def past_parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """What the generation of each day made."""
    found = [mix for day, body in zip(_days(ask), bodies, strict=True) for mix in _mixes(day, _rows(body))]
    return of_mix(ask, [mix for mix in found if ask.start <= mix[0] < ask.end])


def _days(ask: Ask) -> list[date]:
    first, last = (moment.astimezone(PACIFIC).date() for moment in (ask.start, ask.end))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _rows(body: bytes) -> list[dict[str, str]]:
    """The rows of a file; none of one that is not there.

    Raises:
        SignalError: it has other columns.
    """
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig", "replace"))))
    if body and (not rows or "Time" not in rows[0] or "Natural gas" not in rows[0]):
        raise SignalError("the file has no columns Time and Natural gas; its layout has changed")
    return rows


def _mixes(day: date, rows: list[dict[str, str]]) -> Iterator[Mix]:
    """Generation by fuel of every five minutes of a local day."""
    seen: set[str] = set()
    for row in rows:
        values = {name: number(row.get(name)) for name in FUELS if name in row}
        if all(value is None for value in values.values()):
            continue
        mix: dict[str, float] = {}
        for name, value in values.items():
            mix[FUELS[name]] = mix.get(FUELS[name], 0.0) + max(0.0, value or 0.0)
        start = _moment(day, row["Time"], again=row["Time"] in seen)
        seen.add(row["Time"])
        yield start, start + STEP, mix


def _moment(day: date, clock: str, *, again: bool = False) -> datetime:
    """A local time; ``again`` where the clock shows it for the second time, as daylight saving ends."""
    try:
        local = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=PACIFIC, fold=int(again))
        return local.astimezone(UTC)
    except ValueError as error:
        raise SignalError(f'the time "{clock}" is no HH:MM') from error


FEED = Feed(requests, parse, past=Past(timedelta(days=7), past_requests, past_parse))
