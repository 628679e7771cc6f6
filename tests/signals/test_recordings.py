"""Recordings: what was known when, kept in files that survive a crash and do not grow for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import duckdb
import pytest
from aiohttp import web

from green_llm.domain.request import CarbonAccounting, LiveSettings, Source
from green_llm.domain.series import Place, Point, Quality, SignalKind, SignalQuery
from green_llm.errors import SignalError, StoreError
from green_llm.signals.cache import Cache
from green_llm.signals.feed import Found, Past
from green_llm.signals.http import HttpClient
from green_llm.signals.importing import HistoryQuestion, import_history, published
from green_llm.signals.live import LiveHub
from green_llm.signals.providers.recorded import RecordedProvider
from green_llm.signals.recordings import Question, Recordings
from green_llm.signals.registry import FEEDS
from green_llm.signals.shapes import document, missing_keys, recorded_shapes
from support.replay_server import ReplayServer, always

DATA = Path(__file__).parents[1] / "data" / "signals"
HOUR = timedelta(hours=1)
T0 = datetime(2026, 11, 20, 8, tzinfo=UTC)
PRICE, CARBON = SignalKind.ELECTRICITY_PRICE, SignalKind.CARBON_INTENSITY
QUESTION = Question("prices", PRICE, {"zone": "DE"})


def point(hour: int, value: float, quality: Quality = Quality.MEASURED, issued: datetime | None = None) -> Point:
    start = T0 + hour * HOUR
    return Point(start, start + HOUR, value, quality, issued)


def query(hour: int, now: datetime, kind: SignalKind = PRICE, hours: int = 1, **params: str) -> SignalQuery:
    start = T0 + hour * HOUR
    return SignalQuery(kind, params or {"zone": "DE"}, start, start + hours * HOUR, now, kind.unit("EUR"), "UTC")


async def known(recordings: Recordings, hour: int, now: datetime) -> list[float]:
    return [p.value for p in (await RecordedProvider("prices", recordings).fetch(query(hour, now))).points]


async def test_a_value_is_visible_from_when_it_was_known_and_the_newest_counts(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "recordings")
    early, late = T0 - 5 * HOUR, T0 - 2 * HOUR
    forecast = point(0, 40.0, Quality.FORECAST, early)
    newer = point(0, 44.0, Quality.FORECAST, late)
    recordings.add(QUESTION, "EUR/MWh", "DayAhead", [(forecast, early), (newer, late)])
    recordings.add(QUESTION, "EUR/MWh", "DayAhead", [(point(0, 46.0, issued=T0 + HOUR), T0 + HOUR)])
    recordings.add(QUESTION, "EUR/MWh", "DayAhead", [(point(0, 47.0, issued=T0 + HOUR), T0 + 9 * HOUR)], revised=True)
    recordings.flush()
    assert await known(recordings, 0, early - HOUR) == []
    assert await known(recordings, 0, early) == [40.0]
    assert await known(recordings, 0, late) == [44.0]
    assert await known(recordings, 0, T0 + HOUR) == [46.0]
    assert await known(recordings, 0, T0 + 9 * HOUR) == [47.0], "revised"
    with pytest.raises(SignalError, match="has no recordings of carbonIntensity; record it or import its history"):
        await RecordedProvider("prices", recordings).fetch(query(0, T0, CARBON))


async def test_a_place_is_part_of_the_question_and_the_unit_is_converted(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    north, south = Place(60.0, 5.0), Place(40.0, 5.0)
    for place, value in ((north, 0.1), (south, 0.6)):
        question = Question("weather", SignalKind.SOLAR_OUTPUT, {}, place)
        recordings.add(question, "%", "", [(point(0, value * 100), T0)])
    recordings.flush()
    asked = replace(query(0, T0, SignalKind.SOLAR_OUTPUT), params={}, place=south)
    assert [p.value for p in (await RecordedProvider("weather", recordings).fetch(asked)).points] == pytest.approx(
        [0.6]
    )


async def test_small_files_are_merged_the_rest_survives_a_crash(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    for n in range(5):
        recordings.add(QUESTION, "EUR/MWh", "", [(point(n, float(n)), T0 + n * HOUR)])
        recordings.flush()
    (path,) = recordings.files()
    assert path.name.startswith("2026-11-20.")
    assert [await known(recordings, n, T0 + 9 * HOUR) for n in range(5)] == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    # Merged, but the parts not yet removed: the same rows twice are once.
    duplicate = path.with_name("2026-11-20.0000.part.parquet")
    duplicate.write_bytes(path.read_bytes())
    (tmp_path / "2026-11-20.torn.tmp").write_bytes(b"PAR1 half a fi")
    again = Recordings(tmp_path)
    assert await known(again, 3, T0 + 9 * HOUR) == [3.0]
    rows = duckdb.read_parquet(str(path))
    assert rows.columns == [
        "source", "kind", "params", "place", "start_s", "end_s", "value", "unit", "basis", "quality", "issued_s", "known_s",
        "revised",
    ]  # fmt: skip


def test_the_oldest_days_go_first(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, largest_bytes=6000)
    for day in range(6):
        known_from = T0 + timedelta(days=day)
        recordings.add(QUESTION, "EUR/MWh", "", [(point(day * 24, 1.0), known_from)])
        recordings.flush()
    left = [path.name[:10] for path in recordings.files()]
    assert 1 <= len(left) < 6
    assert left[-1] == "2026-11-25"
    assert sum(path.stat().st_size for path in recordings.files()) <= 6000


def test_what_cannot_be_written_is_kept_for_later(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    recordings = Recordings(blocked / "below")
    recordings.add(QUESTION, "EUR/MWh", "", [(point(0, 1.0), T0)])
    with pytest.raises(StoreError, match="recordings cannot be written"):
        recordings.flush()
    blocked.unlink()
    recordings.flush()
    table = recordings.table(QUESTION)
    assert table is not None
    assert table.value.tolist() == [1.0]
    (recordings.files()[0]).write_bytes(b"rubbish")
    with pytest.raises(StoreError, match="recordings cannot be read"):
        Recordings(blocked / "below").table(QUESTION)


async def key(_name: str, _key: str) -> str:
    return "USER:s3cret"


def live(service: str, host: str, accounting: CarbonAccounting | None = None) -> Source:
    return Source(
        name="prices", settings=LiveSettings(service, f"http://{host}", 3600.0, 2.0, ("n", "k")), accounting=accounting
    )


async def test_the_hub_records_what_is_new_once(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    def ms(hours: int) -> int:
        return round((now + hours * HOUR).timestamp() * 1000)

    rows = [{"start_timestamp": ms(n), "end_timestamp": ms(n + 1), "marketprice": 10.0 + n, "unit": "Eur/MWh"} for n in range(3)]  # fmt: skip
    prices = {"data": rows}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(prices, headers={"X-RateLimit-Remaining": "58"})

    async with ReplayServer(answer) as server:
        recordings = Recordings(tmp_path)
        source = live("Awattar", server.host)
        asked = SignalQuery(PRICE, {}, now, now + 3 * HOUR, datetime.now(UTC), "EUR/MWh", "UTC", basis="DayAhead")
        for changed in (10.0, 10.0, 99.0):
            rows[0]["marketprice"] = changed
            hub = LiveHub(HttpClient({server.host}), FEEDS, key, first_wait_seconds=5.0, recordings=recordings)
            series = await hub.fetch(source, asked)
            assert hub.health["prices"].quota == "58"
            await hub.close()
    assert len(series.points) == 3
    stored = duckdb.read_parquet(f"{tmp_path}/*.parquet").order("known_s, value").project("value, basis").fetchall()
    # A hub that begins anew knows nothing: it records all again; within one, only what is new.
    assert [value for value, _ in stored] == [10.0, 11.0, 12.0, 10.0, 11.0, 12.0, 11.0, 12.0, 99.0]
    assert {basis for _, basis in stored} == {"DayAhead"}


def test_what_a_service_revises_is_marked(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    hub = LiveHub(HttpClient(set()), FEEDS, key, recordings=recordings)
    before = {
        p.start: p for p in (point(0, 46.0, issued=T0 + HOUR), point(1, 50.0, Quality.FORECAST, T0), point(2, 51.0))
    }
    after = (point(0, 47.0, issued=T0 + HOUR), point(1, 52.0, issued=T0 + 2 * HOUR), point(2, 51.0), point(3, 9.0))
    hub._record(live("Awattar", "host"), query(0, T0), Found("EUR/MWh", after), before, T0 + 9 * HOUR)
    recordings.flush()
    stored = duckdb.read_parquet(f"{tmp_path}/*.parquet").order("start_s").project("value, revised").fetchall()
    assert stored == [(47.0, True), (52.0, False), (9.0, False)], "a forecast that came true otherwise is no revision"


PAST_BODIES: dict[str, tuple[bytes, SignalKind, dict[str, str]]] = {
    "UKCarbonIntensity": (
        b'{"data": [{"from": "2026-11-20T08:00Z", "to": "2026-11-20T08:30Z", "intensity": {"forecast": 200, "actual": 190}},'
        b' {"from": "2026-11-20T08:30Z", "to": "2026-11-20T09:00Z", "intensity": {"forecast": 210, "actual": null}}]}',
        CARBON, {},
    ),
    "ElectricityMaps": (
        b'{"zone": "DE", "data": [{"carbonIntensity": 300, "datetime": "2026-11-20T08:00:00.000Z", "isEstimated": false}]}',
        CARBON, {"zone": "DE"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("service", "path", "expected"),
    [
        ("UKCarbonIntensity", "/intensity/2026-11-20T08:00Z/2026-11-20T12:00Z", [(190.0, 60 * 60.0)]),
        ("ElectricityMaps", "/carbon-intensity/past-range", [(300.0, 3 * 3600.0)]),
    ],
)
async def test_history_is_known_from_when_it_was_published(
    tmp_path: Path, service: str, path: str, expected: list[tuple[float, float]]
) -> None:
    """(value, seconds from the interval's start until it is known)."""
    body, kind, params = PAST_BODIES[service]
    async with ReplayServer(always(body)) as server:
        recordings = Recordings(tmp_path)
        hub = LiveHub(HttpClient({server.host}), FEEDS, key)
        asked = SignalQuery(kind, params, T0, T0 + 4 * HOUR, T0, "g/kWh", "UTC")
        now = T0 + timedelta(days=1)
        first = await import_history([HistoryQuestion(live(service, server.host), asked)], hub, recordings, now)
        again = await import_history([HistoryQuestion(live(service, server.host), asked)], hub, recordings, now)
        await hub.close()
    assert (first[0].new, first[0].revised, first[0].error) == (1, 0, None)
    assert (again[0].new, again[0].revised) == (0, 0), "the same is not recorded twice"
    assert server.seen[0].path == path
    table = recordings.table(first[0].question)
    assert table is not None
    assert [(v, k - s) for v, k, s in zip(table.value, table.visible_from, table.start, strict=True)] == expected


async def test_revised_actuals_are_marked_and_known_from_now_on(tmp_path: Path) -> None:
    values: Iterator[int] = iter((190, 195))

    async def answer(_request: web.Request) -> web.StreamResponse:
        row = {"from": "2026-11-20T08:00Z", "to": "2026-11-20T08:30Z", "intensity": {"actual": next(values)}}
        return web.json_response({"data": [row]})

    async with ReplayServer(answer) as server:
        recordings = Recordings(tmp_path)
        hub = LiveHub(HttpClient({server.host}), FEEDS, key)
        source = live("UKCarbonIntensity", server.host)
        asked = SignalQuery(CARBON, {}, T0, T0 + HOUR, T0, "g/kWh", "UTC")
        await import_history([HistoryQuestion(source, asked)], hub, recordings, T0 + timedelta(days=1))
        (result,) = await import_history([HistoryQuestion(source, asked)], hub, recordings, T0 + timedelta(days=9))
        await hub.close()
    assert (result.new, result.revised) == (0, 1)

    async def seen(days: float) -> list[float]:
        asked_then = replace(asked, now=T0 + timedelta(days=days))
        return [p.value for p in (await RecordedProvider("prices", recordings).fetch(asked_then)).points]

    assert await seen(2) == [190.0]
    assert await seen(9) == [195.0]


async def test_long_histories_are_asked_in_pieces_and_what_came_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        start = datetime.fromisoformat(parse_qs(request.query_string)["start"][0])
        if start >= T0 + timedelta(days=20):
            return web.Response(status=503, body=b"busy")
        row = {"carbonIntensity": 300.0, "datetime": start.isoformat()}
        return web.json_response({"zone": "DE", "data": [row]})

    feed = FEEDS["ElectricityMaps"]
    assert feed.past is not None
    quick = replace(feed, past=replace(feed.past, pause_seconds=0.0))
    monkeypatch.setattr("green_llm.signals.importing.FEEDS", {**FEEDS, "ElectricityMaps": quick})
    async with ReplayServer(answer) as server:
        recordings = Recordings(tmp_path)
        hub = LiveHub(HttpClient({server.host}), FEEDS, key)
        asked = SignalQuery(CARBON, {"zone": "DE"}, T0, T0 + timedelta(days=35), T0, "g/kWh", "UTC")
        weather = SignalQuery(SignalKind.SOLAR_OUTPUT, {}, T0, T0 + HOUR, T0, "kW/kW", "UTC")
        found = await import_history(
            [HistoryQuestion(live("ElectricityMaps", server.host), asked), HistoryQuestion(live("OpenMeteo", server.host), weather)],
            hub, recordings, T0 + timedelta(days=40),
        )  # fmt: skip
        await hub.close()
    assert found[0].new == 2
    assert "503 busy" in (found[0].error or "")
    assert "gives no history here; record it from now on" in (found[1].error or "")
    table = recordings.table(found[0].question)
    assert table is not None
    assert len(table.start) == 2


def test_day_ahead_prices_are_known_the_afternoon_before() -> None:
    berlin = Past(timedelta(days=1), auction=("Europe/Berlin", 14))
    price = Point(datetime(2026, 11, 20, 23, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC), 1.0, Quality.MEASURED)
    # 23:00Z is the first hour of 21 November in Berlin; its auction is over by 14:00 on the 20th.
    assert published(price, berlin) == datetime(2026, 11, 20, 13, tzinfo=UTC)
    assert published(replace(price, start=price.start - HOUR), berlin) == datetime(2026, 11, 19, 13, tzinfo=UTC)
    assert published(price, Past(timedelta(days=1))) == price.start, "nobody says when: not before it begins"


async def test_watt_times_forecasts_keep_their_own_issue(tmp_path: Path) -> None:
    body = json.dumps(
        {
            "data": [
                {"generated_at": f"2026-11-20T{hour:02}:{minute:02}:00+00:00",
                 "forecast": [{"point_time": "2026-11-20T12:00:00+00:00", "value": 800.0 + hour + minute}]}
                for hour in (8, 9) for minute in (0, 5)
            ],
            "meta": {"units": "lbs_co2_per_mwh", "region": "X", "data_point_period_seconds": 300},
        }
    )  # fmt: skip

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "t"}) if request.path == "/login" else web.Response(body=body.encode())

    async with ReplayServer(answer) as server:
        recordings = Recordings(tmp_path)
        hub = LiveHub(HttpClient({server.host}), FEEDS, key)
        asked = SignalQuery(CARBON, {"region": "X"}, T0, T0 + 4 * HOUR, T0, "g/kWh", "UTC")
        (result,) = await import_history(
            [HistoryQuestion(live("WattTime", server.host), asked)], hub, recordings, T0 + timedelta(days=9)
        )
        await hub.close()
    assert (result.new, result.error) == (2, None), "one forecast an hour"
    table = recordings.table(result.question)
    assert table is not None
    assert table.value.tolist() == [808.0, 809.0]
    assert table.visible_from.tolist() == [T0.timestamp(), (T0 + HOUR).timestamp()]


