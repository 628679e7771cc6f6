"""Where queries went, as the real Envoy counts it by endpoint and the template asks the real Prometheus."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from green_llm.domain.series import Measure
from green_llm.domain.services import TEMPLATES
from green_llm.signals.feed import Ask
from green_llm.signals.providers.prometheus import filled
from support.control_plane import free_port
from support.prometheus_server import asked, running
from support.tools import needed

RULE = "httproute/inference/iowa/rule/0"
ADDRESSES = {"near": "127.0.0.2", "cheap": "127.0.0.3"}
QUERIES, WINDOW_SECONDS = 60, 30


class Site(ThreadingHTTPServer):
    """A back-end that counts what it is sent."""

    def __init__(self, address: str) -> None:
        self.count = 0
        super().__init__((address, 0), Answers)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Answers(BaseHTTPRequestHandler):
    """200 to everything."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.count += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def envoy(folder: Path, sites: dict[str, Site]) -> Iterator[tuple[str, str]]:
    """Envoy before the sites, three queries to the first for one to the second; its address and its admin's."""
    listens, admin = free_port(), free_port()
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": RULE}}]
        }]},
        "http_filters": [{
            "name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}
        }],
    }  # fmt: skip
    endpoints = [
        {
            "endpoint": {"address": {"socket_address": {"address": ADDRESSES[name], "port_value": site.port}}},
            "load_balancing_weight": weight,
        }
        for (name, site), weight in zip(sites.items(), (3, 1), strict=True)
    ]
    configuration = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {
            "listeners": [{
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": listens}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager", "typed_config": manager
                }]}],
            }],
            # What Envoy Gateway makes of a rule where its EnvoyProxy enables statistics by endpoint.
            "clusters": [{
                "name": RULE, "type": "STATIC", "track_cluster_stats": {"per_endpoint_stats": True},
                "load_assignment": {"cluster_name": RULE, "endpoints": [{"lb_endpoints": endpoints}]},
            }],
        },
    }  # fmt: skip
    (folder / "envoy.json").write_text(json.dumps(configuration))
    command = [needed("envoy"), "-c", str(folder / "envoy.json"), "--disable-hot-restart", "--concurrency", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{listens}/", f"127.0.0.1:{admin}"
    finally:
        process.terminate()
        process.wait(20)


def until_counted(host: str, least: float) -> None:
    """Until Prometheus has scraped this many queries."""
    end = time.monotonic() + 60.0
    while True:
        found = asked(host, f'sum(envoy_cluster_endpoint_rq_total{{envoy_cluster_name="{RULE}"}})', time.time())
        if found and float(found[0]["value"][1]) >= least:
            return
        assert time.monotonic() < end, f"not {least:g} queries in time: {found}"
        time.sleep(0.2)


def served(host: str, name: str) -> float:
    """Queries per second that were sent to a back-end, as the template asks for it."""
    now = datetime.now(UTC)
    query = TEMPLATES["EnvoyGatewayEndpoints"].queries[Measure.SERVED]
    params = {
        "namespace": "inference", "route": "iowa", "rule": "0", "backend": f"llm-{name}", "backendNamespace": "inference",
    }  # fmt: skip
    ask = Ask(
        kind=Measure.SERVED, params=params, start=now - timedelta(minutes=1), end=now, now=now, query=query,
        step_seconds=WINDOW_SECONDS,
    )  # fmt: skip
    found = asked(host, filled(ask), time.time())
    return float(found[0]["value"][1]) if found else 0.0


def test_shares_by_endpoint_are_what_the_sites_were_sent(tmp_path: Path) -> None:
    needed("prometheus")
    rules = [
        {  # as kube-state-metrics says it
            "record": "kube_endpoint_address", "expr": "vector(1)",
            "labels": {"namespace": "inference", "endpoint": f"llm-{name}", "ip": address, "ready": "true"},
        }
        for name, address in ADDRESSES.items()
    ]  # fmt: skip
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "state", "interval": "1s", "rules": rules}]}))
    with ExitStack() as stack:
        sites = {name: stack.enter_context(Site(address)) for name, address in ADDRESSES.items()}
        for site in sites.values():
            threading.Thread(target=site.serve_forever, daemon=True).start()
            stack.callback(site.shutdown)
        url, admin = stack.enter_context(envoy(tmp_path, sites))
        job = {"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": [admin]}]}
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": [job],
            "rule_files": [str(tmp_path / "rules.yml")],
        }  # fmt: skip
        host = stack.enter_context(running(tmp_path, json.dumps(configuration)))
        until_counted(host, 0.0)
        for _ in range(QUERIES):
            with urllib.request.urlopen(url, timeout=10):  # noqa: S310 - our own
                pass
        until_counted(host, QUERIES)
        found = {name: served(host, name) for name in (*ADDRESSES, "gone")}
        counted = {name: site.count for name, site in sites.items()}
    assert sum(counted.values()) == QUERIES
    assert min(counted.values()) > 0
    # rate() reaches beyond the first and last scrape, and not below zero: not exactly the same for both.
    assert found["near"] / (found["near"] + found["cheap"]) == pytest.approx(counted["near"] / QUERIES, rel=0.02)
    assert found["gone"] == 0.0
