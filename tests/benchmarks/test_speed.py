"""Figures of speed, as ratios within one run. Not part of the test suite: run with ``just bench``."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from green_llm.bootstrap.embedded import EmbeddedRun
from green_llm.domain import instance_file
from green_llm.domain.instance import Instance
from green_llm.domain.plan import Order
from green_llm.optimizer import Session, optimize
from green_llm.settings import Settings
from support import plain_highs
from support.instances import paper_size, shaken

pytestmark = pytest.mark.benchmark
ROUNDS = 7
EXAMPLES = Path(__file__).parents[2] / "examples"


def the_instance() -> Instance:
    folder = os.environ.get("GREEN_LLM_INSTANCES")
    return instance_file.read(Path(folder) / "paper.json") if folder else paper_size()


def test_solving_against_plain_highs(capsys: pytest.CaptureFixture[str]) -> None:
    """From the parsed instance to the verified plan, against plain HiGHS on arrays (solves only)."""
    instance, order = the_instance(), Order()
    live = Session()
    optimize(instance, order, session=live)
    cold, warm, finishing = [], [], []
    for number in range(ROUNDS):
        later = shaken(instance, number)
        optima, plain = plain_highs.solve(later, order)
        fresh = optimize(later, order)
        again = optimize(later, order, session=live)
        for result in (fresh, again):
            assert [p.optimum for p in result.phases] == pytest.approx(optima, rel=1e-6)
        cold.append(fresh.seconds / plain)
        warm.append(again.seconds / plain)
        finishing.append(fresh.finishing_seconds / fresh.seconds)
    found = [statistics.median(values) for values in (cold, warm, finishing)]
    with capsys.disabled():
        print(
            f"\n{instance.name}: cold {found[0]:.2f} x plain, warm {found[1]:.2f} x, finishing {found[2]:.0%} of a cold solve"
        )
    assert found[0] <= 2.5
    assert found[1] <= 1.5
    assert found[2] <= 0.5


def test_from_a_changed_signal_to_written_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine sites: the median time from an edit of a recording to the last route on disk."""
    root = Path(shutil.copytree(EXAMPLES / "us-nine-sites", tmp_path / "nine"))
    embedded = EmbeddedRun(root, Settings(), replay=True)
    prices = root / "signals" / "electricityPrice" / "texas.csv"

    async def intervals() -> list[float]:
        now, found = datetime(2026, 10, 20, 12, tzinfo=UTC), []
        reading = await embedded.read()
        await embedded.reconcile(reading.requests["default"], now)
        for number in range(12):
            now += timedelta(hours=1)
            lines = prices.read_text().splitlines(keepends=True)
            start, end, _, *rest = lines[100].split(",")
            prices.write_text("".join([*lines[:100], ",".join([start, end, f"{number}.5", *rest]), *lines[101:]]))
            begun = time.perf_counter()
            assert embedded.store.changed()
            reading = await embedded.read()
            outcome = await embedded.reconcile(reading.requests["default"], now)
            found.append(time.perf_counter() - begun)
            assert any(row.written for row in outcome.weights)
        return found[2:]

    median = statistics.median(asyncio.run(intervals()))
    with capsys.disabled():
        print(f"\nnine sites: changed signal to written weights, median {median:.2f} s")
    assert median < 1.0


def test_idle_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Resident memory of a planner of nine sites between two intervals."""
    root = Path(shutil.copytree(EXAMPLES / "us-nine-sites", tmp_path / "nine"))
    process = subprocess.Popen([sys.executable, "-m", "green_llm", "run", str(root), "--metrics-port", "0"])
    try:
        end = time.monotonic() + 60
        while not (root / "policy.status.yaml").exists():
            assert time.monotonic() < end
            time.sleep(0.2)
        time.sleep(2.0)
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        megabytes = pages * resource.getpagesize() / 1e6
    finally:
        process.terminate()
        process.wait()
    with capsys.disabled():
        print(f"\nidle memory {megabytes:.0f} MB")
    assert megabytes < 300
