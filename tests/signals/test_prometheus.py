"""Demand measured by a real Prometheus: what gateways count becomes queries per slot."""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.request import DemandEntry, LiveSettings, Source, SourceRef
from green_llm.domain.series import Measure, SignalRef
from green_llm.domain.services import TEMPLATES
from green_llm.domain.time import Slots
from green_llm.domain.topology import Performance
from green_llm.errors import SignalError
from green_llm.signals.collect import Collector
from green_llm.signals.http import HttpClient
from green_llm.signals.live import LiveHub
from green_llm.signals.registry import FEEDS
from support.resources import a_fleet, a_site

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"
)
AREA = a_fleet().policies["default"].areas["iowa"]
DAYS, SCRAPE = 3, 60
RULE = "httproute/inference/iowa/rule/0"


def arriving_per_s(moment: float) -> float:
    """Queries per second: a day's wave in UTC."""
    return 2.0 + math.sin(moment / 86400 * 2 * math.pi)


def exposition(now: float) -> str:
    """Three days of counters. The gateway's restarts on the way; retries count in its total too."""
    counters = {
        f'envoy_cluster_upstream_rq_total{{envoy_cluster_name="{RULE}"}}': lambda t: 1.1 * arriving_per_s(t),
        f'envoy_cluster_upstream_rq_retry{{envoy_cluster_name="{RULE}"}}': lambda t: 0.1 * arriving_per_s(t),
        'envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/other/iowa/rule/0"}': lambda _: 50.0,
        'envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/inference/iowa/rule/01"}': lambda _: 50.0,
        'istio_requests_total{reporter="source",source_workload="gw",request_host="iowa.example.com",destination_service_name="a"}': arriving_per_s,
        'istio_requests_total{reporter="destination",source_workload="gw",request_host="iowa.example.com"}': lambda _: 50.0,
        'vllm:request_success_total{model_name="m",site="near",finished_reason="stop"}': lambda _: 0.5,
        'vllm:prompt_tokens_total{model_name="m",site="near"}': lambda _: 40.0,
        'vllm:generation_tokens_total{model_name="m",site="near"}': lambda _: 100.0,
    }  # fmt: skip
    start = (now - DAYS * 86400) // SCRAPE * SCRAPE
    lines = []
    for name, rate in counters.items():
        total, moment, restarted = 0.0, start, False
        lines.append(f"# TYPE {name.partition('{')[0].removesuffix('_total')} unknown")
        while moment <= now:
            if not restarted and "inference/iowa" in name and moment > now - 40 * 3600:
                total, restarted = 0.0, True
            lines.append(f"{name} {total} {moment:.0f}")
            total += rate(moment) * SCRAPE
            moment += SCRAPE
    types: set[str] = set()
    kept = [line for line in lines if not line.startswith("#") or (line not in types and not types.add(line))]  # type: ignore[func-returns-value]
    return "\n".join(kept) + "\n# EOF\n"


@dataclass
class Server:
    host: str
    now: datetime


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus whose past was written before it starts."""
    root = tmp_path_factory.mktemp("prometheus")
    now = datetime.now(UTC)
    (root / "past.txt").write_text(exposition(now.timestamp()))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(root / "past.txt"), str(root / "data")]
    subprocess.run(command, check=True, capture_output=True)
    (root / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [
        "--config.file",
        str(root / "prometheus.yml"),
        "--storage.tsdb.path",
        str(root / "data"),
        "--web.listen-address",
        host,
    ]
    process = subprocess.Popen(["prometheus", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(ready(host))
        yield Server(host, now)
    finally:
        process.terminate()
        process.wait(10)


async def ready(host: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"http://{host}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def source(host: str, template: str, **queries: str) -> Source:
    chosen = TEMPLATES[template]
    found = {Measure(name): query for name, query in queries.items()} or chosen.queries
    settings = LiveSettings("Prometheus", f"http://{host}", 60.0, queries=found, history_days=28)
    return Source(name="gateway", settings=settings, params=chosen.params)


async def no_secret(_name: str, _key: str) -> str:
    raise AssertionError


def no_file(name: str) -> tuple[str, str]:
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("template", "params"),
    [("EnvoyGateway", {"route": "iowa", "rule": "0"}), ("Istio", {"gateway": "gw", "host": "iowa.example.com"})],
)
async def test_what_arrives_is_what_the_gateway_counts(
    prometheus: Server, template: str, params: dict[str, str]
) -> None:
    hub = LiveHub(HttpClient({prometheus.host}), FEEDS, no_secret, first_wait_seconds=10.0)
    gateway = source(prometheus.host, template)
    entry = DemandEntry("chat", source=SourceRef("gateway", params))
    now = datetime.now(UTC)
    slots = Slots(now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=3), 3600, 12)
    try:
        found = await MeasuredDemand(Collector(no_file, hub).series).collect(
            entry, AREA, "inference", {"gateway": gateway}, slots, now
        )
    finally:
        await hub.close()
    expected = [
        sum(arriving_per_s(start.timestamp() + s) * SCRAPE for s in range(0, 3600, SCRAPE)) for start, _ in slots
    ]
    assert found.queries[:3] == pytest.approx(expected[:3], rel=0.02), "as counted"
    assert found.queries[3:] == pytest.approx(expected[3:], rel=0.1), "as foreseen"
    assert found.error_ratio is not None
    assert found.error_ratio < 0.1


async def test_servers_are_a_cross_check(prometheus: Server) -> None:
    hub = LiveHub(HttpClient({prometheus.host}), FEEDS, no_secret, first_wait_seconds=10.0)
    servers = source(prometheus.host, "Vllm")
    measured = SignalRef("gateway", {"model": "m", "site": "near"})
    site = a_site("near", performance={"large": Performance("large", 1e9, 1e-6, 1e-6, measurements=measured)})
    collector = Collector(no_file, hub)
    try:
        found = await collector.measured([site], {"gateway": servers}, datetime.now(UTC))
        with pytest.raises(SignalError, match="measures no demand"):
            await MeasuredDemand(collector.series).collect(
                DemandEntry("chat", source=SourceRef("gateway", dict(measured.params))), AREA, "inference",
                {"gateway": servers}, Slots(datetime.now(UTC), 3600, 1), datetime.now(UTC),
            )  # fmt: skip
    finally:
        await hub.close()
    by_measure = {measure: value for (_, _, measure), value in found.items()}
    expected = {Measure.FINISHED: 1800.0, Measure.INPUT_TOKENS: 80.0, Measure.OUTPUT_TOKENS: 200.0, Measure.THROUGHPUT: 140.0}  # fmt: skip
    assert by_measure == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(rate(unknown_total[$window]))", "has not answered yet|has no value"),
        ("sum(rate(", "Prometheus refuses the query: bad_data"),
        ('rate({__name__=~"envoy.*total"}[$window])', "series .by .*envoy_cluster_name.*; sum them"),
    ],
)
async def test_a_query_that_gives_nothing_or_too_much(prometheus: Server, query: str, words: str) -> None:
    hub = LiveHub(HttpClient({prometheus.host}), FEEDS, no_secret, first_wait_seconds=10.0)
    gateway = source(prometheus.host, "EnvoyGateway", demand=query)
    entry = DemandEntry("chat", source=SourceRef("gateway", {"route": "iowa", "rule": "0"}))
    now = datetime.now(UTC)
    demand = MeasuredDemand(Collector(no_file, hub).series)
    try:
        with pytest.raises(SignalError, match=words):
            await demand.collect(entry, AREA, "inference", {"gateway": gateway}, Slots(now, 3600, 2), now)
    finally:
        await hub.close()
