"""Slots: the grid of time on which everything is planned. All times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Slots:
    """``count`` consecutive slots of ``slot_seconds``, the first one starting at ``start`` (UTC)."""

    start: datetime
    slot_seconds: int
    count: int

    @property
    def slot_hours(self) -> float:
        """Length of one slot, h."""
        return self.slot_seconds / 3600.0

    @property
    def end(self) -> datetime:
        """End of the last slot."""
        return self.slot_start(self.count)

    def slot_start(self, index: int) -> datetime:
        """Start of slot ``index``; ``count`` gives the end of the last one."""
        return self.start + timedelta(seconds=self.slot_seconds * index)

    def __iter__(self) -> Iterator[tuple[datetime, datetime]]:
        """Start and end of each slot in order."""
        return ((self.slot_start(t), self.slot_start(t + 1)) for t in range(self.count))


def floor_to_slot(moment: datetime, slot_seconds: int) -> datetime:
    """The start of the slot that contains ``moment``: slots are UTC multiples of their length."""
    return datetime.fromtimestamp(int(moment.timestamp()) // slot_seconds * slot_seconds, UTC)


def slots_from(now: datetime, slot_seconds: int, count: int) -> Slots:
    """The horizon whose slot 0 contains ``now``."""
    return Slots(floor_to_slot(now, slot_seconds), slot_seconds, count)


def slots_covering(start: datetime, end: datetime, slot_seconds: int) -> Slots:
    """The slots that touch ``[start, end)``; none where the interval is empty."""
    first = floor_to_slot(start, slot_seconds)
    length = (end - first).total_seconds()
    count = -int(-length // slot_seconds) if end > start else 0
    return Slots(first, slot_seconds, count)


def hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """``[start, end)`` cut at full hours; nothing where it is empty."""
    while start < end:
        stop = min(end, floor_to_slot(start, 3600) + timedelta(hours=1))
        yield start, stop
        start = stop
