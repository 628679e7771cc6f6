"""Persistence: the same local hour of yesterday or last week."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
        zone = ZoneInfo(query.time_zone)
        moments = _steps(query.start, query.end)
        sources = [_days_before(moment, self._days, zone) for moment in moments[:-1]]
        past = await self._history(replace(query, start=min(sources), end=max(sources) + STEP))
        points: list[Point] = []
        for (start, end), source in zip(pairwise(moments), sources, strict=True):
            origin = next((point for point in past if point.start <= source < point.end), None)
            if origin is None:
                continue
            point = Point(start, end, origin.value, Quality.PERSISTENCE, origin.issued_at)
            if (
                points
                and points[-1].end == start
                and replace(point, start=points[-1].start) == replace(points[-1], end=end)
            ):
                point = replace(point, start=points.pop().start)
            points.append(point)
        return Series(query.kind, self._name, query.unit, tuple(points))


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
