"""A real Prometheus whose past was written before it starts."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

DAYS, SCRAPE = 3, 60
RULE = "httproute/inference/iowa/rule/0"
YOUNG = "httproute/inference/young/rule/0"
YOUNG_PER_S = 3.0


def arriving_per_s(moment: float) -> float:
    """Queries per second: a day's wave in UTC."""
    return 2.0 + math.sin(moment / 86400 * 2 * math.pi)


def young_since(now: float) -> float:
    """When a rule was first scraped: two hours ago, ten minutes into a quarter of an hour."""
    return now // 900 * 900 - 7200 + 600


def exposition(now: float) -> str:
    """Three days of counters, and one of less. The gateway's restarts on the way; retries count in its total too."""
    gauges: list[str] = []
    counters = {
        f'envoy_cluster_upstream_rq_total{{envoy_cluster_name="{RULE}"}}': lambda t: 1.1 * arriving_per_s(t),
        f'envoy_cluster_upstream_rq_retry{{envoy_cluster_name="{RULE}"}}': lambda t: 0.1 * arriving_per_s(t),
        'envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/other/iowa/rule/0"}': lambda _: 50.0,
        'envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/inference/iowa/rule/01"}': lambda _: 50.0,
        f'envoy_cluster_upstream_rq_total{{envoy_cluster_name="{YOUNG}"}}': lambda _: YOUNG_PER_S,
        'istio_requests_total{reporter="source",source_workload="gw",request_host="iowa.example.com",destination_service_name="a"}': arriving_per_s,
        **{
            f'istio_requests_total{{reporter="source",source_workload="shared",request_host="iowa.example.com",destination_service_name="llm-{site}",destination_service_namespace="inference"}}': lambda _, rate=rate: rate
            for site, rate in (("near", 3.0), ("cheap", 1.0))
        },
        'istio_requests_total{reporter="destination",source_workload="gw",request_host="iowa.example.com"}': lambda _: 50.0,
        'vllm:request_success_total{model_name="m",site="near",finished_reason="stop"}': lambda _: 0.5,
        'vllm:prompt_tokens_total{model_name="m",site="near"}': lambda _: 40.0,
        'vllm:generation_tokens_total{model_name="m",site="near"}': lambda _: 100.0,
        'vllm:e2e_request_latency_seconds_sum{model_name="m",site="near"}': lambda _: 0.6,
        'vllm:e2e_request_latency_seconds_count{model_name="m",site="near"}': lambda _: 0.5,
        f'envoy_cluster_upstream_rq_time_sum{{envoy_cluster_name="{RULE}"}}': lambda t: 250.0 * arriving_per_s(t),
        f'envoy_cluster_upstream_rq_time_count{{envoy_cluster_name="{RULE}"}}': arriving_per_s,
        'istio_request_duration_milliseconds_sum{reporter="source",source_workload="gw",request_host="iowa.example.com"}': lambda t: 250.0 * arriving_per_s(t),
        'istio_request_duration_milliseconds_count{reporter="source",source_workload="gw",request_host="iowa.example.com"}': arriving_per_s,
    }  # fmt: skip
    # Two pods stand for the near site and one for the cheap one; one of another rule has the near site's address too.
    for address, site, rate in (("10.0.0.1", "near", 1.0), ("fd00::2", "near", 2.0), ("10.0.0.3", "cheap", 1.0)):
        port = f"[{address}]:8000" if ":" in address else f"{address}:8000"
        for rule, each in ((RULE, rate), ("httproute/inference/other/rule/0", 50.0)):
            labels = f'envoy_cluster_name="{rule}",envoy_endpoint_address="{port}"'
            counters[f"envoy_cluster_endpoint_rq_total{{{labels}}}"] = lambda _, each=each: each
        gauges.append(
            f'kube_endpoint_address{{namespace="inference",endpoint="llm-{site}",ip="{address}",ready="true"}}'
        )
    start = (now - DAYS * 86400) // SCRAPE * SCRAPE
    lines = []
    for name, rate in counters.items():
        total, moment, restarted = 0.0, young_since(now) if YOUNG in name else start, False
        lines.append(f"# TYPE {name.partition('{')[0].removesuffix('_total')} unknown")
        while moment <= now:
            if not restarted and "inference/iowa" in name and moment > now - 40 * 3600:
                total, restarted = 0.0, True
            lines.append(f"{name} {total} {moment:.0f}")
            total += rate(moment) * SCRAPE
            moment += SCRAPE
    lines.append("# TYPE kube_endpoint_address unknown")
    for gauge in gauges:
        lines += [f"{gauge} 1 {moment:.0f}" for moment in range(int(start), int(now) + 1, SCRAPE)]
    types: set[str] = set()
    kept = [line for line in lines if not line.startswith("#") or (line not in types and not types.add(line))]  # type: ignore[func-returns-value]
    return "\n".join(kept) + "\n# EOF\n"


@contextmanager
def prometheus_server(root: Path, jobs: Mapping[str, str] | None = None, rules: Path | None = None) -> Iterator[str]:
    """Its address, with port; it has counted for three days, and scrapes ``jobs`` (name: address) every second."""
    (root / "past.txt").write_text(exposition(datetime.now(UTC).timestamp()))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(root / "past.txt"), str(root / "data")]
    subprocess.run(command, check=True, capture_output=True)
    configuration = {
        "global": {"scrape_interval": "1m", "evaluation_interval": "1s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [
            {"job_name": job, "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
            for job, target in (jobs or {}).items()
        ],
    }
    with running(root, json.dumps(configuration)) as host:
        yield host


@contextmanager
def running(root: Path, configuration: str) -> Iterator[str]:
    """The address of a Prometheus with a configuration; its data are in ``root``."""
    (root / "prometheus.yml").write_text(configuration)
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
        asyncio.run(_ready(host))
        yield host
    finally:
        process.terminate()
        process.wait(10)


def asked(host: str, what: str, at: float) -> list[dict[str, Any]]:
    """The result of an instant query at a moment: series with their labels, and a value or values.

    Raises:
        AssertionError: Prometheus refuses the query; the message says why.
    """
    body = urllib.parse.urlencode({"query": what, "time": f"{at:.3f}"}).encode()
    try:
        with urllib.request.urlopen(f"http://{host}/api/v1/query", body, timeout=30) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{what}: {error.read().decode()}") from error
    result: list[dict[str, Any]] = found["data"]["result"]
    return result


async def _ready(host: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"http://{host}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
