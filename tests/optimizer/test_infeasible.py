"""When no plan keeps every limit: the least violation, and what clashes by how much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Diagnosis, LimitKind, Objective, Order, Plan, Result, Termination, Tolerance
from green_llm.errors import NoPlanError
from green_llm.optimizer import Session, decomposition, optimize
from green_llm.optimizer.coefficients import is_fixed, scales
from green_llm.optimizer.diagnosis import routed_shares
from green_llm.optimizer.evaluate import facility_kwh, mean_delays, water_liters
from green_llm.optimizer.scaled import scaled
from support.instances import an_instance, changed, random_instance


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


def broken(instance: Instance, plan: Plan) -> FloatArray:
    """Σ λ u and Σ λ e / Δ by Σ λ, and the water excess by the cap."""
    load, limits = instance.demand, instance.delay_limit[..., None]
    limited = ~is_fixed(instance)[..., None] & np.isfinite(limits) & (load > 0)
    allowed = np.where(limited, limits, 0.0) * (1.0 - plan.unserved)
    beyond = np.where(limited, np.maximum(mean_delays(instance, plan.shares) - allowed, 0.0), 0.0)
    late = (load * beyond / np.maximum(np.where(limited, limits, 1.0), 1e-6)).sum()
    liters = water_liters(instance, facility_kwh(instance, plan.shares), plan.grid_energy_kwh).sum()
    water = 0.0 if instance.water_cap is None else max(0.0, liters - instance.water_cap) / instance.water_cap
    return np.array([(load * plan.unserved).sum() / load.sum(), late / load.sum(), water])


def short(seed: int, kind: str, part: float, *, plain: bool, steered: bool) -> Instance:
    """A random instance whose limits of some kinds are a part of what they were."""
    rng = np.random.default_rng(seed)
    found = random_instance(seed, plain=plain, areas=2 + seed % 3, sites=2 + seed % 4, slots=1 + seed % 4)
    cap = found.water_cap
    if steered:
        found = changed(found, fixed_shares=np.full_like(found.fixed_shares, np.nan))
    if seed % 2:
        raw = rng.uniform(0, 1, found.allowed.shape) * found.allowed
        found = changed(found, current_shares=raw / raw.sum(axis=1, keepdims=True))
    if kind in ("capacity", "all"):
        found = changed(found, resource_capacity=found.resource_capacity * part)
    if kind in ("delay", "all"):
        found = changed(found, delay_limit=found.delay_limit * part)
    if kind in ("water", "all"):
        found = changed(found, water_cap=None if cap is None else cap * part)
    if kind == "grid":
        found = changed(found, grid_limit=found.grid_limit * part)
    return found


@given(
    st.integers(0, 10_000), st.sampled_from(["capacity", "delay", "water", "grid", "all"]), st.floats(0.5, 0.97),
    st.permutations([Objective.COST, Objective.CARBON, Objective.DELAY]), st.sampled_from([0.0, 0.01]), st.booleans(),
    st.booleans(), st.sampled_from(["whole", "by slots", "nearly closed"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_fast_path_breaks_what_the_whole_programme_does(
    seed: int, kind: str, part: float, order: list[Objective], tolerance: float, plain: bool, steered: bool, way: str
) -> None:
    instance = short(seed, kind, part, plain=plain, steered=steered)
    objectives = Order(tuple(order), (Tolerance(tolerance),) * 3)
    with pytest.MonkeyPatch.context() as patch:
        if way != "whole":
            for name, value in (
                ("WHOLE", 0),
                ("EVERY_SITE", 0),
                ("NEAREST", 1),
                ("NEAREST_OF_ALL", 1),
                ("FEW", (1, 2)),
            ):
                patch.setattr(decomposition, name, value)
        if way == "nearly closed":
            patch.setattr(decomposition, "MANY", 0)
        ours = optimize(instance, objectives)
    theirs, size = optimize(instance, objectives, session=Session(planner=None)), scales(instance)
    assert (ours.termination, ours.method == "least-violation") == (
        theirs.termination,
        theirs.method == "least-violation",
    )
    assert ours.fallback_reason is None or not (plain or steered)
    assert broken(instance, ours.plan) == pytest.approx(broken(instance, theirs.plan), abs=1e-8)
    assert ours.plan.shares == pytest.approx(theirs.plan.shares, abs=1e-5)
    for mine, other in zip(ours.phases, theirs.phases, strict=True):
        assert abs(mine.optimum - other.optimum) <= 1e-6 * max(size[mine.objective], abs(other.optimum))
        assert mine.gap is not None
        assert mine.gap <= 1e-9


def test_many_pairs_break_their_limits_without_the_whole_programme() -> None:
    instance = scaled(300, 3, 4, 2)
    instance = changed(
        instance, resource_capacity=instance.resource_capacity * 0.3, delay_limit=instance.delay_limit * 0.9
    )
    ours, theirs = optimize(instance), optimize(instance, session=Session(planner=None))
    assert (ours.method, ours.fallback_reason) == ("least-violation", None)
    assert broken(instance, ours.plan) == pytest.approx(broken(instance, theirs.plan), rel=1e-6, abs=1e-9)


def test_a_pair_of_fixed_shares_that_may_go_unserved_needs_the_whole_programme() -> None:
    fixed = np.array([[[1.0], [0.0]], [[np.nan], [np.nan]]])
    result = infeasible(an_instance(areas=2, fixed_shares=fixed, resource_capacity=[[110.0, 50.0]]))
    assert result.fallback_reason == "demand with fixed shares may have to be left unserved"
