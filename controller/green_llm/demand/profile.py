"""Demand by wall clock: queries per hour of a day or a week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
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
    hours: FloatArray = _hours(time_zone, slots, len(queries_per_hour)) @ np.asarray(queries_per_hour, dtype=np.float64)
    return hours


@lru_cache(maxsize=64)
def _hours(time_zone: str, slots: Slots, length: int) -> FloatArray:
    """How much of each slot falls into each hour of the profile, [T, length], h: the same for every pair of a zone."""
    zone, found = ZoneInfo(time_zone), np.zeros((slots.count, length))
    for n, (start, end) in enumerate(slots):
        moment = start
        while moment < end:
            step = datetime.fromtimestamp((moment.timestamp() // STEP_SECONDS + 1) * STEP_SECONDS, UTC)
            following = min(end, step)
            local = moment.astimezone(zone)
            hour = local.hour + (24 * local.weekday() if length == HOURS_PER_WEEK else 0)
            found[n, hour] += (following - moment) / timedelta(hours=1)
            moment = following
    found.flags.writeable = False
    return found
