"""Jobs on a real Dask scheduler and real workers, each a process of its own, which die, are missing, or are wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from green_llm.backtest import cluster
from green_llm.backtest.parallel import Job, run_jobs
from green_llm.backtest.run import run
from green_llm.errors import InvalidInputError, WorkerError
from support.backtests import equal, jobs

distributed = pytest.importorskip("distributed", reason="Dask is missing; install green-llm[dask]")

DASK = "from distributed.cli.dask_{0} import main; main()"
WITHOUT = "import sys; sys.modules['green_llm'] = None; "
OLDER = "import green_llm.backtest.cluster as c; c.version = lambda _: '0.0.1'; "


class Dask:
    """A scheduler, and workers that are told apart by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._begin("", "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
        _until(file.exists)
        self.address = json.loads(file.read_text(encoding="utf-8"))["address"]

    def work(self, before: str = "") -> None:
        """One more worker, in a directory of its own."""
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", self.folder / f"worker-{len(self.workers)}")
        self.workers.append(self._begin(before, "worker", self.address, *options))

    def have(self, count: int) -> None:
        """Wait until so many work."""
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)

    def _begin(self, before: str, role: str, *options: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", before + DASK.format(role), *map(str, options), "--no-dashboard"]
        folder = self.folder / f"{role}-{len(self.workers)}-directory"
        folder.mkdir()
        with (self.folder / f"{folder.name}.log").open("wb") as log:
            return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def end(self) -> None:
        """Nothing is left."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def _until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it has taken too long")


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    found = Dask(tmp_path)
    yield found
    found.end()


def while_running(work: dict[str, Job], address: str, then: Callable[[], None]) -> tuple[object, list[int]]:
    """What jobs came to when something happened after their second interval, and the intervals that were told."""
    begun, told = threading.Event(), []

    def report(_name: str, done: int, _all: int) -> None:
        told.append(done)
        if done >= 2:
            begun.set()

    def act() -> None:
        assert begun.wait(300)
        then()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        return run_jobs(work, report, scheduler=address), told
    except WorkerError as error:
        return error, told
    finally:
        thread.join()


def test_workers_die_and_nothing_is_lost(dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("green_llm.backtest.replay.SAVE_SECONDS", 0.0)
    here = run_jobs(jobs(8), lambda *_: None)
    for _ in range(2):
        dask.work()
    dask.have(2)

    def kill() -> None:
        os.kill(dask.workers[0].pid, signal.SIGKILL)

    there, _ = while_running(jobs(8, tmp_path / "kept"), dask.address, kill)
    assert isinstance(there, dict)
    assert equal(here, there)
    assert dask.workers[0].wait(30) == -signal.SIGKILL
    left = {path.name for folder in tmp_path.glob("worker-*-directory") for path in folder.rglob("*")}
    assert not left, "a worker writes nothing where nobody looks"


def test_a_scheduler_dies_and_the_next_goes_on(dask: Dask, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    dask.work("import green_llm.backtest.replay as r; r.SAVE_SECONDS = 0.0; ")
    dask.have(1)
    failed, _ = while_running(jobs(12, kept), dask.address, dask.scheduler.kill)
    assert isinstance(failed, WorkerError)
    assert "the connection to tcp://127.0.0.1:" in str(failed)
    assert "goes on from what was last kept" in str(failed)
    told: list[tuple[str, int]] = []
    again = run_jobs(jobs(12, kept), lambda name, done, _all: told.append((name, done)))
    assert told[0][1] > 2, "not from the beginning"
    assert equal(again, run_jobs(jobs(12), lambda *_: None))


def test_a_scheduler_without_workers_is_said(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "WORKERLESS_SECONDS", 1.0)
    with pytest.raises(WorkerError, match=r"has had no worker for 1 s; start some \(dask worker tcp://127"):
        run_jobs(jobs(1), lambda *_: None, scheduler=dask.address)


@pytest.mark.parametrize(
    ("before", "message"),
    [(WITHOUT, "green_llm"), (OLDER, r"it has green-llm 0\.0\.1, and .* asks; install green-llm")],
)
def test_a_worker_that_cannot_do_it_is_said(dask: Dask, before: str, message: str) -> None:
    dask.work(before)
    dask.have(1)
    with pytest.raises(InvalidInputError, match=f"tcp://127.* cannot do the work: .*{message}"):
        run_jobs(jobs(1), lambda *_: None, scheduler=dask.address)


def test_an_error_is_its_own_message(dask: Dask) -> None:
    dask.work()
    dask.have(1)
    task = replace(jobs(1)["ours"].arguments[0], policy="other")
    with pytest.raises(InvalidInputError, match='there is no GreenPolicy "other"'):
        run_jobs({"wrong": Job(run, (task,))}, lambda *_: None, scheduler=dask.address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:9", "Timed out trying to connect to tcp://127.0.0.1:9 after 0.5 s"),
        ("http://127.0.0.1:8786", "unknown address scheme 'http'"),
        ("nowhere", "missing port number in address 'nowhere'"),
    ],
)
def test_a_wrong_address_is_said(monkeypatch: pytest.MonkeyPatch, address: str, why: str) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InvalidInputError, match=f"{address} cannot be reached: {why}"):
        run_jobs(jobs(1), lambda *_: None, scheduler=address)


def test_a_server_that_is_no_scheduler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "tcp://127.0.0.1:{1}".format(*silent.getsockname())
        with pytest.raises(InvalidInputError, match=f"{address} cannot be reached: "):
            run_jobs(jobs(1), lambda *_: None, scheduler=address)
