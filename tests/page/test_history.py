"""The history: there after a restart, within its bounds, and never a reason to fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from green_llm.domain.amounts import total
from green_llm.page.figures import of_past
from green_llm.page.history import History
from green_llm.page.past import MOST_POINTS, past
from support.planner import outcomes
from support.resources import a_fleet, a_policy


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state" / "history.sqlite3"
    first, second, third = await outcomes(a_fleet(), steps=3)
    history = History(file)
    history.record(first)
    history.record(second)
    history.close()
    history = History(file)
    history.record(third)
    kept = history.read("default", 24).result()
    history.close()
    assert [entry.at for entry in kept] == [o.now.replace(microsecond=0) for o in (first, second, third)]
    assert kept[-1].rates["in_force"] == total(third.in_force.values())
    assert kept[-1].queries == pytest.approx({"cheap": 1000.0, "near": 0.0})
    document = past(third.policy, kept, 24, history.trouble)
    cost = document.sums[0]
    # From the first interval's ledger to the third's: two hours.
    assert first.ledger is not None
    assert third.ledger is not None
    elapsed = total(third.ledger.in_force.values()).cost - total(first.ledger.in_force.values()).cost
    assert cost.in_force == pytest.approx(elapsed)
    assert cost.in_force == pytest.approx(0.1)
    assert (cost.nearest, cost.change) == (pytest.approx(0.2), pytest.approx(-0.5))
    assert document.shares["cheap"] == pytest.approx((1.0,) * 3)


async def test_a_ledger_that_begins_anew_counts_from_zero() -> None:
    first, second, third = await outcomes(a_fleet(), steps=3)
    (anew,) = await outcomes(a_fleet(), start=third.now + timedelta(hours=1))
    history = History(None)
    for outcome in (first, second, third, anew):
        history.record(outcome)
    kept = history.read("default", 24).result()
    history.close()
    assert past(third.policy, kept, 24, None).sums[0].in_force == pytest.approx(0.1)


async def test_old_intervals_go_by_age(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3", days=1)
    (outcome,) = await outcomes(a_fleet())
    for hours in range(48):
        history.record(replace(outcome, now=outcome.now + timedelta(hours=hours)))
    kept = history.read("default", 1000).result()
    history.close()
    assert len(kept) == 25


async def test_the_file_stays_within_its_size(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    history = History(file, days=1000, largest_bytes=100_000)
    (outcome,) = await outcomes(a_fleet())
    for hours in range(150):
        history.record(replace(outcome, now=outcome.now + timedelta(hours=hours)))
        if hours % 50 == 49:
            history.read("default", 1).result()
    kept = history.read("default", 24 * 365).result()
    history.close()
    assert file.stat().st_size <= 100_000
    assert 10 < len(kept) < 150
    assert kept[-1].at == (outcome.now + timedelta(hours=149)).replace(microsecond=0)


async def test_a_damaged_file_is_said_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "history.sqlite3"
    file.write_bytes(b"not a database, but long enough to be read as one" * 100)
    history = History(file)
    (outcome,) = await outcomes(a_fleet())
    history.record(outcome)
    assert history.read("default", 24).result() == []
    assert history.trouble is not None
    assert str(file) in history.trouble
    assert "delete the file" in caplog.text
    file.unlink()
    history.record(outcome)
    assert len(history.read("default", 24).result()) == 1
    assert history.trouble is None
    history.close()


async def test_many_intervals_are_shown_as_means() -> None:
    (outcome,) = await outcomes(a_fleet(policies={"default": a_policy(period_seconds=60)}))
    history = History(None)
    for minutes in range(3 * MOST_POINTS):
        history.record(replace(outcome, now=outcome.now + timedelta(minutes=minutes)))
        if minutes % 100 == 99:
            history.read("default", 1).result()
    kept = history.read("default", 100).result()
    history.close()
    document = past(outcome.policy, kept, 100, None)
    assert document.intervals == 3 * MOST_POINTS
    assert len(document.at) <= MOST_POINTS
    assert document.lines[0].in_force == pytest.approx((0.05,) * len(document.at))


async def test_no_line_leads_over_a_gap() -> None:
    (outcome,) = await outcomes(a_fleet())
    history = History(None)
    for hours in (0, 1, 2, 10, 11):
        history.record(replace(outcome, now=outcome.now + timedelta(hours=hours)))
    kept = history.read("default", 24).result()
    history.close()
    cost, *_ = of_past(past(outcome.policy, kept, 24, None))
    line = cost.plot["data"][0]
    assert [value is None for value in line["y"]] == [False, False, False, True, False, False]
    assert line["x"][3] == "2026-10-20 18:10:00", "in the middle of the gap"
