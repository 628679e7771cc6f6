"""Demand of the coming hours from its own history: seasonal-naive with a level. Pure.

An hour's forecast is the mean of the same hour of the week in past weeks, each week counting half of the one after it; with
less than two weeks of history the same hour of the day in past days. The whole is scaled by how the last day compared with
what the season would have said (at most threefold either way). Its error is measured by doing the same some days ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.domain.series import Point
from green_llm.errors import SignalError

HOUR = 3600
DAY, WEEK = 24, 168
FEWEST_HOURS = 1
FEWEST_VALUES = 4
"""While there is no full hour: then the mean of what was measured stands for one."""
COVERED = 0.5
"""An hour of history counts when at least half of it was measured."""
FADE = 0.5
"""What a season counts against the one after it."""
LEVEL_LIMIT = 3.0
TESTED_DAYS = 7


@dataclass(frozen=True, eq=False)
class Hours:
    """Hourly means: hours since 1970 (UTC), ascending and without gaps; NaN where nothing was measured."""

    first: int
    per_hour: FloatArray

    @property
    def end(self) -> int:
        """One past the last hour."""
        return self.first + len(self.per_hour)

    def before(self, hour: int) -> Hours:
        """What was known then."""
        return Hours(self.first, self.per_hour[: max(0, hour - self.first)])


def hourly(points: Sequence[Point], until: datetime) -> Hours:
    """Full hours before ``until``, from points in queries/h.

    Raises:
        SignalError: there is not one, nor enough values to stand for one.
    """
    end = int(until.timestamp() // HOUR)
    if not points:
        raise SignalError("has no history yet; give profile.queriesPerHour until it has")
    first = int(min(point.start for point in points).timestamp() // HOUR)
    seconds, amount = np.zeros(max(0, end - first)), np.zeros(max(0, end - first))
    for point in points:
        start, stop = point.start.timestamp(), min(point.end.timestamp(), float(end * HOUR))
        while start < stop:
            hour = int(start // HOUR)
            part = min(stop, (hour + 1.0) * HOUR) - start
            seconds[hour - first] += part
            amount[hour - first] += part * point.value
            start += part
    known = seconds >= COVERED * HOUR
    if known.sum() < FEWEST_HOURS:
        return _so_far(points, end)
    return Hours(first, np.where(known, amount / np.where(known, seconds, 1.0), np.nan))


def _so_far(points: Sequence[Point], end: int) -> Hours:
    """The mean of what there is, as if it were the last hour's."""
    if len(points) < FEWEST_VALUES:
        raise SignalError(
            f"has not measured a full hour yet, nor {FEWEST_VALUES} values; give profile.queriesPerHour until it has"
        )
    seconds = np.array([(point.end - point.start).total_seconds() for point in points])
    mean = (seconds * np.array([point.value for point in points])).sum() / seconds.sum()
    return Hours(end - 1, np.array([mean]))


def forecast(history: Hours, hours: Sequence[int], zone: ZoneInfo) -> FloatArray:
    """Queries per hour in each of ``hours`` (since 1970), made from ``history`` alone."""
    season = WEEK if len(history.per_hour) >= 2 * WEEK else DAY
    profile = _profile(history, season, zone)
    expected: FloatArray = profile[_seasonal(np.asarray(hours), season, zone)]
    return np.asarray(_level(history, season, zone) * expected, dtype=np.float64)


def error_ratio(history: Hours, zone: ZoneInfo) -> float | None:
    """Σ |forecast − measured| / Σ measured over the past days, each forecast a day ahead; None while there is too little."""
    wrong, total = 0.0, 0.0
    for days in range(1, TESTED_DAYS + 1):
        origin = history.end - days * DAY
        known = history.before(origin)
        if len(known.per_hour) < DAY or np.isnan(known.per_hour).all():
            break
        hours = range(origin, origin + DAY)
        actual = history.per_hour[origin - history.first : origin - history.first + DAY]
        measured = ~np.isnan(actual)
        wrong += float(np.abs(forecast(known, hours, zone) - actual)[measured].sum())
        total += float(actual[measured].sum())
    return wrong / total if total > 0 else None


def _profile(history: Hours, season: int, zone: ZoneInfo) -> FloatArray:
    """The season's mean by its hour; hours never seen take the mean of all."""
    places = _seasonal(np.arange(history.first, history.end), season, zone)
    age = (history.end - 1 - np.arange(history.first, history.end)) // season
    weight = np.where(np.isnan(history.per_hour), 0.0, FADE**age)
    amount = np.bincount(places, weight * np.nan_to_num(history.per_hour), season)
    weights = np.bincount(places, weight, season)
    overall = amount.sum() / weights.sum()
    return np.asarray(np.where(weights > 0, amount / np.where(weights > 0, weights, 1.0), overall), dtype=np.float64)


def _level(history: Hours, season: int, zone: ZoneInfo) -> float:
    """How the last day compared with what the season said before it."""
    earlier = history.before(history.end - DAY)
    if not len(earlier.per_hour) or np.isnan(earlier.per_hour).all():
        return 1.0
    recent, profile = history.per_hour[-DAY:], _profile(earlier, season, zone)
    expected = profile[_seasonal(np.arange(history.end - len(recent), history.end), season, zone)]
    known = ~np.isnan(recent)
    if expected[known].sum() <= 0:
        return 1.0
    return float(np.clip(recent[known].sum() / expected[known].sum(), 1.0 / LEVEL_LIMIT, LEVEL_LIMIT))


def _seasonal(hours: np.ndarray[tuple[int], np.dtype[np.int64]], season: int, zone: ZoneInfo) -> FloatArray:
    """Each hour's place in the local day or week."""
    start = datetime(1970, 1, 1, tzinfo=UTC)
    local = [(start + timedelta(hours=int(hour))).astimezone(zone) for hour in hours]
    found: FloatArray = np.array([(t.hour + DAY * t.weekday()) % season for t in local], dtype=np.int64)
    return found