def test_shapes_are_those_of_the_stored_payloads() -> None:
    stored = (Path(__file__).parents[2] / "controller" / "green_llm" / "signals" / "shapes.json").read_text()
    assert stored == document(DATA), "run `just shapes`"
    assert set(recorded_shapes()) == set(FEEDS)


@pytest.mark.parametrize("path", sorted(DATA.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_stored_payload_lacks_nothing_of_its_own_shape(path: Path) -> None:
    service = next(name for name in FEEDS if name.lower() == path.parent.name.replace("_", ""))
    if not path.name.startswith(("error", "ack", "login")):
        assert missing_keys(service, path.read_bytes()) == []


def test_a_key_that_is_gone_is_named() -> None:
    body = (DATA / "electricity_maps" / "ci-forecast.json").read_bytes().replace(b'"carbonIntensity"', b'"intensity"')
    assert missing_keys("ElectricityMaps", body) == ["forecast[].carbonIntensity"]
    assert missing_keys("ElectricityMaps", b"") == []


def test_forecasts_are_compared_with_what_came() -> None:
    now = datetime.now(UTC)
    cache = Cache()
    foreseen = Point(now + 20 * HOUR, now + 21 * HOUR, 120.0, Quality.FORECAST, now)
    soon = Point(now + HOUR, now + 2 * HOUR, 500.0, Quality.FORECAST, now)
    cache.compare([foreseen, soon], now)
    cache.compare([replace(foreseen, value=110.0)], now + 8 * HOUR)
    later = now + 22 * HOUR
    cache.compare(
        [replace(foreseen, value=100.0, quality=Quality.MEASURED), replace(soon, quality=Quality.MEASURED)], later
    )
    assert list(cache.compared.values()) == [(20.0, 100.0)], "the first forecast, half a day ahead or more"


def test_nothing_is_left_in_the_way(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.add(QUESTION, "EUR/MWh", "", [(point(0, 1.0), T0)])
    recordings.flush()
    assert [path for path in tmp_path.iterdir() if path.suffix != ".parquet"] == []
