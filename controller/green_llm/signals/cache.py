"""What one live question has brought so far."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from green_llm.domain.series import Point, Quality
from green_llm.signals.http import FetchError

FORESEEN, COMPARED_OVER = timedelta(hours=12), timedelta(days=2)
AGAIN = timedelta(hours=1)


@dataclass
class Cache:
    """What one question has brought."""

    unit: str = ""
    points: dict[datetime, Point] = field(default_factory=dict)
    asked_until: datetime | None = None
    error: FetchError | None = None
    first: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has been answered or has failed."""
    used: float = 0.0
    secret: str = field(default="", repr=False)
    """The key last used, to notice a new one."""
    task: asyncio.Task[None] | None = None
    foreseen: dict[datetime, Point] = field(default_factory=dict)
    """The first forecast seen of an interval, at least half a day ahead of it."""
    compared: dict[datetime, tuple[float, float]] = field(default_factory=dict)
    """Of an interval that is over: |forecast − actual| and |actual|."""

    def compare(self, points: Iterable[Point], now: datetime) -> None:
        """Take forecasts to be compared later, and compare what has become of earlier ones."""
        for point in points:
            if point.quality is Quality.FORECAST and point.start - now >= FORESEEN:
                self.foreseen.setdefault(point.start, point)
            elif point.end <= now and point.quality in (Quality.MEASURED, Quality.ESTIMATED):
                earlier = self.foreseen.get(point.start)
                if earlier is not None and earlier.end == point.end:
                    self.compared[point.start] = (abs(earlier.value - point.value), abs(point.value))
        oldest = now - COMPARED_OVER
        self.foreseen = {start: point for start, point in self.foreseen.items() if start > oldest}
        self.compared = {start: errors for start, errors in self.compared.items() if start > oldest}


def is_news(before: Point | None, point: Point) -> bool:
    """Whether a value says something that the one before did not: recordings would else grow with every round."""
    if before is None or (before.value, before.end, before.quality) != (point.value, point.end, point.quality):
        return True
    if before.issued_at is None or point.issued_at is None:
        return before.issued_at is not point.issued_at
    return point.issued_at - before.issued_at >= AGAIN


def is_revised(before: Point | None, point: Point) -> bool:
    """Whether a measured value replaces another one of the same time."""
    actual = (Quality.MEASURED, Quality.ESTIMATED)
    return before is not None and before.quality in actual and point.quality in actual and before.value != point.value


def apart(points: list[Point]) -> list[Point]:
    """Points by start without overlap: answers of different times may cut the day differently; then the newest count."""
    if all(before.end <= after.start for before, after in pairwise(points)):
        return points
    taken: list[Point] = []
    for point in sorted(
        points, key=lambda p: (p.quality is not Quality.MEASURED, -(p.issued_at or p.start).timestamp())
    ):
        if all(point.end <= other.start or point.start >= other.end for other in taken):
            taken.append(point)
    return sorted(taken, key=lambda p: p.start)
