"""Persistence: the same local hour of yesterday or last week."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from green_llm.domain.request import PersistenceSettings
from green_llm.domain.series import Point, Quality, Series, SignalQuery

STEP = timedelta(minutes=15)
History = Callable[[SignalQuery], Awaitable[tuple[Point, ...]]]
"""What the sources before this one in the chain know of the query's interval."""


class PersistenceProvider:
    """Repeats what was ``days`` ago at the same wall-clock time."""

    def __init__(self, name: str, settings: PersistenceSettings, history: History) -> None:
        self._name, self._days, self._history = name, settings.days, history

    async def fetch(self, query: SignalQuery) -> Series:
        """Points of quality PERSISTENCE, with the issue times of what they repeat."""
        moments, sources = _repeated(query.start, query.end, self._days, query.time_zone)
        past = await self._history(replace(query, start=min(sources), end=max(sources) + STEP))
        starts = [point.start for point in past]
        points: list[Point] = []
        for (start, end), source in zip(pairwise(moments), sources, strict=True):
            place = bisect_right(starts, source) - 1
            if place < 0 or source >= past[place].end:
                continue
            origin = past[place]
            last = points[-1] if points else None
            goes_on = last is not None and last.end == start
            if last is not None and goes_on and (last.value, last.issued_at) == (origin.value, origin.issued_at):
                start = points.pop().start  # noqa: PLW2901 - one point for what repeats one value
            points.append(Point(start, end, origin.value, Quality.PERSISTENCE, origin.issued_at))
        return Series(query.kind, self._name, query.unit, tuple(points))


@lru_cache(maxsize=64)
def _repeated(
    start: datetime, end: datetime, days: int, time_zone: str
) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """The bounds of the steps, and the moment that each repeats: the same for every site of a zone."""
    moments = _steps(start, end)
    return tuple(moments), tuple(_days_before(moment, days, ZoneInfo(time_zone)) for moment in moments[:-1])


def _steps(start: datetime, end: datetime) -> list[datetime]:
    """The bounds of quarter hours between start and end."""
    moments = [start]
    moment = start + timedelta(seconds=STEP.total_seconds() - start.timestamp() % STEP.total_seconds())
    while moment < end:
        moments.append(moment)
        moment += STEP
    return [*moments, end]


def _days_before(moment: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same wall-clock time some days before; of a repeated hour the same pass, of a skipped one the hour after."""
    local = moment.astimezone(zone)
    return (local - timedelta(days=days)).astimezone(UTC)
