"""Every live service in every kind of trouble, over real HTTP: said, never retried in a storm, never a value made up."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from green_llm.domain.request import LiveSettings, Source
from green_llm.domain.series import Measure, Place, Point, Quality, SignalQuery
from green_llm.domain.services import SERVICES
from green_llm.domain.time import Slots
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask
from green_llm.signals.http import HttpClient, Reason
from green_llm.signals.live import LiveHub
from green_llm.signals.registry import FEEDS
from green_llm.signals.resample import to_slots
from support.replay_server import Answer, ReplayServer, always
from support.services import LISTS

DATA = Path(__file__).parents[1] / "data" / "signals"
SECRET = "user-of-nobody:s3cret-of-nobody"  # noqa: S105 - an invented one, to look for
GOOD = {
    "Awattar": ["awattar/marketdata.json"], "CaisoOasis": ["caiso_oasis/prc-lmp.csv"], "CaisoOutlook": ["caiso_outlook/fuelsource.csv"],
    "CarbonAwareSDK": ["carbon_aware_sdk/forecast-current.json"], "Eia": ["eia/fuel-type.json"],
    "ElectricityMaps": ["electricity_maps/ci-history.json", "electricity_maps/ci-forecast.json"],
    "EnergyCharts": ["energy_charts/price.json"], "Entsoe": ["entsoe/a44-a03.xml"], "GridStatusIo": ["grid_status_io/query.json"],
    "OctopusAgile": ["octopus_agile/agile.json"], "OpenMeteo": ["open_meteo/forecast.json"],
    "Prometheus": ["prometheus/query-range.json"], "UKCarbonIntensity": ["uk_carbon_intensity/intensity-fw24h.json"],
    "WattTime": ["watt_time/forecast.json"],
}  # fmt: skip


async def secret(_name: str, _key: str) -> str:
    return SECRET


def behind_login(answer: Answer) -> Answer:
    """A login that works, before an answer."""

    async def found(request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "t"}) if request.path.endswith("/login") else await answer(request)

    return found


async def asked(service: str, answer: Answer, *, timeout_seconds: float = 5.0) -> tuple[str, str | None, int]:
    """What is said, its reason, and how often the service was asked."""
    kind, params, _ = LISTS[service]
    now = datetime.now(UTC)
    queries = {kind: "up"} if isinstance(kind, Measure) else {}
    async with ReplayServer(behind_login(answer)) as server:
        settings = LiveSettings(service, f"http://{server.host}/prefix", 3600.0, timeout_seconds, ("n", "k"), queries)
        hub = LiveHub(HttpClient({server.host}), FEEDS, secret, first_wait_seconds=timeout_seconds + 2.0)
        query = SignalQuery(
            kind, params, now, now + timedelta(hours=3), now, kind.unit("EUR"), "UTC", place=Place(50.0, 8.0)
        )
        try:
            with pytest.raises(SignalError) as caught:
                await hub.fetch(Source(name="it", settings=settings), query)
            await asyncio.sleep(0.05)
            health = hub.health.get("it")
            seen = [request for request in server.seen if not request.path.endswith("/login")]
            assert all(request.path.startswith("/prefix/") for request in seen)
            return str(caught.value), None if health is None else health.reason, len(seen)
        finally:
            await hub.close()


@pytest.mark.parametrize("service", sorted(SERVICES))
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.CONFIGURATION), (402, Reason.CONFIGURATION), (403, Reason.CONFIGURATION), (429, Reason.RATE_LIMITED),
        (500, Reason.SERVER), (503, Reason.SERVER),
    ],
)  # fmt: skip
async def test_refusals(service: str, status: int, reason: Reason) -> None:
    said, found, times = await asked(service, always(b"no thanks " + SECRET.encode(), status))
    assert f"{status} no thanks ***" in said
    assert found == reason.value
    # A token may have run out: one login more, and no third time.
    assert times <= (2 if FEEDS[service].login is not None and reason is Reason.CONFIGURATION else 1)
    assert not any(part in said for part in SECRET.split(":"))


@pytest.mark.parametrize("service", sorted(SERVICES))
async def test_slow(service: str) -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    said, reason, _ = await asked(service, never, timeout_seconds=0.3)
    assert "no answer within 0.3 s" in said
    assert reason == Reason.TIMEOUT.value


def stored(service: str) -> list[bytes]:
    bodies = [(DATA / name).read_bytes() for name in GOOD[service]]
    if service != "CaisoOasis":
        return bodies
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("prc.csv", bodies[0])
    return [packed.getvalue()]


@pytest.mark.parametrize("service", sorted(SERVICES))
async def test_cut_off(service: str) -> None:
    """Half of a good answer: an error or fewer values, never a wrong one."""
    half = stored(service)[0]
    half = half[: len(half) // 2]
    said, reason, _ = await asked(service, always(half))
    assert reason in (Reason.ANSWER.value, None)
    assert "SignalSource it" in said


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"CaisoOasis"}))
async def test_what_a_proxy_compresses_is_read(service: str) -> None:
    """The stored numbers are of another day: they are read, and none of them is for now."""
    packed = gzip.compress(stored(service)[0])
    said, reason, _ = await asked(service, always(packed, **{"Content-Encoding": "gzip"}))
    good, good_reason, _ = await asked(service, always(stored(service)[0]))
    assert (said, reason) == (good, good_reason)


@pytest.mark.parametrize(
    ("service", "other", "words"),
    [
        ("ElectricityMaps", {"zone": "FR"}, 'answered for the zone "DE", not "FR"'),
        ("WattTime", {"region": "ERCOT"}, 'answered for the region "CAISO_NORTH", not "ERCOT"'),
    ],
)
async def test_another_zone(service: str, other: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, _, count = LISTS[service]
    monkeypatch.setitem(LISTS, service, (kind, other, count))
    said, reason, _ = await asked(service, always(stored(service)[0]))
    assert words in said
    assert reason == Reason.ANSWER.value


# Resampling.

T0 = datetime(2026, 10, 25, tzinfo=UTC)
MINUTES = st.lists(st.integers(1, 180), min_size=1, max_size=40)
VALUES = st.floats(-500.0, 3000.0, allow_nan=False)


@st.composite
def series(draw: st.DrawFn) -> tuple[list[Point], Slots]:
    """Points one after another, some left out, and slots of any length over them."""
    points, moment = [], T0 + timedelta(minutes=draw(st.integers(-120, 120)))
    for length in draw(MINUTES):
        end = moment + timedelta(minutes=length)
        if draw(st.integers(0, 9)):
            points.append(Point(moment, end, draw(VALUES), draw(st.sampled_from(list(Quality))), moment))
        moment = end
    seconds = draw(st.sampled_from([300, 900, 1800, 3600, 7200]))
    return draw(st.permutations(points)), Slots(T0, seconds, draw(st.integers(1, 24)))


@given(series())
def test_energy_weighted_means_are_kept_and_no_slot_is_invented(found: tuple[list[Point], Slots]) -> None:
    points, slots = found
    for (start, end), slot in zip(slots, to_slots(points, "s", slots), strict=True):
        inside = [(p, (min(p.end, end) - max(p.start, start)).total_seconds()) for p in points]
        inside = [(p, seconds) for p, seconds in inside if seconds > 0]
        covered = sum(seconds for _, seconds in inside)
        if covered < slots.slot_seconds:
            assert slot is None
            continue
        assert slot is not None
        assert slot.value * slots.slot_seconds == pytest.approx(sum(p.value * s for p, s in inside), rel=1e-9, abs=1e-6)
        assert min(p.value for p, _ in inside) - 1e-9 <= slot.value <= max(p.value for p, _ in inside) + 1e-9
        assert slot.issued_at == min(p.issued_at for p, _ in inside if p.issued_at)


@given(series(), st.sampled_from([2, 3, 4]))
def test_finer_slots_average_to_coarser_ones(found: tuple[list[Point], Slots], factor: int) -> None:
    points, slots = found
    coarse = to_slots(points, "s", replace(slots, slot_seconds=slots.slot_seconds * factor))
    fine = to_slots(points, "s", replace(slots, count=slots.count * factor))
    for n, slot in enumerate(coarse):
        parts = fine[n * factor : (n + 1) * factor]
        if slot is None:
            assert any(part is None for part in parts)
        else:
            assert slot.value == pytest.approx(sum(part.value for part in parts if part) / factor, abs=1e-6)


@pytest.mark.parametrize(("start", "hours"), [("2026-10-24T22:00Z", 25), ("2027-03-27T23:00Z", 23)])
def test_days_on_which_clocks_change_have_their_own_length(start: str, hours: int) -> None:
    """A local day of Berlin in quarter hours, as Energy-Charts gives it: every UTC hour once."""
    begin = datetime.fromisoformat(start)
    stamps = [int((begin + timedelta(minutes=15 * n)).timestamp()) for n in range(4 * hours)]
    body = json.dumps({"unix_seconds": stamps, "price": [float(n) for n in range(4 * hours)], "unit": "EUR / MWh"})
    kind, params, _ = LISTS["EnergyCharts"]
    asked_for = Ask(kind, params, begin, begin + timedelta(hours=hours), begin)
    points = FEEDS["EnergyCharts"].parse(asked_for, [body.encode()]).points
    slots = to_slots(points, "s", Slots(begin, 3600, hours))
    assert [slot.value for slot in slots if slot] == [4.0 * n + 1.5 for n in range(hours)]
