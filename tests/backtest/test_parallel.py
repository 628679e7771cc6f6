"""Jobs give the same here, on processes and on a Dask cluster of which a worker dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from green_llm.backtest.methods import Method
from green_llm.backtest.parallel import Job, run_jobs
from green_llm.backtest.replay import Task
from green_llm.backtest.run import Ran, run
from green_llm.errors import InvalidInputError
from support.recorded_days import recorded_world, span

METHODS = (Method.OURS, Method.CHEAPEST)


def jobs(hours: int, checkpoints: Path | None = None) -> dict[str, Job]:
    world = recorded_world(3)
    return {
        method.value: Job(
            run,
            (
                Task(
                    world=world, policy="default", method=method, span=span(hours / 24),
                    checkpoint=None if checkpoints is None else checkpoints / f"{method}.npz",
                ),
            ),
        )
        for method in METHODS
    }  # fmt: skip


def equal(one: dict[str, Ran], other: dict[str, Ran]) -> bool:
    return set(one) == set(other) and all(
        np.array_equal(one[name].tally.series["cost_paid"], other[name].tally.series["cost_paid"])
        and one[name].tally.site_queries.sum() == pytest.approx(other[name].tally.site_queries.sum())
        for name in one
    )


def test_processes_give_what_one_gives() -> None:
    seen: dict[str, int] = {}
    here = run_jobs(jobs(4), lambda *_: None)
    there = run_jobs(jobs(4), lambda name, done, _all: seen.update({name: done}), processes=2)
    assert equal(here, there)
    assert seen == {method.value: 4 for method in METHODS}, "progress crosses processes"


def test_an_error_in_a_process_is_its_own_message() -> None:
    found = jobs(4)
    task = found["ours"].arguments[0]
    with pytest.raises(InvalidInputError, match='no GreenPolicy "other"'):
        run_jobs(found | {"wrong": Job(run, (replace(task, policy="other"),))}, lambda *_: None, processes=2)


def test_a_cluster_gives_the_same_though_a_worker_dies(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is missing; install green-llm[dask]")
    here = run_jobs(jobs(8), lambda *_: None)
    killed: list[int] = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        begun = threading.Event()

        def report(_name: str, done: int, _all: int) -> None:
            if done >= 2:
                begun.set()

        def kill() -> None:
            assert begun.wait(500)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

        thread = threading.Thread(target=kill)
        thread.start()
        there = run_jobs(jobs(8), report, scheduler=cluster.scheduler_address)
        thread.join()
        assert killed
        assert not _alive(pids[0])
    assert equal(here, there)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be looked after does not."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


def test_a_cluster_that_is_not_there_is_said() -> None:
    with pytest.raises(InvalidInputError, match="cannot be reached"):
        run_jobs(jobs(1), lambda *_: None, scheduler="tcp://127.0.0.1:9")
