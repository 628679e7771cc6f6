"""The SLO guard: how much a site that broke its limits may carry, and for how long. Pure.

Loads are tokens per second of one hardware profile at one site. A site that breaks a limit is taken back to the load that
was last seen to be good; after a back-off, which doubles with every break, its cap is raised half-way towards the
load that broke, a settled window at a time, until the two have met. Nothing is raised or lowered for want of data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from green_llm.domain.series import Measure, Point

GuardKey = tuple[str, str]
"""(site, profile)."""
Loads = tuple[tuple[datetime, float], ...]
"""Loads, each with the moment from which on it was carried."""
REMEMBERED = 48
"""Loads at most: with more moves in two windows the oldest are forgotten."""
SAME = 0.02
"""Loads that differ by less are one."""
NARROW = 0.05
"""A good load that is so near to the one that broke is near enough; more than twice ``SAME``."""
OVER = 1.02
"""A load above its cap by more is to be taken off."""
OUTAGE_RATIO = 0.5
"""From this error ratio on, it is not the load that breaks the site."""
PROBE = 0.05
"""Share of the load at which it broke that a site without any good load is tried with."""
LONGEST = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class SloLimits:
    """What a site must keep for one profile; None: not guarded."""

    p95_delay_s: float | None
    error_ratio: float | None


class Verdict(StrEnum):
    """What measurements say of a site and profile."""

    KEPT = "Kept"
    BROKEN = "Broken"
    SETTLING = "Settling"
    """Its load has moved too recently to be judged, or what it does is still moving."""
    IDLE = "Idle"
    """It carries nothing: there is nothing to judge."""
    UNKNOWN = "Unknown"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, with what it rests on."""

    verdict: Verdict
    p95_delay_s: float | None = None
    error_ratio: float | None = None
    message: str = ""
    """What is broken, or what is not known."""
    note: str = ""
    """What is not guarded, and why."""


@dataclass(frozen=True, kw_only=True)
class SiteGuard:
    """What is known of one site and profile; kept in the ledger."""

    loads: Loads
    """What it has carried, oldest first: the present load and those that measurements may still speak of."""
    good: float | None = None
    """Load that was last seen to keep the limits; while capped, the highest such. No load keeps them always."""
    bad: float | None = None
    """Load that broke them, where it was the load."""
    scale: float = 0.0
    """Largest load at which it broke since it was last free."""
    cap: float | None = None
    """Most that it may carry; None: free."""
    until: datetime | None = None
    """The cap is not raised before."""
    holding: bool = False
    """Whether the cap has come as near to the load that breaks as it shall."""
    strikes: int = 0
    """How often it broke since it was last free for a day."""
    rollbacks: int = 0
    """How often its load was taken back, ever."""
    broke_at: datetime | None = None
    reason: str = ""
    """What broke, at which load."""

    @property
    def load(self) -> float:
        """The present one."""
        return self.loads[-1][1]

    def carried(self, since: datetime, until: datetime) -> tuple[float, float]:
        """The least and the most it carried in that time; what is not known of is left out."""
        ends = [moment for moment, _ in self.loads[1:]]
        found = [
            load
            for (begun, load), ended in zip(self.loads, [*ends, until], strict=True)
            if begun < until and ended > since
        ]
        return min(found, default=self.load), max(found, default=self.load)


Guards = Mapping[GuardKey, SiteGuard]


def observed(guard: SiteGuard | None, load: float, now: datetime, window_seconds: float) -> SiteGuard:
    """The guard with the load that the weights in force make; a site never seen before has had its load for long."""
    if guard is None:
        return SiteGuard(loads=((now - timedelta(seconds=window_seconds), load),))
    if abs(load - guard.load) <= SAME * max(load, guard.load):
        return guard
    young = now - timedelta(seconds=2 * window_seconds)
    kept = [entry for entry, (ended, _) in pairwise((*guard.loads, (now, load))) if young < ended]
    kept = [entry for entry in kept if entry[0] < now]
    good = 0.0 if guard.load <= 0.0 and guard.good is None else guard.good
    return replace(guard, loads=(*kept[1 - REMEMBERED :], (now, load)), good=good)


