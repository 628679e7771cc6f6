"""The forecast of demand from its own history, and its error."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from green_llm.demand.forecast import HOUR, Hours, error_ratio, forecast, hourly
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.request import (
    CsvSettings,
    DemandEntry,
    LiveSettings,
    PersistenceSettings,
    Source,
    SourceRef,
    StaticSettings,
)
from green_llm.domain.series import Measure, Point, Quality, Series, SignalQuery
from green_llm.domain.time import Slots
from green_llm.errors import SignalError, StoreError
from green_llm.signals.collect import Collector
from support.resources import a_fleet

CHICAGO = ZoneInfo("America/Chicago")
NOW = datetime(2026, 10, 20, 15, 20, tzinfo=UTC)
AREA = a_fleet().policies["default"].areas["iowa"]


def no_file(name: str) -> tuple[str, str]:
    raise StoreError(f"{name}: does not exist")


def weekly(moment: datetime) -> float:
    """Queries per hour by local time: busy on working days, around 14:00."""
    local = moment.astimezone(CHICAGO)
    day = 1000.0 + 800.0 * math.sin((local.hour - 8) / 24 * 2 * math.pi)
    return day * (0.4 if local.weekday() >= 5 else 1.0)


MINUTE = timedelta(minutes=1)


def measured(days: float, growth_per_week: float = 0.0, until: datetime = NOW) -> list[Point]:
    """Quarter hours up to ``until``."""
    step, points = timedelta(minutes=15), []
    start = until - timedelta(days=days)
    start -= timedelta(seconds=start.timestamp() % 900)
    while start + step <= until:
        scale = 1.0 + growth_per_week * (start - NOW) / timedelta(days=7)
        points.append(Point(start, start + step, scale * weekly(start), Quality.MEASURED, start + step))
        start += step
    return points


def test_a_weekly_pattern_is_foreseen() -> None:
    history = hourly(measured(28), NOW)
    coming = range(history.end, history.end + 48)
    expected = [weekly(datetime.fromtimestamp(hour * HOUR, UTC)) for hour in coming]
    assert forecast(history, coming, CHICAGO) == pytest.approx(expected, rel=1e-9)
    assert error_ratio(history, CHICAGO) == pytest.approx(0.0, abs=1e-9)


def test_a_young_history_repeats_the_day_and_a_growing_one_follows() -> None:
    young = hourly(measured(3), NOW)
    monday = [weekly(datetime.fromtimestamp(h * HOUR, UTC)) for h in range(young.end, young.end + 6)]
    assert forecast(young, range(young.end, young.end + 6), CHICAGO) == pytest.approx(monday, rel=0.6)
    growing = hourly(measured(28, growth_per_week=0.2), NOW)
    coming = range(growing.end, growing.end + 24)
    expected = np.array([weekly(datetime.fromtimestamp(hour * HOUR, UTC)) for hour in coming])
    naive = hourly([p for p in measured(28, growth_per_week=0.2) if p.end < NOW - timedelta(days=6)], NOW)
    followed = np.abs(forecast(growing, coming, CHICAGO) - expected).sum()
    assert followed / expected.sum() < 0.06
    assert followed < np.abs(forecast(naive, coming, CHICAGO) - expected).sum()
    error = error_ratio(growing, CHICAGO)
    assert error is not None
    assert 0.0 < error < 0.1


def test_the_local_hour_counts_when_clocks_change() -> None:
    """Daylight saving ends on 1 November: the busy hour stays at 14:00 local, an hour later in UTC."""
    now = datetime(2026, 10, 31, 12, tzinfo=UTC)
    history = hourly(measured(28, until=now), now)
    coming = range(history.end + 48, history.end + 72)
    expected = [weekly(datetime.fromtimestamp(hour * HOUR, UTC)) for hour in coming]
    assert forecast(history, coming, CHICAGO) == pytest.approx(expected, rel=1e-9)


def test_gaps_are_no_zeros_and_the_level_is_bounded() -> None:
    points = [p for p in measured(28) if p.start.timestamp() // HOUR % 5]
    history = hourly(points, NOW)
    assert np.isnan(history.per_hour).any()
    coming = range(history.end, history.end + 24)
    expected = [weekly(datetime.fromtimestamp(hour * HOUR, UTC)) for hour in coming]
    assert forecast(history, coming, CHICAGO) == pytest.approx(expected, rel=1e-9)
    burst = Hours(history.first, np.concatenate([np.full(len(history.per_hour) - 24, 1.0), np.full(24, 1000.0)]))
    assert forecast(burst, coming, CHICAGO).max() <= 3.0 * (1 * 0.5 + 1000 * 0.5 + 1)


def test_what_is_not_visible_changes_nothing() -> None:
    history = hourly(measured(28), NOW)
    altered = Hours(history.first, np.where(np.arange(len(history.per_hour)) >= 500, 77.0, history.per_hour))
    hours = range(history.first + 500, history.first + 524)
    seen = history.first + 500
    assert (
        forecast(history.before(seen), hours, CHICAGO).tolist()
        == forecast(altered.before(seen), hours, CHICAGO).tolist()
    )


def test_too_little_is_refused() -> None:
    with pytest.raises(SignalError, match="has no history yet"):
        hourly([], NOW)
    with pytest.raises(SignalError, match="not measured a full hour yet"):
        hourly(measured(0.01), NOW)
    assert error_ratio(hourly(measured(0.5), NOW), CHICAGO) is None


def test_the_first_minutes_stand_for_an_hour() -> None:
    start = NOW.replace(minute=0) + timedelta(minutes=10)
    points = [
        Point(start + n * MINUTE, start + (n + 1) * MINUTE, 100.0 + n, Quality.MEASURED, start + (n + 1) * MINUTE)
        for n in range(4)
    ]
    found = hourly(points, start + timedelta(minutes=5))
    assert forecast(found, range(found.end, found.end + 30), CHICAGO) == pytest.approx([101.5] * 30)
    with pytest.raises(SignalError, match="nor 4 values"):
        hourly(points[:3], start + timedelta(minutes=5))


def asked(source: Source) -> DemandEntry:
    return DemandEntry("chat", source=SourceRef(source.name, {"route": "iowa"}))


def prometheus(**changes: object) -> Source:
    settings = LiveSettings("Prometheus", "http://p", 60.0, queries={Measure.DEMAND: "q"}, history_days=28)
    return Source(name="gateway", settings=settings, params={"route": "[a-z]+"}, **changes)  # type: ignore[arg-type]


async def test_a_measured_demand_per_slot_with_its_error() -> None:
    source, seen = prometheus(), list[SignalQuery]()

    async def fetch(source: Source, _reference: SourceRef, query: SignalQuery) -> Series:
        seen.append(query)
        return Series(query.kind, source.name, query.unit, tuple(measured(28)))

    slots = Slots(NOW.replace(minute=0) - timedelta(hours=2), 3600, 6)
    found = await MeasuredDemand(fetch).collect(asked(source), AREA, "inference", {"gateway": source}, slots, NOW)
    expected = [weekly(start) for start, _ in slots]
    assert found.queries == pytest.approx(expected, rel=1e-9), "past slots as measured, the others as foreseen"
    assert found.error_ratio == pytest.approx(0.0, abs=1e-9)
    assert seen[0].params == {"route": "iowa", "namespace": "inference"}, (
        "the demand's own namespace, never one it names"
    )


async def test_slots_of_a_quarter_of_an_hour_take_a_quarter() -> None:
    source = prometheus()

    async def fetch(source: Source, _reference: SourceRef, query: SignalQuery) -> Series:
        return Series(query.kind, source.name, query.unit, tuple(measured(28)))

    slots = Slots(NOW.replace(minute=15), 900, 8)
    found = await MeasuredDemand(fetch).collect(asked(source), AREA, "n", {"gateway": source}, slots, NOW)
    assert found.queries == pytest.approx([weekly(start) / 4 for start, _ in slots], rel=1e-9)


@pytest.mark.parametrize(
    ("source", "points", "words"),
    [
        (prometheus(), [], "has no history yet; give profile.queriesPerHour"),
        (prometheus(), measured(28, until=NOW - timedelta(hours=3)), "has measured nothing since 2026-10-20T12:15Z"),
        (Source(name="gateway", settings=PersistenceSettings(1)), [], "gives no demand; use Prometheus, Csv or Static"),
    ],
)
async def test_what_cannot_be_known_is_said(source: Source, points: list[Point], words: str) -> None:
    async def fetch(source: Source, _reference: SourceRef, query: SignalQuery) -> Series:
        return Series(query.kind, source.name, query.unit, tuple(points))

    with pytest.raises(SignalError, match="class chat in area iowa: ") as caught:
        await MeasuredDemand(fetch).collect(asked(source), AREA, "n", {"gateway": source}, Slots(NOW, 3600, 2), NOW)
    assert words in str(caught.value)


async def test_recorded_and_constant_demand() -> None:
    text = "start,end,value,unit,quality,issued_at\n" + "".join(
        f"2026-10-{day:02}T{hour:02}:00Z,2026-10-{day:02}T{hour:02}:59:59Z,{100 + hour},queries/h,,\n"
        for day in (18, 19, 20) for hour in range(24)
    )  # fmt: skip
    recorded = Source(name="gateway", settings=CsvSettings("{route}.csv"), params={"route": "[a-z]+"})
    collector = Collector(lambda name: (name, text))
    slots = Slots(NOW.replace(minute=0), 3600, 4)
    found = await MeasuredDemand(collector.series).collect(
        asked(recorded), AREA, "n", {"gateway": recorded}, slots, NOW
    )
    assert found.queries == pytest.approx([115, 116, 117, 118], rel=0.02), (
        "rows of the coming hours are not visible yet"
    )
    constant = Source(name="gateway", settings=StaticSettings(0.5, "queries/s"), params={"route": "[a-z]+"})
    demand = MeasuredDemand(Collector(no_file).series)
    found = await demand.collect(asked(constant), AREA, "n", {"gateway": constant}, slots, NOW)
    assert found.queries.tolist() == [1800.0] * 4
    assert found.error_ratio is None
    bare = Source(name="gateway", settings=StaticSettings(0.5, "queries/s"))
    with pytest.raises(SignalError, match='takes no parameter "route"'):
        await demand.collect(asked(bare), AREA, "n", {"gateway": bare}, slots, NOW)
