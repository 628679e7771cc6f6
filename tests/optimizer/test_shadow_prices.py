"""Shadow prices against one-sided finite differences of whole lexicographic solves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Binding, LimitKind, Objective, Order, Tolerance
from green_llm.optimizer import optimize
from green_llm.optimizer.coefficients import scales
from support.instances import changed, random_instance

ORDER = Order((Objective.COST, Objective.EMISSIONS, Objective.DELAY), (Tolerance(0.01),) * 3)
STEP = 1e-5
"""Relative change of a limit: small enough to stay in one basis, large enough for the solver's tolerance."""


def raised(instance: Instance, binding: Binding, by: float) -> Instance:
    where = binding.where
    if binding.limit is LimitKind.WATER_CAP:
        return changed(instance, water_cap=(instance.water_cap or 0.0) + by)
    if binding.limit is LimitKind.GRID_LIMIT:
        limit = instance.grid_limit.copy()
        limit[instance.sites.index(where.site or ""), where.slot] += by
        return changed(instance, grid_limit=limit)
    if binding.limit is LimitKind.DELAY_LIMIT:
        limit = instance.delay_limit.copy()
        limit[instance.areas.index(where.area or ""), instance.classes.index(where.query_class or "")] += by
        return changed(instance, delay_limit=limit)
    limit = instance.resource_capacity.copy()
    j = instance.sites.index(where.site or "")
    limit[instance.resources.index(where.resource or ""), j] += by / (1.0 - instance.headroom[j])
    return changed(instance, resource_capacity=limit)


def optima(instance: Instance) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([phase.optimum for phase in optimize(instance, ORDER).phases])


@pytest.mark.parametrize("slots", [1])
@pytest.mark.parametrize("seed", range(12))
def test_prices_are_total_derivatives(seed: int, slots: int) -> None:
    # One slot: capacity and delay limits hold in every slot, so more slots would move several rows at once.
    instance = random_instance(seed, slots=slots, areas=3, sites=4, classes=2, plain=True)
    result, base, size = optimize(instance, ORDER), optima(instance), scales(instance)
    objectives = [phase.objective for phase in result.phases]
    checked = 0
    for binding in result.binding:
        step = STEP * max(1e-3, abs(binding.cap))
        up = (optima(raised(instance, binding, step)) - base) / step
        down = (base - optima(raised(instance, binding, -step))) / step
        for price in binding.prices:
            n = objectives.index(price.objective)
            low, high = sorted((down[n], up[n]))
            margin = 1e-3 * max(abs(low), abs(high)) + 1e-7 * size[price.objective] / step
            # At a kink any value between the two one-sided derivatives is a dual.
            assert low - margin <= price.value <= high + margin, (binding, price, low, high)
            checked += 1
    assert checked, "nothing binds; the instance shows nothing"


def test_units() -> None:
    units: dict[LimitKind, Callable[[str], bool]] = {
        LimitKind.WATER_CAP: lambda u: u.endswith("/L"),
        LimitKind.GRID_LIMIT: lambda u: u.endswith("/kW"),
        LimitKind.DELAY_LIMIT: lambda u: u.endswith("/s"),
        LimitKind.CAPACITY: lambda u: "/" in u,
    }
    for seed in range(5):
        for binding in optimize(random_instance(seed, plain=True), ORDER).binding:
            assert binding.prices or binding.used == pytest.approx(binding.cap)
            assert all(units[binding.limit](price.unit) for price in binding.prices)
