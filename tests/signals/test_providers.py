"""Each provider by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from green_llm.domain.request import CsvSettings, PersistenceSettings, StaticSettings, TariffPeriod, TariffSettings
from green_llm.domain.series import Point, Quality, SignalKind, SignalQuery
from green_llm.errors import SignalError
from green_llm.signals.providers.csv import CsvProvider, parse
from green_llm.signals.providers.persistence import PersistenceProvider
from green_llm.signals.providers.static import StaticProvider
from green_llm.signals.providers.tariff import TariffProvider

HEAD = "start,end,value,unit,quality,issued_at\n"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}Z")


def ask(
    start: str, end: str, now: str | None = None, *, kind: SignalKind = SignalKind.ELECTRICITY_PRICE, unit: str = "USD/MWh",
    zone: str = "America/Chicago", params: dict[str, str] | None = None, rates: dict[str, float] | None = None,
) -> SignalQuery:  # fmt: skip
    return SignalQuery(kind, params or {}, at(start), at(end), at(now or start), unit, zone, rates or {})


def a_csv(rows: str, lag: float = 0.0) -> CsvProvider:
    return CsvProvider("recorded", CsvSettings("{site}.csv", lag), lambda name: (name, HEAD + rows))


async def values(provider: CsvProvider, query: SignalQuery) -> list[tuple[float, Quality]]:
    return [(point.value, point.quality) for point in (await provider.fetch(query)).points]


async def test_an_actual_is_visible_after_its_end_and_the_lag() -> None:
    provider = a_csv("2026-10-20T10:00Z,2026-10-20T11:00Z,40,USD/MWh,,\n", lag=1800)
    window = ("10-20T10:00", "10-20T11:00")
    assert await values(provider, ask(*window, "10-20T11:29")) == []
    assert await values(provider, ask(*window, "10-20T11:30")) == [(40.0, Quality.MEASURED)]


async def test_a_forecast_is_visible_from_its_issue_and_the_newest_wins() -> None:
    provider = a_csv(
        "2026-10-20T10:00Z,2026-10-20T11:00Z,40,USD/MWh,,2026-10-19T06:00Z\n"
        "2026-10-20T10:00Z,2026-10-20T11:00Z,44,USD/MWh,,2026-10-20T06:00Z\n"
        "2026-10-20T10:00Z,2026-10-20T11:00Z,46,USD/MWh,measured,\n"
    )
    window = ("10-20T10:00", "10-20T11:00")
    assert await values(provider, ask(*window, "10-19T05:59")) == []
    assert await values(provider, ask(*window, "10-19T06:00")) == [(40.0, Quality.FORECAST)]
    assert await values(provider, ask(*window, "10-20T06:00")) == [(44.0, Quality.FORECAST)]
    assert await values(provider, ask(*window, "10-20T11:00")) == [(46.0, Quality.MEASURED)]


async def test_rows_of_other_lengths_fill_what_is_left() -> None:
    provider = a_csv(
        "2026-10-20T10:00Z,2026-10-20T12:00Z,40,USD/MWh,,2026-10-19T06:00Z\n"
        "2026-10-20T12:00Z,2026-10-20T12:15Z,50,USD/MWh,,2026-10-19T06:00Z\n"
    )
    series = await provider.fetch(ask("10-20T11:00", "10-20T13:00"))
    assert [(p.start.hour, p.end.minute, p.value) for p in series.points] == [(10, 0, 40.0), (12, 15, 50.0)]


def test_a_year_leaves_nothing_behind() -> None:
    """Questions that move on hold the rows that the last of them chose, not all that were ever seen."""
    begin, hour = at("01-01T00:00"), timedelta(hours=1)
    rows = "".join(
        f"{begin + n * hour:%Y-%m-%dT%H:%MZ},{begin + (n + 1) * hour:%Y-%m-%dT%H:%MZ},{n},USD/MWh,,\n"
        for n in range(2000)
    )
    table, seen = parse(HEAD + rows, "test"), []
    for n in range(24, 2000):
        now = begin + n * hour
        window = (now - 24 * hour, now)
        query = SignalQuery(SignalKind.ELECTRICITY_PRICE, {}, *window, now, "USD/MWh", "UTC", {})
        assert [point.value for point in table.visible(query, "test")] == list(range(n - 24, n))
        seen.append(len(table.points))
    assert max(seen) < 24 + 2 * 16 + 1


async def test_units_are_converted_or_refused() -> None:
    rows = "2026-10-20T10:00Z,2026-10-20T11:00Z,0.04,EUR/kWh,,2026-10-19T06:00Z\n"
    with pytest.raises(SignalError, match="needs an exchange rate from EUR to USD"):
        await a_csv(rows).fetch(ask("10-20T10:00", "10-20T11:00"))
    assert await values(a_csv(rows), ask("10-20T10:00", "10-20T11:00", rates={"EUR": 1.1})) == [
        (pytest.approx(44.0), Quality.FORECAST)
    ]
    pounds = "2026-10-20T10:00Z,2026-10-20T11:00Z,1000,lb/MWh,,2026-10-19T06:00Z\n"
    query = ask("10-20T10:00", "10-20T11:00", kind=SignalKind.CARBON_INTENSITY, unit="g/kWh")
    assert await values(a_csv(pounds), query) == [(pytest.approx(453.59237), Quality.FORECAST)]
    with pytest.raises(SignalError, match='"lb/MWh" cannot be read as USD/MWh'):
        await a_csv(pounds).fetch(ask("10-20T10:00", "10-20T11:00"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("start,end\n", "line 1: the columns must be start,end,value,unit,quality,issued_at"),
        (HEAD + "2026-10-20T10:00Z,2026-10-20T11:00Z,x,USD/MWh,,\n", 'line 2: value: "x" is not a number'),
        (HEAD + "2026-10-20T10:00Z,2026-10-20T11:00Z,nan,USD/MWh,,\n", 'line 2: value: "nan" is not a number'),
        (HEAD + "2026-10-20T10:00,2026-10-20T11:00Z,1,USD/MWh,,\n", "line 2: start: .* has no UTC offset"),
        (HEAD + "noon,2026-10-20T11:00Z,1,USD/MWh,,\n", 'line 2: start: "noon" is not an ISO 8601 time'),
        (HEAD + "2026-10-20T12:00Z,2026-10-20T11:00Z,1,USD/MWh,,\n", "line 2: end: must be after start"),
        (HEAD + "2026-10-20T10:00Z,2026-10-20T11:00Z,1,USD/MWh,guess,\n", 'quality: "guess" is unknown'),
        (HEAD + "2026-10-20T10:00Z,2026-10-20T11:00Z,1,USD/MWh\n", "line 2: must have 6 columns"),
        (HEAD + "2026-10-20T10:00Z,2026-10-20T11:00Z,1,USD/MWh,,,,\n", "line 2: must have 6 columns"),
    ],
)
def test_a_wrong_row_is_named_by_line(text: str, words: str) -> None:
    with pytest.raises(SignalError, match=words):
        parse(text, "prices.csv")


async def test_a_constant() -> None:
    provider = StaticProvider("flat", StaticSettings(0.4, "kg/kWh"))
    query = ask("10-20T10:00", "10-20T12:00", kind=SignalKind.CARBON_INTENSITY, unit="g/kWh")
    (point,) = (await provider.fetch(query)).points
    assert (point.value, point.quality, point.issued_at) == (400.0, Quality.STATIC, None)


TARIFF = TariffSettings(
    "USD",
    "America/Chicago",
    (
        TariffPeriod(90.0, 16, 21, frozenset(range(5)), frozenset({6, 7, 8, 9})),
        TariffPeriod(30.0, 22, 6),
        TariffPeriod(50.0),
    ),
)


@pytest.mark.parametrize(
    ("moment", "price"),
    [
        ("07-01T21:30", 90.0),  # Wednesday 16:30 in summer
        ("07-04T21:30", 50.0),  # Saturday
        ("11-04T22:30", 50.0),  # Wednesday 16:30 in November
        ("07-02T03:30", 30.0),  # 22:30
        ("07-01T10:30", 30.0),  # 05:30
        ("07-01T11:00", 50.0),  # 06:00
        ("11-01T06:30", 30.0),  # 01:30, the first time
        ("11-01T07:30", 30.0),  # 01:30, the second time
        ("11-01T12:00", 50.0),  # 06:00 by winter time
    ],
)
async def test_a_tariff_goes_by_the_wall_clock(moment: str, price: float) -> None:
    end = (at(moment) + timedelta(minutes=15)).strftime("%m-%dT%H:%M")
    (point,) = (await TariffProvider("tou", TARIFF).fetch(ask(moment, end))).points
    assert (point.value, point.issued_at) == (price, None)


async def test_a_tariff_day_has_every_price_once_per_stretch() -> None:
    points = (await TariffProvider("tou", TARIFF).fetch(ask("07-01T05:00", "07-02T05:00"))).points
    assert [(p.start.hour, p.value) for p in points] == [(5, 30.0), (11, 50.0), (21, 90.0), (2, 50.0), (3, 30.0)]
    assert all(one.end == other.start for one, other in pairwise(points))


async def test_a_tariff_without_a_period_for_an_hour_has_a_gap() -> None:
    settings = TariffSettings("USD", "UTC", (TariffPeriod(10.0, 0, 12),))
    (point,) = (await TariffProvider("half", settings).fetch(ask("07-01T10:00", "07-01T14:00"))).points
    assert point.end.hour == 12


async def test_persistence_repeats_the_same_local_hour() -> None:
    seen: list[SignalQuery] = []

    async def history(query: SignalQuery) -> tuple[Point, ...]:
        seen.append(query)
        hours = int((query.end - query.start).total_seconds() // 3600) + 1
        return tuple(
            Point(s, s + timedelta(hours=1), float(s.hour + 100 * s.day), Quality.MEASURED, s + timedelta(hours=1))
            for s in (query.start.replace(minute=0) + timedelta(hours=n) for n in range(hours))
        )

    provider = PersistenceProvider("yesterday", PersistenceSettings(1), history)
    series = await provider.fetch(ask("10-20T10:00", "10-20T12:00"))
    assert [point.value for point in series.points] == [1910.0, 1911.0]
    assert {point.quality for point in series.points} == {Quality.PERSISTENCE}
    # After the clocks went back (1 November), noon in Chicago is 18:00Z; the day before it was 17:00Z.
    series = await provider.fetch(ask("11-01T18:00", "11-01T19:00"))
    assert [point.value for point in series.points] == [3117.0]
    provider = PersistenceProvider("last-week", PersistenceSettings(7), history)
    series = await provider.fetch(ask("10-20T10:00", "10-20T11:00"))
    assert [point.value for point in series.points] == [1310.0]


async def test_what_was_not_known_is_not_repeated() -> None:
    async def history(_query: SignalQuery) -> tuple[Point, ...]:
        return ()

    provider = PersistenceProvider("yesterday", PersistenceSettings(1), history)
    assert (await provider.fetch(ask("10-20T10:00", "10-20T12:00"))).points == ()
    assert datetime.now(UTC).tzinfo is UTC