def judge(
    measured: Mapping[Measure, Sequence[Point] | str],
    limits: SloLimits,
    guard: SiteGuard,
    window_seconds: float,
    now: datetime,
) -> Judgement:
    """Compare what was measured over the last half window with the limits; the queries' own windows must be as short.

    Args:
        measured: points by measure, or why there are none. A measure that is left out is not guarded.
        limits: those of the profile.
        guard: the site, as observed now.
        window_seconds: time in which a load must prove itself, s.
        now: the time of this judgement.
    """
    if guard.load <= 0.0:
        return Judgement(verdict=Verdict.IDLE)
    half = timedelta(seconds=window_seconds / 2)
    seen, unknown = dict[Measure, list[Point]](), list[str]()
    for measure, points in sorted(measured.items()):
        if isinstance(points, str):
            unknown.append(points)
        elif recent := _recent(points, now, half):
            seen[measure] = recent
        else:
            unknown.append(f"{measure.value} has no value in the last {window_seconds / 2:g} s")
    of_load = {measure: _mean(fit) for measure, points in seen.items() if (fit := _of_load(points, guard, half))}
    newest = {measure: points[-1].value for measure, points in seen.items()}
    if _is_out(seen.get(Measure.ERROR_RATIO, []), guard, half):
        of_load[Measure.ERROR_RATIO] = newest[Measure.ERROR_RATIO]
    least, _ = guard.carried(now - 2 * half, now)
    lately = {measure: _mean(points) for measure, points in seen.items()} | of_load
    broken = list(_broken_limits(of_load, limits))
    if broken:
        verdict, message = Verdict.BROKEN, ", ".join(broken)
    elif (
        least < guard.load * (1.0 - SAME) or any(_broken_limits(newest, limits)) or any(_broken_limits(lately, limits))
    ):
        verdict, message = Verdict.SETTLING, ""
    elif unknown or not seen:
        verdict, message = Verdict.UNKNOWN, "; ".join(unknown) or "nothing is measured"
    else:
        verdict, message = Verdict.KEPT, ""
    return Judgement(
        verdict=verdict,
        p95_delay_s=(of_load if broken else lately).get(Measure.P95_DELAY),
        error_ratio=(of_load if broken else lately).get(Measure.ERROR_RATIO),
        message=message,
    )


def _recent(points: Sequence[Point], now: datetime, half: timedelta) -> list[Point]:
    """Those of the half window up to the newest; none where that one is older than half a window."""
    known = [point for point in points if point.end <= now]
    newest = max((point.end for point in known if point.end >= now - half), default=None)
    return [point for point in known if newest is not None and point.end > newest - half]


def _of_load(points: Sequence[Point], guard: SiteGuard, half: timedelta) -> list[Point]:
    """Values that count against the present load.

    A higher load is felt for a whole window: in queries under way, queues, the queries' own windows. A lower one makes a site
    look better than it is, for half a window: such values count only where there are no others: a load may never rest.
    """
    most = guard.load * (1.0 + SAME)
    fair = [point for point in points if guard.carried(point.end - 2 * half, point.end)[1] <= most]
    least = guard.load * (1.0 - SAME)
    alike = [point for point in fair if guard.carried(point.end - half, point.end)[0] >= least]
    return alike or fair


def _is_out(errors: Sequence[Point], guard: SiteGuard, half: timedelta) -> bool:
    """Whether so much fails that it is no matter of load: what a higher one broke is over after half a window."""
    if not errors or errors[-1].value < OUTAGE_RATIO:
        return False
    return guard.carried(errors[-1].end - half, errors[-1].end)[1] <= guard.load * (1.0 + SAME)


def _mean(points: Sequence[Point]) -> float:
    return sum(point.value for point in points) / len(points)


