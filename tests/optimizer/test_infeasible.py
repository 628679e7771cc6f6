"""When no plan keeps every limit: the least violation, and what clashes by how much."""

from __future__ import annotations

import numpy as np
import pytest

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Diagnosis, LimitKind, Objective, Order, Result, Termination
from green_llm.errors import NoPlanError
from green_llm.optimizer import optimize
from green_llm.optimizer.diagnosis import routed_shares
from support.instances import an_instance


def infeasible(instance: Instance) -> Result:
    result = optimize(instance, Order((Objective.COST,)))
    assert result.termination is Termination.INFEASIBLE
    assert result.method == "least-violation"
    return result


def only(found: tuple[Diagnosis, ...]) -> Diagnosis:
    assert len(found) == 1, [entry.message for entry in found]
    return found[0]


def test_water() -> None:
    # Either site uses 1 kWh x 2 L/kWh = 2 L; the cap is 1.5 L: 0.5 L short.
    fault = only(infeasible(an_instance(wue=2.0, water_cap=1.5)).diagnosis)
    assert fault.kind is LimitKind.WATER_CAP
    assert (fault.required, fault.available, fault.shortfall) == pytest.approx((2.0, 1.5, 0.5))
    assert fault.message == "water cap 1.5 L is 0.5 L short: 2 L needed"


def test_delay() -> None:
    # The nearest site is 0.034 s away; the limit is 0.02 s.
    fault = only(infeasible(an_instance(network_delay=[[0.05, 0.034]], delay_limit=0.02)).diagnosis)
    assert fault.kind is LimitKind.DELAY_LIMIT
    assert (fault.where.area, fault.where.query_class, fault.where.slot) == ("area-0", "class-0", 0)
    assert (fault.required, fault.shortfall) == pytest.approx((0.034, 0.014))
    assert "the nearest site needs 0.034 s" in fault.message


def test_capacity() -> None:
    # 100 tokens, room for 30 + 50: a fifth is not served; routed, 37.5 and 62.5 tokens arrive: 7.5 and 12.5 too many.
    instance = an_instance(resource_capacity=[[30.0, 50.0]])
    result = infeasible(instance)
    assert result.plan.unserved[0, 0, 0] == pytest.approx(0.2)
    assert {(d.kind, d.where.site) for d in result.diagnosis} == {
        (LimitKind.CAPACITY, "site-0"), (LimitKind.CAPACITY, "site-1")
    }  # fmt: skip
    assert [d.shortfall for d in result.overload] == pytest.approx([7.5, 12.5])
    assert "resource-0 at site-0 is 25 % short in slot 0" in result.overload[0].message
    assert routed_shares(instance, result.plan)[0, :, 0, 0] == pytest.approx([0.375, 0.625])


def test_grid_limit() -> None:
    # 1 kWh needed; 0.3 and 0.5 kW for an hour there: a fifth is not served.
    result = infeasible(an_instance(grid_limit=[[0.3], [0.5]]))
    assert result.plan.unserved[0, 0, 0] == pytest.approx(0.2)
    assert {d.kind for d in result.diagnosis} == {LimitKind.GRID_LIMIT}
    assert [d.shortfall for d in result.overload] == pytest.approx([0.075, 0.125])
    assert result.overload[0].unit == "kW"


def test_no_allowed_site() -> None:
    result = infeasible(an_instance(classes=2, allowed=[[[False, True], [False, True]]]))
    fault = only(result.diagnosis)
    assert fault.kind is LimitKind.NO_ALLOWED_SITE
    assert "class class-0 from area area-0 has no allowed site" in fault.message
    # The other class is planned as ever.
    assert result.plan.shares[0, :, 1, 0].sum() == pytest.approx(1.0)


def test_two_limits_that_clash() -> None:
    # Site 0 is near (0.01 s) and thirsty (2 L/kWh), site 1 far (0.05 s) and dry. The delay limit 0.03 s needs half of it
    # at site 0: 1 L. The cap is 0.6 L. Delay counts first, so water is 0.4 L short; the delay limit is kept.
    result = infeasible(an_instance(network_delay=[[0.01, 0.05]], wue=[[2.0], [0.0]], delay_limit=0.03, water_cap=0.6))
    fault = only(result.diagnosis)
    assert fault.kind is LimitKind.WATER_CAP
    assert fault.shortfall == pytest.approx(0.4)
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.5, 0.5])


def test_the_users_order_still_counts_within_the_least_violation() -> None:
    # Water is short whatever is done (both 2 L/kWh); the cheaper site is chosen all the same.
    result = infeasible(an_instance(wue=2.0, water_cap=1.5, electricity_price=[[0.3], [0.1]]))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.0, 1.0])
    assert result.phases[0].optimum == pytest.approx(0.1)


def test_unserved_demand_keeps_the_weights_in_force() -> None:
    # No room at all: u = 1, and the weights in force (0.3, 0.7) stay.
    instance = an_instance(resource_capacity=0.0, current_shares=[[[0.3], [0.7]]])
    result = infeasible(instance)
    assert result.plan.unserved[0, 0, 0] == pytest.approx(1.0)
    assert routed_shares(instance, result.plan)[0, :, 0, 0] == pytest.approx([0.3, 0.7])


def test_fixed_shares_alone_can_be_served_in_part() -> None:
    # Fixed at site 0, which has room for 40 of 100 tokens: 60 % unserved, named as capacity.
    instance = an_instance(fixed_shares=[[[1.0], [0.0]]], resource_capacity=[[40.0, 1e6]])
    result = infeasible(instance)
    assert result.plan.unserved[0, 0, 0] == pytest.approx(0.6)
    assert only(result.diagnosis).where.site == "site-0"


def test_a_negative_grid_limit_is_no_plan_at_all() -> None:
    with pytest.raises(NoPlanError, match="fixed exceed a capacity or grid limit"):
        optimize(an_instance(grid_limit=-1.0))


def test_a_shortfall_is_exactly_what_is_missing() -> None:
    # Raise the cap by the shortfall and everything is kept; by 1 % less, and it is not.
    instance = an_instance(
        areas=2, sites=3, slots=2, wue=np.array([[1.0, 2.0], [3.0, 1.5], [0.5, 2.5]]), water_cap=1.0,
        resource_capacity=[[120.0, 120.0, 120.0]],
    )  # fmt: skip
    missing = only(infeasible(instance).diagnosis).shortfall
    enough, too_little = (Instance(**{**vars(instance), "water_cap": 1.0 + missing * part}) for part in (1.0, 0.99))
    assert optimize(enough).termination is Termination.OPTIMAL
    assert only(optimize(too_little).diagnosis).shortfall == pytest.approx(0.01 * missing)
