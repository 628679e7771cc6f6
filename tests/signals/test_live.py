"""Live services over real HTTP: in the background, bounded, and honest about what failed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from green_llm.domain.request import CarbonAccounting, LiveSettings, Source
from green_llm.domain.series import SignalKind, SignalQuery, SignalRef
from green_llm.domain.time import slots_from
from green_llm.errors import SignalError
from green_llm.signals.collect import Collector
from green_llm.signals.feed import Request
from green_llm.signals.http import FetchError, HttpClient, Reason
from green_llm.signals.live import LiveHub
from green_llm.signals.registry import FEEDS
from support.replay_server import Answer, ReplayServer, always
from support.resources import a_policy, a_site, static

KEY = "s3cret-key-of-nobody"
CARBON, PRICE = SignalKind.CARBON_INTENSITY, SignalKind.ELECTRICITY_PRICE


def awattar(*prices: float) -> bytes:
    """Hourly prices from the present hour on."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [
        {"start_timestamp": ms(start + timedelta(hours=n)), "end_timestamp": ms(start + timedelta(hours=n + 1)),
         "marketprice": price, "unit": "Eur/MWh"}
        for n, price in enumerate(prices)
    ]  # fmt: skip
    return json.dumps({"object": "list", "data": rows}).encode()


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def watt_time(value: float, generated: datetime) -> bytes:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [{"point_time": (start + timedelta(minutes=5 * n)).isoformat(), "value": value} for n in range(600)]
    meta = {"units": "lbs_co2_per_mwh", "generated_at": generated.isoformat(), "data_point_period_seconds": 300}
    return json.dumps({"data": rows, "meta": meta}).encode()


def live(service: str, host: str, *, secret: bool = False, poll: float = 3600.0, **changes: Any) -> Source:
    settings = LiveSettings(service, f"http://{host}", poll, 1.0, ("keys", "token") if secret else None)
    marginal = CarbonAccounting("Marginal", "Direct", "Consumption")
    defaults: dict[str, Any] = {"name": service.lower(), "settings": settings, "accounting": marginal}
    return Source(**defaults | changes)


async def key(_name: str, _key: str) -> str:
    return KEY


@asynccontextmanager
async def hub(host: str, wait: float = 2.0, changed: Callable[[], None] = lambda: None, secret: Any = key) -> AsyncIterator[LiveHub]:  # fmt: skip
    found = LiveHub(HttpClient({host}), FEEDS, secret, first_wait_seconds=wait, changed=changed)
    try:
        yield found
    finally:
        await found.close()


def query(kind: SignalKind = PRICE, **params: str) -> SignalQuery:
    now = datetime.now(UTC)
    start = now.replace(minute=0, second=0, microsecond=0)
    unit = kind.unit("EUR")
    return SignalQuery(kind, params, start, start + timedelta(hours=3), now, unit, "UTC")


async def test_values_come_and_one_question_is_asked_once() -> None:
    async with ReplayServer(always(awattar(50.0, -3.0, 70.0))) as server, hub(server.host) as found:
        source = live("Awattar", server.host)
        first, second = await asyncio.gather(found.fetch(source, query()), found.fetch(source, query()))
        assert [p.value for p in first.points] == [50.0, -3.0, 70.0]
        assert first == second
        assert len(server.seen) == 1
        assert found.health["awattar"].last_success is not None
        assert "User-Agent" in server.seen[0].headers


