"""Broken limits as people say them: times instead of slots, units as they are declared. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from green_llm.domain.plan import Diagnosis, LimitKind
from green_llm.services.outcome import Outcome

MOST_DECIMALS = 8
AS_BAD = 0.999
"""Of the worst: the first slot that is as bad is named, so that a sentence does not change for nothing."""


def number(value: float | None, digits: int = 3) -> str:
    """A number with its separators and ``digits`` significant digits: 12,345, 1.23, 0.000123."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    rounded = f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(rounded.partition("e")[2]))
    text = f"{value:,.{decimals}f}" if decimals <= MOST_DECIMALS else rounded
    return text.replace("-", "−")


def shortfalls(outcome: Outcome, found: Sequence[Diagnosis]) -> Iterable[str]:
    """Broken limits, one sentence each over its slots, with the worst one's numbers."""
    groups: dict[tuple[object, ...], list[Diagnosis]] = {}
    for entry in found:
        where = entry.where
        key = (entry.kind, where.site, where.area, where.query_class, where.resource)
        groups.setdefault(key, []).append(entry)
    return (_shortfall(outcome, entries) for entries in groups.values())


def _shortfall(outcome: Outcome, entries: Sequence[Diagnosis]) -> str:
    most = max(entry.shortfall for entry in entries)
    worst = next(entry for entry in entries if entry.shortfall >= AS_BAD * most)
    where, slot = worst.where, worst.where.slot
    if slot is None or worst.kind not in (LimitKind.CAPACITY, LimitKind.GRID_LIMIT, LimitKind.DELAY_LIMIT):
        return worst.message
    time = f"{outcome.slots.slot_start(slot):%d %b %H:%M} UTC"
    when = f"in the slot of {time}"
    if len(entries) > 1:
        when = f"in {len(entries)} of {outcome.slots.count} slots, the worst that of {time}"
    if worst.kind is LimitKind.DELAY_LIMIT:
        of = f"{number(worst.required * 1e3)} ms instead of {number(worst.available * 1e3)}"
        return f"{where.query_class} from {where.area} is later than its limit {when}: {of}"
    if worst.kind is LimitKind.GRID_LIMIT:
        what, size, unit = f"the grid connection of {where.site}", 1.0, " kW"
    else:
        what, size, unit = f"{where.resource} at {where.site}", float(outcome.slots.slot_seconds), ""
    needed, there = number(worst.required / size), number(worst.available / size)
    return f"{what} does not suffice {when}: {needed}{unit} needed, {there} usable"
