"""Calibration against a real Prometheus that scrapes real servers whose delay grows with their load as we say."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
THROUGHPUT = {"chat": 6e6, "summary": 12e6}
"""Of the example's classes, each with a server of its own at the site."""
BASE_SECONDS, TOKENS = 0.05, 100
RATES = {"chat": (2, 4, 6, 8, 10, 12), "summary": (12, 8, 4, 4, 8, 12)}
"""Queries per second, one level after the other; neighbours are near, since a sample may hold two of them, and classes unlike."""
LEVEL_SECONDS = 6.0
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


def of_class(own: list[float], others: list[float], ratio: float) -> list[Sample]:
    """Samples of a class whose delay grows with its own load, and with ``ratio`` of that of others."""
    return [
        Sample(a, 0.2 + 3600 * (a + ratio * b) / 1e6 + 0.02 * (-1) ** n, 100.0, b)
        for n, (a, b) in enumerate(zip(own, others, strict=True))
    ]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_a_class_is_told_from_the_others(ratio: float) -> None:
    own = [100.0 * n for n in range(1, 13)]
    found = fit(of_class(own, [300.0, 500.0, 400.0] * 4, ratio))
    assert isinstance(found, Fit)
    assert found.throughput_tokens_per_second == pytest.approx(1e6, rel=0.02)
    assert found.others_ratio == pytest.approx(ratio, abs=0.05)
    assert abs(found.others_ratio - ratio) < found.others_ratio_error
    assert found.base_delay_s == pytest.approx(0.2, abs=0.1)
    alike = fit(of_class(own, [2 * load for load in own], ratio))
    assert isinstance(alike, str)
    assert "rise and fall as one (correlation 1.000): whose the delay is cannot be told" in alike
    steady = fit(of_class(own, [400.0] * 12, ratio))
    assert isinstance(steady, Fit)
    assert steady.others_ratio is None, "it is part of the delay without load"
    assert steady.base_delay_s == pytest.approx(0.2 + 3600 * ratio * 400 / 1e6, abs=0.1)


@contextmanager
def serving(throughput: float) -> Iterator[int]:
    """A server of a site; its port."""
    port = free_port()
    behaviour = json.dumps({"throughput_tokens_per_second": throughput, "base_seconds": BASE_SECONDS})
    process = subprocess.Popen(
        [sys.executable, SERVER, "--name", "west", "--host", "127.0.0.1", "--port", str(port), "--model", "m",
         "--load-window-seconds", "1", "--behaviour", behaviour]
    )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def ask(ports: Mapping[str, int]) -> None:
    """Levels of load of every class at once, evenly spaced queries; answers may overlap."""
    body = {"model": "m", "messages": [{"role": "user", "content": "word " * (TOKENS // 2)}], "max_tokens": TOKENS // 2}

    async def one(session: aiohttp.ClientSession, port: int) -> None:
        async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200

    async def send(session: aiohttp.ClientSession, port: int, rates: Sequence[int], group: asyncio.TaskGroup) -> None:
        due = time.monotonic()
        for rate in rates:
            for _ in range(int(rate * LEVEL_SECONDS)):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(one(session, port))
                due += 1.0 / rate

    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(60):
            for port in ports.values():
                await ready(session, port)
        async with asyncio.TaskGroup() as group:
            for name, port in ports.items():
                group.create_task(send(session, port, RATES[name], group))


async def ready(session: aiohttp.ClientSession, port: int) -> None:
    while True:
        try:
            async with session.get(f"http://127.0.0.1:{port}/health"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)


@needs_prometheus
def test_known_servers_are_measured(tmp_path: Path, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = tmp_path / "resources"
    shutil.copytree(ROOT / "examples" / "three-sites", resources)
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(throughput)) for name, throughput in THROUGHPUT.items()}
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"site": "west", "class": name}}
            for name, port in ports.items()
        ]
        scrape = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
            "scrape_configs": [{"job_name": "sites", "static_configs": targets}],
        }
        host = stack.enter_context(running(tmp_path, yaml.safe_dump(scrape)))
        monkeypatch.setenv("GREEN_LLM_SIGNAL_HOSTS", host)
        began = time.time()
        asyncio.run(ask(ports))
        ended = time.time()
        site, profile = describe(resources, host)
        # The same samples for all: what is asked about has been scraped.
        begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t)) for t in (began + 4, ended - 2))
        arguments = ("calibrate", resources, "--site", site, "--from", begin, "--to", end, "--step", 2)
        ran = cli(*arguments, "--json")
        text = cli(*arguments)
        demand = resources / "demand.yaml"
        demand.write_text(demand.read_text().replace("chat", "talk").replace("summary", "digest"))
        renamed = cli(*arguments, "--json")
    whole, *classes = ran.json["sites"]
    assert (whole["site"], whole["profile"], whole["class"], whole["note"]) == (site, profile, None, "")
    assert [entry["class"] for entry in classes] == list(THROUGHPUT)
    for entry in classes:
        found = entry["fit"]
        assert entry["error"] is None
        # Servers, their users and Prometheus share a machine that is busy with other work; one v is twice the other.
        assert found["throughput_tokens_per_second"] == pytest.approx(THROUGHPUT[entry["class"]], rel=0.35)
        assert found["base_delay_s"] == pytest.approx(BASE_SECONDS, abs=0.25)
        assert abs(found["others_ratio"]) < max(0.5, 2 * found["others_ratio_error"]), "they share no server"
    assert text.status == ran.status == (0 if whole["error"] is None else 1)
    snippet = text.out.partition("# InferenceSite")[2].partition("\n")[2]
    for entry in classes:
        value = round(entry["fit"]["throughput_tokens_per_second"])
        assert f"# {profile}, class {entry['class']} alone: {value} ± " in snippet
    if whole["error"] is None:
        (told,) = yaml.safe_load(snippet)["spec"]["performance"]
        value = round(whole["fit"]["throughput_tokens_per_second"])
        assert told == {"profile": profile, "throughputTokensPerSecond": value}
    (unnamed,) = renamed.json["sites"]
    assert unnamed["note"] == "digest, talk are not told apart: no series has them as its class"
    assert unnamed["fit"] == whole["fit"]


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