async def failing(answer: Answer, *, secret: bool = False, service: str = "Awattar", **params: str) -> tuple[SignalError, str | None]:  # fmt: skip
    async with ReplayServer(answer) as server, hub(server.host) as found:
        kind = PRICE if service != "WattTime" else CARBON
        with pytest.raises(SignalError) as caught:
            await found.fetch(live(service, server.host, secret=secret), query(kind, **params))
        return caught.value, found.health[service.lower()].reason


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (always(b'{"error": "no"}', 401), Reason.CONFIGURATION, "401"),
        (always(b"Access denied", 403), Reason.CONFIGURATION, "check the key"),
        (always(b"pay", 402), Reason.CONFIGURATION, "what its plan includes"),
        (always(b"slow down", 429), Reason.RATE_LIMITED, "429 slow down"),
        (always(b"down", 503), Reason.SERVER, "503"),
        (always(b"bad zone", 400), Reason.ANSWER, "check the parameters"),
        (always(b"<html>", 200), Reason.ANSWER, "is not JSON"),
        (always(b'{"data": []}', 200), None, "has no value for the coming hours yet"),
        (always(b"", 302, Location="https://attacker.example.com/?x"), Reason.CONFIGURATION, "are not followed"),
        (always(awattar(1.0)[:40]), Reason.ANSWER, "is not JSON"),
        (always(awattar(1.0).replace(b"1.0", b"null")), None, "has no value"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_said(answer: Answer, reason: Reason | None, words: str) -> None:
    error, found = await failing(answer)
    assert words in str(error)
    assert found == reason


async def test_a_service_that_hangs_is_given_up() -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    error, reason = await failing(never)
    assert reason == Reason.TIMEOUT
    assert "no answer within 1 s" in str(error)


async def test_an_answer_that_breaks_off() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"data"')
        assert request.transport is not None
        request.transport.close()
        return response

    _, reason = await failing(half)
    assert reason == Reason.NETWORK


async def test_an_answer_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("green_llm.signals.http.LARGEST_BYTES", 100_000)
    error, _ = await failing(always(b" " * 200_000))
    assert "larger than 100000 bytes" in str(error)


async def test_other_hosts_and_open_lines_are_refused() -> None:
    client = HttpClient({"api.example.com", "127.0.0.1:1"})
    with pytest.raises(FetchError, match="not allowed; add it to GREEN_LLM_SIGNAL_HOSTS"):
        await client.get("https://attacker.example.com", Request("/"), 1.0)
    with pytest.raises(FetchError, match="not sent to api.example.com without TLS"):
        await client.get("http://api.example.com", Request("/"), 1.0, secret=KEY)
    with pytest.raises(FetchError, match="not allowed"):
        await client.get("https://api.example.com@attacker.example.com", Request("/"), 1.0)
    await client.close()


async def test_a_configuration_error_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with ReplayServer(always(f"key {KEY} is unknown".encode(), 401)) as server, hub(server.host) as found:
        source = live("ElectricityMaps", server.host, secret=True, poll=0.05)
        for _ in range(3):
            with pytest.raises(SignalError) as caught:
                await found.fetch(source, query(CARBON, zone="DE"))
            await asyncio.sleep(0.2)
        assert len(server.seen) == 1
        assert server.seen[0].headers["auth-token"] == KEY
        # Nor is the key anywhere: not in the error, though the service repeats it, nor in the log, nor in the status.
        told = f"{caught.value} {found.health} {caplog.text}"
        assert "key *** is unknown" in told
        assert KEY not in told


async def test_secrets_in_a_query_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with ReplayServer(always(b"no", 500)) as server, hub(server.host) as found:
        with pytest.raises(SignalError) as caught:
            await found.fetch(live("Entsoe", server.host, secret=True), query(zone="10Y1001A1001A82H"))
        assert server.seen[0].query["securityToken"] == KEY
        assert KEY not in f"{caught.value} {found.health} {caplog.text}"


async def test_it_is_asked_again_after_a_failure_and_waits_as_told() -> None:
    answers = [web.Response(status=429, headers={"Retry-After": "7200"}), web.Response(body=awattar(1.0))]

    async def one_after_another(_request: web.Request) -> web.StreamResponse:
        return answers.pop(0)

    async with ReplayServer(one_after_another) as server, hub(server.host) as found:
        with pytest.raises(SignalError):
            await found.fetch(live("Awattar", server.host, poll=0.05), query())
        await asyncio.sleep(0.3)
        assert len(server.seen) == 1, "two hours have not passed"


async def test_back_off_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("green_llm.signals.live.FIRST_RETRY_SECONDS", 0.05)
    moments: list[float] = []
    answered = asyncio.Event()

    async def broken(_request: web.Request) -> web.StreamResponse:
        moments.append(asyncio.get_running_loop().time())
        if len(moments) == 4:
            answered.set()
        return web.Response(status=500) if len(moments) < 4 else web.Response(body=awattar(9.0))

    async with ReplayServer(broken) as server, hub(server.host) as found:
        source = live("Awattar", server.host)
        with pytest.raises(SignalError):
            await found.fetch(source, query())
        await asyncio.wait_for(answered.wait(), 10.0)
        await asyncio.sleep(0.1)
        assert [p.value for p in (await found.fetch(source, query())).points] == [9.0]
        waits = [b - a for a, b in pairwise(moments)]
        # Never shorter than it says, of which chance takes up to a twentieth; how much longer is the machine's affair.
        assert all(wait > 0.9 * least for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True))
        assert found.health["awattar"].errors == {Reason.SERVER: 3}


async def test_a_slow_service_never_delays_planning() -> None:
    """One answers never; the others' changes are there in under a second."""
    prices = [10.0]
    news = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "never" in request.path:
            await asyncio.sleep(60)
        return web.Response(body=awattar(*[prices[-1]] * 6))

    async with ReplayServer(answer) as server, hub(server.host, wait=0.0, changed=news.set) as found:
        quick = live("Awattar", server.host, poll=0.2, name="quick")
        slow = replace(quick, name="slow", settings=replace(quick.settings, base_url=f"http://{server.host}/never"))
        site = a_site(
            "near", signals={PRICE: (SignalRef("slow", basis="DayAhead"), SignalRef("quick", basis="DayAhead"))}
        )
        collector = Collector(no_file, found)

        async def first_price() -> float | None:
            now = datetime.now(UTC)
            begun = asyncio.get_running_loop().time()
            book = await collector.collect(
                a_policy(currency="EUR"), [site], {"quick": quick, "slow": slow}, slots_from(now, 3600, 3), now
            )
            assert asyncio.get_running_loop().time() - begun < 0.2
            value = book.values["near", PRICE][0]
            return None if value is None else value.value

        assert await first_price() is None, "nothing is there yet, and nobody waits"
        await asyncio.wait_for(news.wait(), 2.0)
        assert await first_price() == 10.0
        news.clear()
        prices.append(20.0)
        await asyncio.wait_for(news.wait(), 1.0)
        assert await first_price() == 20.0
        news.clear()
        await asyncio.sleep(0.5)
        assert not news.is_set(), "the same again is no news"


