"""Calibration against a real Prometheus that scrapes a real server whose delay grows with its load as we say."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from cli.conftest import Run
from green_llm.domain.calibration import Fit, Sample, fit
from support.control_plane import free_port
from support.prometheus_server import running

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "deploy" / "kind" / "site" / "server.py"
THROUGHPUT, BASE_SECONDS, TOKENS = 12e6, 0.05, 100
RATES = (2, 4, 6, 8, 10, 12)
"""Queries per second, one level after the other; neighbours are near, since a sample may hold two of them."""
LEVEL_SECONDS = 4.0
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"
)


def samples(throughput: float, base: float, loads: list[float], noise: float = 0.0) -> list[Sample]:
    return [Sample(load, base + 3600 * load / throughput + noise * (-1) ** n, 100.0) for n, load in enumerate(loads)]


def test_the_line_is_found_with_its_error() -> None:
    loads = [100.0 * n for n in range(1, 21)]
    exact = fit(samples(1e6, 0.2, loads))
    assert isinstance(exact, Fit)
    assert (exact.throughput_tokens_per_second, exact.base_delay_s) == pytest.approx((1e6, 0.2))
    assert exact.throughput_error == pytest.approx(0.0, abs=1e-3)
    noisy = fit(samples(1e6, 0.2, loads, noise=0.5))
    assert isinstance(noisy, Fit)
    assert abs(noisy.throughput_tokens_per_second - 1e6) < noisy.throughput_error
    assert 0.9 < noisy.explained < 1.0


@pytest.mark.parametrize(
    ("loads", "throughput", "words"),
    [
        ([100.0, 200.0], 1e6, "2 intervals with traffic; at least 8 are needed"),
        ([100.0] * 10, 1e6, "the load was 100 … 100 tokens/s: it must vary"),
        ([100.0 + n for n in range(10)], 1e9, "the delay does not grow with the load more than by chance"),
    ],
)
def test_what_cannot_be_told_is_said(loads: list[float], throughput: float, words: str) -> None:
    found = fit(samples(throughput, 0.1, loads, noise=0.01))
    assert isinstance(found, str)
    assert words in found


@contextmanager
def serving() -> Iterator[int]:
    """A site's server; its port."""
    port = free_port()
    behaviour = json.dumps({"throughput_tokens_per_second": THROUGHPUT, "base_seconds": BASE_SECONDS})
    process = subprocess.Popen(
        [sys.executable, SERVER, "--name", "west", "--host", "127.0.0.1", "--port", str(port), "--model", "m",
         "--load-window-seconds", "1", "--behaviour", behaviour]
    )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def ask(port: int) -> None:
    """Levels of load, evenly spaced queries; answers may overlap."""
    body = {"model": "m", "messages": [{"role": "user", "content": "word " * (TOKENS // 2)}], "max_tokens": TOKENS // 2}
    url = f"http://127.0.0.1:{port}"

    async def one(session: aiohttp.ClientSession) -> None:
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200

    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(20):
            while True:
                try:
                    async with session.get(f"{url}/health"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        async with asyncio.TaskGroup() as group:
            due = time.monotonic()
            for rate in RATES:
                for _ in range(int(rate * LEVEL_SECONDS)):
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    group.create_task(one(session))
                    due += 1.0 / rate


@needs_prometheus
def test_a_known_server_is_measured(tmp_path: Path, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = tmp_path / "resources"
    shutil.copytree(ROOT / "examples" / "three-sites", resources)
    with serving() as port:
        scrape = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
            "scrape_configs": [
                {
                    "job_name": "sites",
                    "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"site": "west"}}],
                }
            ],
        }
        with running(tmp_path, yaml.safe_dump(scrape)) as host:
            monkeypatch.setenv("GREEN_LLM_SIGNAL_HOSTS", host)
            began = time.time()
            asyncio.run(ask(port))
            site, profile = describe(resources, host)
            begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began + 4))
            arguments = ("calibrate", resources, "--site", site, "--from", begin, "--step", 2)
            ran = cli(*arguments, "--json")
            text = cli(*arguments)
    (entry,) = ran.json["sites"]
    found = entry["fit"]
    assert (entry["site"], entry["profile"], entry["error"]) == (site, profile, None)
    assert found["throughput_tokens_per_second"] == pytest.approx(THROUGHPUT, rel=0.15)
    assert abs(found["throughput_tokens_per_second"] - THROUGHPUT) < 3 * found["throughput_error"] + 0.02 * THROUGHPUT
    assert found["base_delay_s"] == pytest.approx(BASE_SECONDS, abs=0.05)
    assert (ran.status, text.status) == (0, 0)
    snippet = yaml.safe_load(text.out.partition("# InferenceSite")[2].partition("\n")[2])
    (told,) = snippet["spec"]["performance"]
    assert told == {"profile": profile, "throughputTokensPerSecond": round(found["throughput_tokens_per_second"])}


def describe(resources: Path, host: str) -> tuple[str, str]:
    """One site of the example, whose servers are measured; the source; their names."""
    source = {
        "apiVersion": "greenllm.dev/v1alpha1", "kind": "SignalSource", "metadata": {"name": "servers"},
        "spec": {"provider": "Prometheus", "baseUrl": f"http://{host}", "prometheus": {"template": "Vllm"}},
    }  # fmt: skip
    (resources / "servers.yaml").write_text(yaml.safe_dump(source))
    for path in sorted(resources.rglob("*.yaml")):
        documents = list(yaml.safe_load_all(path.read_text()))
        for document in documents:
            if document["kind"] == "InferenceSite":
                performance = document["spec"]["performance"] = document["spec"]["performance"][:1]
                performance[0]["measurements"] = {"source": "servers", "params": {"model": "m", "site": "west"}}
                path.write_text(yaml.safe_dump_all(documents))
                return document["metadata"]["name"], performance[0]["profile"]
    raise AssertionError


def test_a_site_without_measurements_is_named(cli: Run) -> None:
    ran = cli("calibrate", ROOT / "examples" / "three-sites")
    assert ran.status == 1
    assert "it names no source: set performance[].measurements" in ran.out
    assert cli("calibrate", ROOT / "examples" / "three-sites", "--site", "nowhere").status == 2
