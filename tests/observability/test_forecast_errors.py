"""Errors of a live source's forecasts: asked over real HTTP half a day apart, shown by the panel's query on a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiohttp import web
from prometheus_client import Metric, generate_latest

from green_llm.domain.request import LiveSettings, Source
from green_llm.domain.series import SignalKind, SignalQuery, SourceHealth
from green_llm.observability import families
from green_llm.signals import live
from green_llm.signals.http import HttpClient
from green_llm.signals.live import LiveHub
from green_llm.signals.registry import FEEDS
from support.dashboards import targets
from support.prometheus_server import asked, running
from support.replay_server import ReplayServer, always, in_thread
from support.tools import needed

LATER = timedelta(hours=16)
FORESEEN = range(14, 16)
"""Hours from the first on: foreseen more than half a day ahead, whenever in the hour that is, and over when asked again."""
FORECAST, ACTUAL = {n: 100.0 + n for n in range(48)}, {n: 100.0 + n + 5.0 * (-1) ** n for n in FORESEEN}
RATIO = 5.0 * len(FORESEEN) / sum(ACTUAL.values())


def hourly(first: datetime, values: dict[int, float]) -> list[dict[str, Any]]:
    return [{"carbonIntensity": v, "datetime": (first + timedelta(hours=n)).isoformat()} for n, v in values.items()]


async def token(_name: str, _key: str) -> str:
    return "t"


async def ask(found: LiveHub, source: Source, now: datetime) -> None:
    start = now.replace(minute=0, second=0, microsecond=0)
    kind = SignalKind.CARBON_INTENSITY
    await found.fetch(source, SignalQuery(kind, {"zone": "DE"}, start, start + timedelta(hours=3), now, "g/kWh", "UTC"))


async def health_of_two_rounds(monkeypatch: pytest.MonkeyPatch) -> dict[str, SourceHealth]:
    """What is known of a service that was asked now, and again after it was right and wrong."""
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    clock = {"shift": timedelta()}

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time() + clock["shift"].total_seconds(), tz)

    async def answer(request: web.Request) -> web.StreamResponse:
        begun = first + clock["shift"]
        if request.path.endswith("/forecast"):
            rows = hourly(first, FORECAST)
            return web.json_response({"zone": "DE", "forecast": rows, "updatedAt": begun.isoformat()})
        return web.json_response({"zone": "DE", "history": hourly(first, ACTUAL) if clock["shift"] else []})

    monkeypatch.setattr(live, "datetime", Shifted)
    async with ReplayServer(answer) as server:
        found = LiveHub(HttpClient({server.host}), FEEDS, token, first_wait_seconds=30.0, changed=lambda: None)
        settings = LiveSettings("ElectricityMaps", f"http://{server.host}", 0.1, 10.0, ("keys", "token"))
        source = Source(name="carbon", settings=settings)
        try:
            await ask(found, source, Shifted.now(UTC))
            assert found.health["carbon"].forecast_errors == {}, "nothing that was foreseen is over"
            clock["shift"] = LATER
            async with asyncio.timeout(30):
                while not found.health["carbon"].forecast_errors:
                    await ask(found, source, Shifted.now(UTC))
                    await asyncio.sleep(0.05)
            return dict(found.health)
        finally:
            await found.close()


def test_the_panel_shows_by_how_much_forecasts_were_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed("prometheus")
    health = asyncio.run(health_of_two_rounds(monkeypatch))
    assert health["carbon"].forecast_errors == {"carbonIntensity": pytest.approx(RATIO)}

    def collect() -> Iterator[Metric]:
        return families.sources(health)

    page = generate_latest(SimpleNamespace(collect=collect))  # type: ignore[arg-type]
    (panel,) = [t for t in targets() if (t.board, t.panel, t.ref) == ("operator", "Errors of forecasts", "A")]
    with in_thread(always(page, **{"Content-Type": "text/plain; version=0.0.4"})) as server:
        job = {"job_name": "green-llm", "scrape_interval": "1s", "static_configs": [{"targets": [server.host]}]}
        with running(tmp_path, json.dumps({"scrape_configs": [job]})) as host:
            end = time.monotonic() + 60
            while not (found := asked(host, panel.filled(job="green-llm"), time.time())):
                assert time.monotonic() < end, "not scraped"
                time.sleep(0.2)
    (series,) = found
    assert series["metric"] == {"source": "carbon", "kind": "carbonIntensity"}
    assert float(series["value"][1]) == pytest.approx(RATIO)