def no_file(name: str) -> tuple[str, str]:
    raise AssertionError(name)


async def test_a_frozen_feed_is_stale_however_often_it_is_fetched() -> None:
    old = datetime.now(UTC) - timedelta(hours=5)

    async def frozen(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"token": "t"}' if request.path == "/login" else watt_time(850.0, old))

    async with ReplayServer(frozen) as server, hub(server.host) as found:
        source = live("WattTime", server.host, secret=True, poll=0.05, params={"region": "[A-Z]+"})
        marginal = CarbonAccounting("Marginal", "Direct", "Consumption")
        fallback = replace(static("profile", 400.0, "g/kWh"), accounting=marginal)
        site = a_site("near", signals={CARBON: (SignalRef("watttime", {"region": "X"}), SignalRef("profile"))})
        now = datetime.now(UTC)
        policy = a_policy(accounting=marginal)
        sources = {"watttime": source, "profile": fallback}
        await asyncio.sleep(0.3)
        book = await Collector(no_file, found).collect(policy, [site], sources, slots_from(now, 3600, 2), now)
        # What has elapsed does not age; the slots to come take the fall-back that the user wrote.
        assert {value.source for value in book.values["near", CARBON][1:] if value} == {"profile"}


async def test_a_token_that_runs_out_is_fetched_anew() -> None:
    tokens = iter(("first", "second"))
    valid = "first"

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/login":
            return web.json_response({"token": next(tokens)})
        if request.headers["Authorization"] != f"Bearer {valid}":
            return web.Response(status=401)
        return web.Response(body=watt_time(1000.0, datetime.now(UTC)))

    async with ReplayServer(answer) as server, hub(server.host) as found:
        source = live("WattTime", server.host, secret=True, poll=0.1)
        series = await found.fetch(source, query(CARBON, region="X"))
        assert series.points[0].value == pytest.approx(453.59237)
        valid = "second"
        await asyncio.sleep(0.5)
        assert found.health["watttime"].last_error is None
        assert [r.path for r in server.seen].count("/login") == 2


async def test_a_rotated_key_is_taken_up() -> None:
    keys = ["old", "new"]

    async def secret(_name: str, _key: str) -> str:
        return keys[0] if len(server.seen) < 1 else keys[1]

    async with ReplayServer(always(b'{"zone": "DE", "history": []}')) as server:
        async with hub(server.host, secret=secret) as found:
            with pytest.raises(SignalError):
                await found.fetch(live("ElectricityMaps", server.host, secret=True, poll=0.1), query(CARBON, zone="DE"))
            await asyncio.sleep(0.4)
        used = [request.headers["auth-token"] for request in server.seen]
        assert used[0] == "old"
        assert used[-1] == "new"


async def test_a_wrong_key_that_is_set_right_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("green_llm.signals.live.SECRET_LOOK_SECONDS", 0.05)
    keys = ["wrong"]

    async def answer(request: web.Request) -> web.StreamResponse:
        known = request.headers["auth-token"] == "right"
        return web.Response(status=200 if known else 401, body=b'{"zone": "DE", "history": []}')

    async def secret(_name: str, _key: str) -> str:
        return keys[-1]

    async with ReplayServer(answer) as server, hub(server.host, secret=secret) as found:
        with pytest.raises(SignalError):
            await found.fetch(live("ElectricityMaps", server.host, secret=True), query(CARBON, zone="DE"))
        await asyncio.sleep(0.2)
        assert len(server.seen) == 1
        keys.append("right")
        await asyncio.sleep(0.5)
        assert found.health["electricitymaps"].reason is None


async def test_conditional_requests() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304)
        return web.Response(body=awattar(5.0), headers={"ETag": '"1"'})

    async with ReplayServer(answer) as server:
        client = HttpClient({server.host})
        first = await client.get(f"http://{server.host}", Request("/a"), 1.0)
        assert await client.get(f"http://{server.host}", Request("/a"), 1.0) == first
        assert [r.headers.get("If-None-Match") for r in server.seen] == [None, '"1"']
        await client.close()


async def test_sources_that_are_gone_are_not_asked() -> None:
    async with ReplayServer(always(awattar(5.0))) as server, hub(server.host) as found:
        source = live("Awattar", server.host, poll=0.05)
        await found.fetch(source, query())
        found.keep_only({})
        asked = len(server.seen)
        await asyncio.sleep(0.3)
        assert len(server.seen) == asked
        assert not found.health


async def test_another_time_cannot_be_asked_for() -> None:
    async with hub("127.0.0.1:1") as found:
        past = replace(query(), now=datetime(2026, 1, 1, tzinfo=UTC))
        with pytest.raises(SignalError, match="cannot be asked for another time"):
            await found.fetch(live("Awattar", "127.0.0.1:1"), past)
