"""A real Prometheus that scrapes Envoy and the sites."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from support.control_plane import free_port
from support.traffic.sites import PORT, TrafficSite


@contextmanager
def scraping(folder: Path, envoy: str, sites: Mapping[str, TrafficSite], host: str = "") -> Iterator[str]:
    """Its address, with port; it scrapes every second."""
    host = host or f"127.0.0.1:{free_port()}"
    servers = [{"targets": [f"{site.address}:{PORT}"], "labels": {"site": name}} for name, site in sites.items()]
    jobs = [
        {"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": [envoy]}]},
        {"job_name": "sites", "static_configs": servers},
    ]
    configuration = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    arguments = [
        "--config.file", folder / "prometheus.yml", "--storage.tsdb.path", folder / "data", "--web.listen-address", host,
    ]  # fmt: skip
    process = subprocess.Popen(
        ["prometheus", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while query(host, "up") is None:
            if time.monotonic() > end:
                raise RuntimeError("Prometheus has scraped nothing")
            time.sleep(0.2)
        yield host
    finally:
        process.terminate()
        process.wait(20)


def query(host: str, text: str) -> float | None:
    """The value of an instant query's first series; None without one."""
    address = f"http://{host}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except (urllib.error.URLError, OSError):
        return None
    return float(found[0]["value"][1]) if found else None
