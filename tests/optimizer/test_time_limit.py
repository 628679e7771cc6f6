"""Out of time: a whole plan or a clear error, never half a plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from green_llm.domain.plan import Objective, Order, Plan, Termination
from green_llm.errors import TimeUpError
from green_llm.optimizer import optimize
from green_llm.optimizer.session import Session
from green_llm.optimizer.solver import Ending, Solver
from green_llm.optimizer.verify import check
from support.instances import an_instance, changed, paper_size, random_instance


class Stopped(Session):
    """A session whose solver is out of time from some run on: a clock that can be set."""

    def __init__(self, after: int) -> None:
        super().__init__(Solver(), planner=None)
        real, runs = self.solver._run, iter(range(100))

        def run(method: Any, deadline: float | None) -> Ending | None:
            return real(method, deadline) if next(runs) < after else Ending.TIME_LIMIT

        self.solver._run = run  # type: ignore[method-assign]


def test_stopped_in_a_later_phase_gives_the_plan_before_it() -> None:
    instance = random_instance(3, plain=True)
    full = optimize(instance)
    for after in (1, 2):
        result = optimize(instance, session=Stopped(after))
        assert result.termination is Termination.TIME_LIMIT
        assert [phase.objective for phase in result.phases] == list(Order().objectives[:after])
        assert list(result.phases_not_reached) == list(Order().objectives[after:])
        assert [p.optimum for p in result.phases] == pytest.approx([p.optimum for p in full.phases[:after]])
        assert not check(instance, result.plan)


def test_stopped_before_finishing_is_a_whole_plan_of_all_phases() -> None:
    instance = random_instance(3, plain=True)
    result = optimize(instance, session=Stopped(3))
    assert result.termination is Termination.TIME_LIMIT
    assert not result.phases_not_reached
    assert not check(instance, result.plan)


def test_stopped_in_the_first_phase_takes_the_best_simple_plan() -> None:
    # Nearest is site 1 at 0.3 $; uniform costs 0.2 $; the previous plan (all at site 0) 0.1 $.
    instance = an_instance(electricity_price=[[0.1], [0.3]], network_delay=[[0.2, 0.1]])
    cost = Order((Objective.COST,))
    assert optimize(instance, cost, session=Stopped(0)).method == "uniform"
    previous = optimize(instance, cost).plan
    result = optimize(instance, cost, session=Stopped(0), previous=previous)
    assert (result.method, result.termination) == ("previous", Termination.TIME_LIMIT)
    assert result.phases_not_reached == (Objective.COST,)
    assert result.values.cost == pytest.approx(0.1)


def test_a_previous_plan_that_breaks_a_limit_is_not_taken() -> None:
    instance = an_instance(electricity_price=[[0.1], [0.3]], resource_capacity=[[90.0, 1e6]])
    previous = Plan(
        shares=np.array([[[[1.0]], [[0.0]]]]), grid_energy_kwh=np.array([[1.0], [0.0]]), unserved=np.zeros((1, 1, 1))
    )
    assert optimize(instance, session=Stopped(0), previous=previous).method in ("uniform", "nearest")


def test_with_no_plan_that_keeps_every_limit_it_is_an_error() -> None:
    # Uniform puts 50 tokens on site 0 (room for 40), nearest all 100 on site 1 (room for 70).
    instance = an_instance(resource_capacity=[[40.0, 70.0]], network_delay=[[0.2, 0.1]])
    with pytest.raises(TimeUpError, match="time was up in the first phase"):
        optimize(instance, session=Stopped(0))


def test_stopped_before_the_least_violation_is_clear_is_an_error() -> None:
    instance = an_instance(wue=2.0, water_cap=1.5)
    with pytest.raises(TimeUpError, match="before it was clear which clash"):
        optimize(instance, session=Stopped(1))


def test_stopped_after_the_least_violation_is_infeasible_all_the_same() -> None:
    instance = an_instance(wue=2.0, water_cap=1.5)
    result = optimize(instance, session=Stopped(4))
    assert result.termination is Termination.INFEASIBLE
    assert result.diagnosis[0].shortfall == pytest.approx(0.5)


def test_a_real_clock_is_obeyed() -> None:
    instance = changed(paper_size(1), current_shares=np.full((9, 9, 5), 1 / 9))
    result = optimize(instance, time_limit_s=1e-9)
    assert result.termination is Termination.TIME_LIMIT
    assert not check(instance, result.plan)
