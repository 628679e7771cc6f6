"""Jobs give the same here and on local processes, which end with the one that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from green_llm.backtest.parallel import Job, run_jobs
from green_llm.backtest.run import run
from green_llm.errors import InvalidInputError
from support.backtests import METHODS, equal, jobs


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


BESIDE = """
import os, sys, time
sys.path.insert(0, {tests!r})
from green_llm.backtest.parallel import run_jobs
from support.backtests import jobs
run_jobs(jobs(24), lambda name, done, all: print(name, done, flush=True), processes=2)
"""


def _begin() -> tuple[subprocess.Popen[str], list[int]]:
    """A process with two jobs on their way, and the processes they are on."""
    script = BESIDE.format(tests=str(Path(__file__).parents[1]))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert {parent.stdout.readline().split()[0] for _ in range(4)} <= set(METHODS)
    server = [pid for pid in _children(parent.pid) if "forkserver" in _command(pid)]
    return parent, _children(server[0])


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def _ended(pid: int) -> bool:
    """Whether a process has ended, or only waits for somebody to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_processes_end_with_the_one_that_was_killed() -> None:
    parent, workers = _begin()
    assert len(workers) == 2
    assert not any(map(_ended, workers))
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 30
    while not all(map(_ended, workers)):
        assert time.monotonic() < deadline, "they would go on beside the next try"
        time.sleep(0.1)


def test_a_killed_process_is_one_message() -> None:
    parent, workers = _begin()
    os.kill(workers[0], signal.SIGKILL)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 1
    assert "WorkerError: a process was killed while it worked (out of memory?); the same command goes on" in said
