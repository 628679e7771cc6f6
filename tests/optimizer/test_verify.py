"""The check of a plan finds every kind of fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from green_llm.domain.plan import Objective, Plan
from green_llm.errors import PlanCheckError
from green_llm.optimizer import optimize
from green_llm.optimizer.verify import check, require_valid
from support.instances import an_instance, random_instance


def a_plan(shares: Any, grid: Any = None, unserved: float = 0.0) -> Plan:
    array = np.array(shares, dtype=float).reshape(1, 2, 1, 1)
    return Plan(
        shares=array,
        grid_energy_kwh=np.array(grid if grid is not None else array[0, :, 0]).reshape(2, 1).astype(float),
        unserved=np.full((1, 1, 1), unserved),
    )


@pytest.mark.parametrize(
    ("instance", "shares", "grid", "equation", "words"),
    [
        ({}, [0.5, 0.4], None, "all_served", "sum to 0.9, not 1"),
        ({}, [1.5, -0.5], [1.5, 0.0], "shares", "is not between 0 and 1"),
        ({}, [0.5, 0.5], [0.5, 0.4], "balance", "0.5 kWh are needed from the grid, 0.4 are bought"),
        ({}, [0.5, 0.5], [0.5, 0.6], "no_burning", "0.6 kWh are bought, the site uses 0.5"),
        ({"allowed": [[[True], [False]]]}, [0.5, 0.5], None, "allowed", "goes to a site that may not serve"),
        ({"grid_limit": 0.4}, [0.5, 0.5], None, "grid_limit", "the grid connection of site-0 is 25 % short"),
        ({"resource_capacity": 40.0}, [0.5, 0.5], None, "capacity", "resource-0 at site-0 is 25 % short"),
        ({"wue": 1.0, "water_cap": 0.9}, [0.5, 0.5], None, "water_cap", "0.1 L short"),
        ({"delay_limit": 0.009}, [0.5, 0.5], None, "delay_limit", "cannot meet 0.009 s"),
        ({"fixed_shares": [[[0.7], [0.3]]]}, [0.5, 0.5], None, "fixed", "is 0.5, but fixed at 0.7"),
    ],
)
def test_a_fault_is_found_and_named(instance: Any, shares: Any, grid: Any, equation: str, words: str) -> None:
    data = an_instance(**instance)
    plan = a_plan(shares, grid)
    found = [violation for violation in check(data, plan) if violation.equation == equation]
    assert found
    assert words in found[0].message
    with pytest.raises(PlanCheckError, match="this is a defect"):
        require_valid(data, plan)


def test_unserved_demand_is_a_fault() -> None:
    plan = a_plan([0.5, 0.4], unserved=0.1)
    assert [violation.equation for violation in check(an_instance(), plan)] == ["unserved"]


def test_groups_that_differ_are_a_fault() -> None:
    data = an_instance(classes=2, share_groups=(((0, 0), (0, 1)),))
    plan = Plan(
        shares=np.array([[[[1.0], [0.0]], [[0.0], [1.0]]]]),
        grid_energy_kwh=np.array([[1.0], [1.0]]),
        unserved=np.zeros((1, 2, 1)),
    )
    assert [violation.equation for violation in check(data, plan)] == ["share_groups"]


def test_a_value_the_solver_did_not_say_is_a_fault() -> None:
    data = an_instance()
    plan = optimize(data).plan
    require_valid(data, plan, {Objective.COST: 0.1})
    with pytest.raises(PlanCheckError, match=r"cost is 0\.1 recomputed and 0\.2 by the solver"):
        require_valid(data, plan, {Objective.COST: 0.2})
    with pytest.raises(PlanCheckError, match=r"above its budget of 0\.05"):
        require_valid(data, plan, budgets={Objective.COST: 0.05})


@pytest.mark.parametrize("seed", range(20))
def test_a_small_push_in_any_direction_is_noticed(seed: int) -> None:
    data = random_instance(seed)
    plan = optimize(data).plan
    assert not check(data, plan)
    rng = np.random.default_rng(seed)
    shares = plan.shares.copy()
    busy = np.argwhere(data.demand > 0)
    i, k, t = busy[rng.integers(len(busy))]
    shares[i, rng.integers(shares.shape[1]), k, t] += 1e-5
    assert check(data, Plan(shares=shares, grid_energy_kwh=plan.grid_energy_kwh, unserved=plan.unserved))
