"""Demand by wall clock, over the days when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from green_llm.demand.profile import queries_per_slot
from green_llm.domain.time import Slots
from green_llm.errors import InvalidInputError

HOURS = [float(hour) for hour in range(24)]
CHICAGO = "America/Chicago"


def day(start: datetime, hours: int, seconds: int = 3600) -> list[float]:
    return queries_per_slot(HOURS, CHICAGO, Slots(start, seconds, hours * 3600 // seconds)).tolist()


def test_hours_of_an_ordinary_day() -> None:
    # Midnight in Chicago is 05:00Z in summer.
    assert day(datetime(2026, 7, 1, 5, tzinfo=UTC), 24) == HOURS


def test_a_repeated_hour_counts_twice() -> None:
    # On 1 November 2026, 01:00 to 02:00 comes twice.
    assert day(datetime(2026, 11, 1, 5, tzinfo=UTC), 25) == [0, 1, 1, *HOURS[2:]]


def test_a_skipped_hour_counts_not_at_all() -> None:
    # On 8 March 2026, 02:00 to 03:00 is skipped.
    assert day(datetime(2026, 3, 8, 6, tzinfo=UTC), 23) == [0, 1, *HOURS[3:]]


def test_slots_need_not_be_hours() -> None:
    start = datetime(2026, 7, 1, 5, tzinfo=UTC)
    assert day(start, 1, 900) == [0, 0, 0, 0]
    assert day(start + timedelta(hours=3), 1, 900) == [0.75] * 4
    assert queries_per_slot(HOURS, CHICAGO, Slots(start, 7200, 2)).tolist() == [0 + 1, 2 + 3]


def test_time_zones_off_by_quarter_hours() -> None:
    # Kathmandu is 05:45 ahead: 18:00Z is 23:45, so a quarter of hour 23 and three of hour 0.
    found = queries_per_slot(HOURS, "Asia/Kathmandu", Slots(datetime(2026, 7, 1, 18, tzinfo=UTC), 3600, 1))
    assert found[0] == pytest.approx(0.25 * 23)


def test_a_week_begins_on_monday() -> None:
    week = [float(hour) for hour in range(168)]
    # Wednesday 1 July 2026, 00:00 in Chicago: hour 48 of the week.
    assert queries_per_slot(week, CHICAGO, Slots(datetime(2026, 7, 1, 5, tzinfo=UTC), 3600, 2)).tolist() == [48, 49]


def test_no_other_length() -> None:
    with pytest.raises(InvalidInputError, match="24 or 168 values, not 3"):
        queries_per_slot([1.0, 2.0, 3.0], CHICAGO, Slots(datetime(2026, 7, 1, tzinfo=UTC), 3600, 1))
