"""Demand measured by a real Prometheus: what gateways count becomes queries per slot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.request import DemandArea, DemandEntry, LiveSettings, RouteTarget, Source, SourceRef
from green_llm.domain.series import Measure, SignalQuery, SignalRef
from green_llm.domain.services import TEMPLATES
from green_llm.domain.time import Slots
from green_llm.domain.topology import Performance, Selector
from green_llm.errors import SignalError
from green_llm.services.admission import admit
from green_llm.signals.check import check_measures
from green_llm.signals.collect import Collector
from green_llm.signals.http import HttpClient
from green_llm.signals.live import LiveHub
from green_llm.signals.registry import FEEDS
from support.prometheus_server import SCRAPE, YOUNG_PER_S, arriving_per_s, prometheus_server
from support.resources import ROUTE, a_demand, a_fleet, a_route, a_site, backend

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"
)
AREA = a_fleet().policies["default"].areas["iowa"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has counted for three days."""
    with prometheus_server(tmp_path_factory.mktemp("prometheus")) as host:
        yield host


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
async def test_what_arrives_is_what_the_gateway_counts(prometheus: str, template: str, params: dict[str, str]) -> None:
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    gateway = source(prometheus, template)
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
    assert found.mean_delay_s == pytest.approx(0.25, rel=0.01), "as the gateway has measured it, not planned with"


async def test_a_step_that_is_not_counted_whole_is_no_value(prometheus: str) -> None:
    """A rule that Prometheus has first seen ten minutes into a step: what rate() says of that step is too little."""
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    template = source(prometheus, "EnvoyGateway")
    plain = source(
        prometheus, "EnvoyGateway", demand=TEMPLATES["EnvoyGateway"].queries[Measure.DEMAND].partition(" and ")[0]
    )
    now = datetime.now(UTC)
    end = now - timedelta(minutes=15)  # nothing is scraped any more
    params = {"route": "young", "rule": "0"}
    query = SignalQuery(
        Measure.DEMAND, params | {"namespace": "inference"}, now - timedelta(hours=4), end, now, "queries/h", "UTC"
    )
    try:
        collector = Collector(no_file, hub)
        whole, all_steps = [
            (await collector.series(replace(asked, name=name), SourceRef(name, params), query)).points
            for name, asked in (("gateway", template), ("plain", plain))
        ]
    finally:
        await hub.close()
    assert [point.value for point in whole] == pytest.approx([3600 * YOUNG_PER_S] * len(whole), rel=0.01)
    assert [point.end for point in whole] == [point.end for point in all_steps][1:]
    assert all_steps[0].value < 0.5 * 3600 * YOUNG_PER_S


async def test_a_step_of_its_own(prometheus: str) -> None:
    """A minute instead of a quarter of an hour: more values than one answer may have."""
    gateway = source(prometheus, "EnvoyGateway")
    assert isinstance(gateway.settings, LiveSettings)
    gateway = replace(gateway, settings=replace(gateway.settings, step_seconds=60))
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    now = datetime.now(UTC)
    query = SignalQuery(
        Measure.DEMAND, {"route": "iowa", "rule": "0", "namespace": "inference"}, now - timedelta(days=28), now, now,
        "queries/h", "UTC",
    )  # fmt: skip
    try:
        points = (
            await Collector(no_file, hub).series(gateway, SourceRef("gateway", {"route": "iowa", "rule": "0"}), query)
        ).points
    finally:
        await hub.close()
    assert {point.end - point.start for point in points} == {timedelta(minutes=1)}
    assert 3 * 1440 - 10 < len(points) <= 3 * 1440


async def test_servers_are_a_cross_check(prometheus: str) -> None:
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    servers = source(prometheus, "Vllm")
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
    expected = {Measure.MEAN_DELAY: 1.2, Measure.FINISHED: 1800.0, Measure.INPUT_TOKENS: 80.0, Measure.OUTPUT_TOKENS: 200.0, Measure.THROUGHPUT: 140.0}  # fmt: skip
    assert by_measure == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(rate(unknown_total[$window]))", "has not answered yet|has no value"),
        ("sum(rate(", "Prometheus refuses the query: bad_data"),
        ('rate({__name__=~"envoy.*total"}[$window])', "series .by .*envoy_cluster_name.*; sum them"),
    ],
)
async def test_a_query_that_gives_nothing_or_too_much(prometheus: str, query: str, words: str) -> None:
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    gateway = source(prometheus, "EnvoyGateway", demand=query)
    entry = DemandEntry("chat", source=SourceRef("gateway", {"route": "iowa", "rule": "0"}))
    now = datetime.now(UTC)
    demand = MeasuredDemand(Collector(no_file, hub).series)
    try:
        with pytest.raises(SignalError, match=words):
            await demand.collect(entry, AREA, "inference", {"gateway": gateway}, Slots(now, 3600, 2), now)
    finally:
        await hub.close()


