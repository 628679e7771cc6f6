"""Steps of many programmes at a time: each finds what it finds alone, and an error of one is everybody's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import highspy
import numpy as np
import pytest

from green_llm.optimizer import running
from green_llm.optimizer.running import PERTURBATION, Steps, StoppedError, TimeIsUpError, alone, together
from green_llm.optimizer.solver import live_highs


def _steps(number: int, runs: int, ran_on: set[int]) -> Steps[float]:
    """Minimise x ≥ k for k of 0, 1, … runs − 1; the sum of the optima, and ``number`` before it."""
    highs, total = live_highs(), 100.0 * number
    highs.addCol(1.0, 0.0, 10.0, 0, np.empty(0, dtype=np.int32), np.empty(0))
    for k in range(runs):
        ran_on.add(threading.get_ident())
        highs.changeColBounds(0, float(k), 10.0)
        yield highs
        assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        total += highs.getInfo().objective_function_value
    return total


@contextmanager
def _threads(count: int) -> Iterator[Executor | None]:
    with ThreadPoolExecutor(count) if count > 1 else nullcontext() as executor:
        yield executor


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_finds_what_it_finds_alone_and_python_stays_on_one_thread(count: int) -> None:
    ran_on: set[int] = set()
    runs = [number % 5 for number in range(20)]
    with _threads(count) as executor:
        found = together([_steps(n, k, ran_on) for n, k in enumerate(runs)], executor, None)
    assert found == [alone(_steps(n, k, set()), None) for n, k in enumerate(runs)]
    assert found == [100.0 * n + k * (k - 1) / 2 for n, k in enumerate(runs)]
    assert ran_on == {threading.get_ident()}


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_run_or_between_runs_ends_all(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Steps[float]:
        yield from _steps(1, 1, set())
        raise StoppedError("sifting did not end")

    with _threads(count) as executor, pytest.raises(StoppedError, match="sifting did not end"):
        together([_steps(0, 3, set()), broken(), _steps(2, 3, set())], executor, None)

    def late(_highs: highspy.Highs, _deadline: float | None) -> None:
        raise TimeIsUpError

    monkeypatch.setattr(running, "run", late)
    with _threads(count) as executor, pytest.raises(TimeIsUpError):
        together([_steps(0, 3, set()), _steps(1, 1, set())], executor, None)


def test_costs_are_no_longer_perturbed_where_a_run_has_no_clear_end() -> None:
    highs = live_highs()
    highs.setOptionValue("presolve", "off")
    nothing = np.empty(0)
    for cost in (1.0, 2.0, 3.0):
        highs.addCol(cost, 0.0, 10.0, 0, nothing.astype(np.int32), nothing)
    for least in (1.0, 2.0, 3.0):
        highs.addRow(least, 20.0, 3, np.arange(3, dtype=np.int32), np.array([least, 1.0, 1.0 / least]))
    running.run(highs, None)
    assert highs.getOptionValue(PERTURBATION)[1] == 1.0
    highs.clearSolver()
    highs.setOptionValue("simplex_iteration_limit", 0)
    with pytest.raises(StoppedError, match="no clear end"):
        running.run(highs, None)
    assert highs.getOptionValue(PERTURBATION)[1] == 0.0
