"""From points to slots."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from green_llm.domain.series import Point, Quality, SignalKind, SignalRef, SlotValue
from green_llm.domain.time import Slots
from green_llm.signals.freshness import delivered

COVERED = 1e-6
"""A slot counts as covered when no more than this share of it is missing (rounded times)."""
_WORST_LAST = list(Quality)


def to_slots(
    points: Iterable[Point], source: str, slots: Slots, transform: Callable[[float], float] = lambda value: value
) -> list[SlotValue | None]:
    """The time-weighted mean of each slot; None where the points do not cover all of it.

    A slot made of several points has the worst quality and the oldest issue among them.
    """
    ordered = sorted(points, key=lambda point: point.start)
    starts, ends = [point.start for point in ordered], [point.end for point in ordered]
    return [
        # Points do not overlap: those that touch a slot are next to each other.
        _slot(ordered[bisect_right(ends, start) : bisect_left(starts, end)], source, start, end, transform)
        for start, end in slots
    ]


def _slot(
    points: list[Point], source: str, start: datetime, end: datetime, transform: Callable[[float], float]
) -> SlotValue | None:
    inside = [(point, (min(point.end, end) - max(point.start, start)).total_seconds()) for point in points]
    inside = [(point, seconds) for point, seconds in inside if seconds > 0]
    covered, length = sum(seconds for _, seconds in inside), (end - start).total_seconds()
    if covered < length * (1 - COVERED):
        return None
    mean = sum(point.value * seconds for point, seconds in inside) / covered
    issues = [point.issued_at for point, _ in inside if point.issued_at is not None]
    quality = max((point.quality for point, _ in inside), key=_WORST_LAST.index)
    others = [point.other_value * seconds for point, seconds in inside if point.other_value is not None]
    other = sum(others) / covered if len(others) == len(inside) else None
    return SlotValue(transform(mean), source, quality, min(issues, default=None), other)


class Resampler:
    """Slots of chains' entries, made anew only where the points, the slots or the entry have changed.

    Between two plans most sources say the same of the same slots.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[object, list[SlotValue | None]]] = {}

    def to_slots(
        self,
        asker: tuple[str, str, SignalKind, int],
        points: Sequence[Point],
        slots: Slots,
        reference: SignalRef,
        basis: str | None,
    ) -> list[SlotValue | None]:
        """Delivered values of one entry; ``asker`` is the policy, the site, the kind and the entry's place."""
        *_, kind, rank = asker
        given = (slots, reference, basis, list(points))
        known = self._known.get(asker)
        if known is None or known[0] != given:
            values = to_slots(points, reference.source, slots, delivered(kind, reference))
            ranked = [None if value is None else replace(value, rank=rank, basis=basis) for value in values]
            known = self._known[asker] = (given, ranked)
        return known[1]