@pytest.mark.parametrize(
    ("template", "params"),
    [
        ("Istio", {"gateway": "shared", "host": "iowa.example.com"}),
        ("EnvoyGatewayEndpoints", {"route": "iowa", "rule": "0"}),
    ],
)
async def test_where_queries_went_is_what_the_gateway_counts(
    prometheus: str, template: str, params: dict[str, str]
) -> None:
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    gateway = source(prometheus, template, servedQueries=TEMPLATES[template].queries[Measure.SERVED])
    gateway = replace(gateway, settings=replace(gateway.settings, step_seconds=300))
    demand = MeasuredDemand(Collector(no_file, hub).series)
    entry = DemandEntry("chat", source=SourceRef("gateway", params))
    backends = {site: [backend(site)] for site in ("near", "cheap", "gone")}
    now = datetime.now(UTC)

    async def served(since: datetime, **in_force: float) -> Mapping[str, float] | None:
        return await demand.served(entry, "inference", backends, in_force, {"gateway": gateway}, since, now)

    try:
        # Of 4 queries a second 3 went to the near site, whatever the weights say.
        found = await served(now - timedelta(hours=1), near=0.5, cheap=0.5)
        assert found == pytest.approx({"near": 0.75, "cheap": 0.25, "gone": 0.0}, rel=0.01)
        # A site that has weight and of which nothing is counted: unknown, not nothing.
        assert await served(now - timedelta(hours=1), near=0.5, cheap=0.4, gone=0.1) is None
        # No step has passed since then.
        assert await served(now - timedelta(seconds=1), near=0.5, cheap=0.5) is None
        assert await served(now, near=0.5, cheap=0.5) is None
        gateway = source(prometheus, "EnvoyGateway")
        assert await served(now - timedelta(hours=1), near=0.5, cheap=0.5) is None
    finally:
        await hub.close()


async def test_a_check_asks_what_demands_and_servers_are_measured_by(prometheus: str) -> None:
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    gateway = replace(source(prometheus, "EnvoyGateway"), allowed_namespaces=Selector())
    servers = replace(source(prometheus, "Vllm"), name="servers")
    entry = DemandEntry("chat", source=SourceRef("gateway", {"route": "iowa", "rule": "0"}))
    area = DemandArea("iowa", (entry,), (RouteTarget(ROUTE, {"chat": "chat"}),))
    plain = a_fleet(demands={"inference/assistant": a_demand(areas=(area,))})
    own = SignalRef("servers", {"model": "m", "site": "near"})
    large = replace(plain.sites["near"].performance["large"], measurements=own)
    near = replace(plain.sites["near"], performance={"large": large})
    sources = {**plain.sources, "gateway": gateway, "servers": servers}
    resources = replace(plain, sources=sources, sites={**plain.sites, "near": near})
    request = admit(resources, {ROUTE: a_route()}).requests["default"]
    now = datetime.now(UTC)
    try:
        found = {row.kind: row for row in await check_measures(request, Collector(no_file, hub), hub, {}, now)}
    finally:
        await hub.close()
    assert set(found) == {
        Measure.DEMAND, Measure.MEAN_DELAY, Measure.FINISHED, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.THROUGHPUT
    }  # fmt: skip
    assert all(row.error is None for row in found.values())
    demand = found[Measure.DEMAND]
    assert demand.value is not None
    assert demand.value.value == pytest.approx(3600 * arriving_per_s(now.timestamp() - 1800), rel=0.1)
    assert (demand.unit, demand.params["namespace"]) == ("queries/h", "inference")
    assert found[Measure.FINISHED].value.value == pytest.approx(1800.0, rel=0.02)


async def test_the_last_minutes_of_a_site(prometheus: str) -> None:
    hub = LiveHub(HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0)
    params = {"site": "[a-z]+"}
    own = {
        Measure.P95_DELAY: 'sum(rate(vllm:request_success_total{site="$site"}[5m]))',
        Measure.ERROR_RATIO: 'sum(rate(unknown_total{site="$site"}[$window]))',
    }
    servers = replace(source(prometheus, "Vllm"), settings=replace(source(prometheus, "Vllm").settings, queries=own))
    collector, now, near = Collector(no_file, hub), datetime.now(UTC), a_site("near")
    asked = SourceRef("servers", {})
    known = {"servers": replace(servers, name="servers", params=params), "vllm": source(prometheus, "Vllm")}
    try:
        found = await collector.recent(near, asked, known, now)
        template = await collector.recent(near, SourceRef("vllm", {"model": "m"}), known, now)
        missing = await collector.recent(near, SourceRef("nobody", {}), known, now)
    finally:
        await hub.close()
    points = found[Measure.P95_DELAY]
    assert not isinstance(points, str)
    assert points[0].value == pytest.approx(0.5, rel=0.02), "a quarter of an hour ago"
    assert {(point.end - point.start).total_seconds() for point in points} == {5.0}
    assert 600 < (points[-1].end - points[0].end).total_seconds() <= 905
    assert found[Measure.ERROR_RATIO] == "errorRatio: SignalSource servers: has no value of the last minutes"
    # Prometheus takes the template's queries; it has scraped too seldom to answer them.
    assert set(template) == {Measure.P95_DELAY, Measure.ERROR_RATIO}
    assert all("has no value" in str(text) for text in template.values()), template
    assert missing == {Measure.P95_DELAY: 'there is no SignalSource "nobody"'}


async def test_what_is_only_shown_is_no_reason_to_plan(prometheus: str) -> None:
    seen: list[str] = []
    hub = LiveHub(
        HttpClient({prometheus}), FEEDS, no_secret, first_wait_seconds=10.0, changed=lambda: seen.append("changed")
    )
    gateway, now = source(prometheus, "EnvoyGateway"), datetime.now(UTC)
    params = {"route": "iowa", "rule": "0"}
    collector = Collector(no_file, hub)
    try:
        for measure, expected in ((Measure.MEAN_DELAY, []), (Measure.DEMAND, ["changed"])):
            query = SignalQuery(
                measure, params | {"namespace": "inference"}, now - timedelta(hours=2), now, now, measure.unit(""), "UTC"
            )  # fmt: skip
            assert (await collector.series(gateway, SourceRef("gateway", params), query)).points
            assert seen == expected
    finally:
        await hub.close()
