"""Demand by wall clock: queries per hour of a day or a week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.domain.time import Slots
from green_llm.errors import InvalidInputError

STEP_SECONDS = 900
"""Local hours begin on quarter hours of UTC in every time zone in use."""
HOURS_PER_WEEK = 168


def queries_per_slot(queries_per_hour: Sequence[float], time_zone: str, slots: Slots) -> FloatArray:
    """Queries in each slot, [T]: the profile integrated over the slot by the area's wall clock.

    24 values are the hours of a day, 168 those of a week from Monday. A repeated hour (end of daylight saving) counts
    twice, a skipped one not at all.

    Raises:
        InvalidInputError: the profile has neither 24 nor 168 values.
    """
    if len(queries_per_hour) not in (24, HOURS_PER_WEEK):
        raise InvalidInputError(f"queriesPerHour must have 24 or 168 values, not {len(queries_per_hour)}")
    zone = ZoneInfo(time_zone)
    return np.array([_between(queries_per_hour, zone, start, end) for start, end in slots], dtype=np.float64)


def _between(profile: Sequence[float], zone: ZoneInfo, start: datetime, end: datetime) -> float:
    total, moment = 0.0, start
    while moment < end:
        step = datetime.fromtimestamp((moment.timestamp() // STEP_SECONDS + 1) * STEP_SECONDS, UTC)
        following = min(end, step)
        local = moment.astimezone(zone)
        hour = local.hour + (24 * local.weekday() if len(profile) == HOURS_PER_WEEK else 0)
        total += profile[hour] * ((following - moment) / timedelta(hours=1))
        moment = following
    return total
