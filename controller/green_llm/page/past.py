"""The document behind the view "History": what the last days came to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from green_llm.domain.amounts import Amounts, total
from green_llm.domain.request import Policy
from green_llm.page.history import SIDES, Kept
from green_llm.page.sums import QUANTITIES, Sum, has_amounts, sums, unit_in

MOST_POINTS = 400
"""More intervals are shown as means over equal times."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A quantity over time, a value per point."""

    name: str
    unit: str
    in_force: tuple[float, ...]
    nearest: tuple[float, ...]
    """Both empty where only the difference means something."""
    difference: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Past:
    """The last days of one policy."""

    policy: str
    hours: float
    currency: str
    at: tuple[datetime, ...]
    """Starts of the points."""
    intervals: int
    """How many they are made of."""
    without_plan: int
    """Intervals whose plan was absent, late, or broke a limit."""
    sums: tuple[Sum, ...]
    lines: tuple[Line, ...]
    shares: dict[str, tuple[float, ...]]
    """Share of the queries by site, a value per point."""
    trouble: str | None
    """Why it is not kept as it should be."""


def past(policy: Policy, kept: Sequence[Kept], hours: float, trouble: str | None) -> Past:
    """The document."""
    points = _points(kept)
    sites = sorted({site for entry in kept for site in entry.queries})
    return Past(
        policy=policy.name,
        hours=hours,
        currency=policy.currency,
        at=tuple(group[0].at for group in points),
        intervals=len(kept),
        without_plan=sum(not entry.planned for entry in kept),
        sums=tuple(_elapsed(policy, kept)),
        lines=tuple(_lines(policy, points)),
        shares={site: tuple(_share(group, site) for group in points) for site in sites},
        trouble=trouble,
    )


def _points(kept: Sequence[Kept]) -> list[list[Kept]]:
    """Intervals in groups of equal time, no more than can be shown; times without intervals have none."""
    if len(kept) <= MOST_POINTS:
        return [[entry] for entry in kept]
    first, span = kept[0].at, (kept[-1].at - kept[0].at).total_seconds()
    groups: dict[int, list[Kept]] = {}
    for entry in kept:
        place = int((entry.at - first).total_seconds() / span * (MOST_POINTS - 1))
        groups.setdefault(place, []).append(entry)
    return list(groups.values())


def _lines(policy: Policy, points: Sequence[Sequence[Kept]]) -> Iterable[Line]:
    rates = [(name, f"{unit}/h", read) for name, unit, read in QUANTITIES]
    for name, unit, read in (*rates, ("delay", "ms", lambda a: a.mean_delay_s * 1e3)):
        ours = tuple(_mean(read(entry.rates["in_force"]) for entry in group) for group in points)
        theirs = tuple(_mean(read(entry.rates["nearest"]) for entry in group) for group in points)
        amounts = has_amounts(name, policy)
        yield Line(
            name=name,
            unit=unit_in(unit, policy, amounts=amounts),
            in_force=ours if amounts else (),
            nearest=theirs if amounts else (),
            difference=tuple(a - b for a, b in zip(ours, theirs, strict=True)),
        )


def _elapsed(policy: Policy, kept: Sequence[Kept]) -> Iterable[Sum]:
    """Differences of the ledger's totals."""
    in_force, nearest, static = (total(_step(side, *pair) for pair in pairwise(kept)) for side in SIDES)
    return sums(policy, in_force, nearest, static)


def _step(side: str, before: Kept, after: Kept) -> Amounts:
    """What was charged between two intervals; a ledger that was begun anew counts from 0."""
    if after.totals["in_force"].queries < before.totals["in_force"].queries:
        return after.totals[side]
    return after.totals[side] + before.totals[side].scaled(-1.0)


def _share(group: Sequence[Kept], site: str) -> float:
    everything = sum(sum(entry.queries.values()) for entry in group)
    return sum(entry.queries.get(site, 0.0) for entry in group) / everything if everything else 0.0


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