def _broken_limits(values: Mapping[Measure, float], limits: SloLimits) -> Iterator[str]:
    delay, errors = values.get(Measure.P95_DELAY), values.get(Measure.ERROR_RATIO)
    if delay is not None and limits.p95_delay_s is not None and delay > limits.p95_delay_s:
        yield f"p95 delay {delay:.3g} s, limit {limits.p95_delay_s:g} s"
    if errors is not None and limits.error_ratio is not None and errors > limits.error_ratio:
        yield f"errors {100 * errors:.3g} %, limit {100 * limits.error_ratio:g} %"


def step(guard: SiteGuard, judged: Judgement, backoff_seconds: float, now: datetime) -> SiteGuard:
    """What is known after a judgement.

    Args:
        guard: the site, as observed now.
        judged: what measurements say of it.
        backoff_seconds: how long the first cap is kept, s.
        now: the time of this judgement.
    """
    match judged.verdict:
        case Verdict.BROKEN:
            return _broken(guard, judged, backoff_seconds, now)
        case Verdict.KEPT:
            return _kept(guard, now)
        case Verdict.IDLE if guard.cap is not None:
            return _raised(guard, now)  # it is tried again with a little traffic
        case _:
            return guard


def _broken(guard: SiteGuard, judged: Judgement, backoff_seconds: float, now: datetime) -> SiteGuard:
    """Back to what was good, or half; and no more than what it answers."""
    answered = guard.load * (1.0 - (judged.error_ratio or 0.0))
    if guard.cap is not None and guard.load > guard.cap * OVER:
        # The last cap is not in force yet, or cannot be: no more is learnt from it than what comes back as errors.
        return replace(guard, cap=min(guard.cap, answered))
    good = guard.good if guard.good is not None and guard.good < guard.load * (1.0 - SAME) else None
    cap = min(guard.load / 2 if good is None else good, answered)
    outage = (judged.error_ratio or 0.0) >= OUTAGE_RATIO or guard.load <= 2 * PROBE * guard.scale
    strikes = guard.strikes + 1
    return replace(
        guard,
        good=None if good is None else min(good, cap),
        bad=guard.bad if outage else guard.load,
        scale=max(guard.scale, guard.load),
        cap=cap,
        until=now + _backoff(strikes, backoff_seconds),
        holding=False,
        strikes=strikes,
        rollbacks=guard.rollbacks + 1,
        broke_at=now,
        reason=f"{judged.message} at {guard.load:.4g} tokens/s",
    )


def _backoff(strikes: int, backoff_seconds: float) -> timedelta:
    return min(LONGEST, timedelta(seconds=backoff_seconds * 2.0 ** min(strikes - 1, 20)))


def _kept(guard: SiteGuard, now: datetime) -> SiteGuard:
    """The load is good: remembered, and the next step up where a cap may be raised."""
    if guard.cap is None:
        if guard.broke_at is not None and now - guard.broke_at > LONGEST:
            guard = replace(guard, strikes=0, broke_at=None, reason="")
        return replace(guard, good=guard.load)
    bad = None if guard.bad is not None and guard.load >= guard.bad else guard.bad
    return _raised(replace(guard, good=max(guard.good or 0.0, guard.load), bad=bad), now)


def _raised(guard: SiteGuard, now: datetime) -> SiteGuard:
    """Half-way towards the load that broke; where that is near, held there for a day, then lifted."""
    if guard.until is not None and now < guard.until:
        return guard
    good, high = guard.good or 0.0, guard.scale if guard.bad is None else guard.bad
    if high - good > NARROW * high:
        return replace(guard, cap=min((good + high) / 2, max(2 * good, PROBE * guard.scale)))
    if guard.bad is None or guard.strikes < 2 or guard.holding:
        return replace(guard, cap=None, until=None, bad=None, scale=0.0, holding=False)
    return replace(guard, cap=good, until=now + LONGEST, holding=True)
