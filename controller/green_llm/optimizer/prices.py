"""Shadow prices of limits: the total derivative of each phase's optimum, by the chain rule.

The dual of phase k alone is not it: when a limit moves, earlier optima move, and with them the budgets phase k works
under. So the total is the own dual plus, for every earlier budget row m, its dual times how much the budget follows
its optimum (``Tolerance.follows``) times the total derivative of that optimum. A phase
kept by fixing needs no such term: what is fixed at a limit moves with it and carries its own dual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Binding, LimitKind, Objective, Plan, ShadowPrice, Where
from green_llm.optimizer.evaluate import facility_kwh, mean_delays, used_resources, water_liters
from green_llm.optimizer.lexicographic import Done
from green_llm.optimizer.standard_form import StandardForm

BINDS = 1e-6
"""A limit binds where less than this share of it is left."""
PRICED = 1e-9
"""Smallest price that counts: of the objective's scale, for the whole limit."""


@dataclass(frozen=True)
class _Limit:
    kind: LimitKind
    where: Where
    used: float
    cap: float
    unit: str
    derivatives: FloatArray
    """By phase, objective unit per ``unit`` of the cap."""


def binding_limits(
    form: StandardForm, done: Sequence[Done], objectives: Sequence[Objective], plan: Plan
) -> tuple[Binding, ...]:
    """Limits that bind in the plan or were priced in a phase, with their prices by phase."""
    totals = total_derivatives(form, done)
    found = []
    for limit in _limits(form, plan, totals):
        floor = [PRICED * d.stage.scale_or_1 / max(abs(limit.cap), 1e-9) for d in done]
        prices = tuple(
            ShadowPrice(objective, float(value), f"{objective.unit}/{limit.unit}")
            for objective, value, least in zip(objectives, limit.derivatives, floor, strict=False)
            if abs(value) > least
        )
        if prices or limit.used >= limit.cap - BINDS * max(1.0, abs(limit.cap)):
            found.append(
                Binding(
                    limit=limit.kind, where=limit.where, used=limit.used, cap=limit.cap, unit=limit.unit, prices=prices
                )
            )
    return tuple(found)


def total_derivatives(form: StandardForm, done: Sequence[Done]) -> FloatArray:
    """D optimum / d limit by phase, [phases, rows of the programme + grid columns]: rows first, then grid limits."""
    rows = form.matrix.shape[0]
    grid = form.parts["grid_energy"]
    totals = np.zeros((len(done), rows + grid.stop - grid.start))
    for k, phase in enumerate(done):
        solution = phase.solution
        at_limit = solution.columns[grid] >= form.column_upper[grid] * (1.0 - BINDS)
        own = np.concatenate([solution.row_duals[:rows], np.where(at_limit, solution.column_duals[grid], 0.0)])
        totals[k] = own
        for m, earlier in enumerate(done[:k]):
            if earlier.budget_row is not None:
                totals[k] += (
                    solution.row_duals[earlier.budget_row]
                    * earlier.stage.tolerance.follows(earlier.solution.objective)
                    * totals[m]
                )
    return totals


def _limits(form: StandardForm, plan: Plan, totals: FloatArray) -> Iterator[_Limit]:
    """Every limit the programme has a row or bound for."""
    instance, layout, blocks = form.instance, form.layout, form.blocks
    facility = facility_kwh(instance, plan.shares)
    if instance.water_cap is not None:
        used = float(water_liters(instance, facility, plan.grid_energy_kwh).sum())
        price = totals[:, blocks["water_cap"].start]
        yield _Limit(LimitKind.WATER_CAP, Where(), used, instance.water_cap, "L", price)
    use = used_resources(instance, plan.shares)
    for row, (r, j, t) in enumerate(layout.capacity_rows, start=blocks["capacity"].start):
        where = Where(site=instance.sites[j], slot=t, resource=instance.resources[r])
        cap = float(instance.usable_capacity[r, j])
        yield _Limit(LimitKind.CAPACITY, where, float(use[r, j, t]), cap, instance.resources[r], totals[:, row])
    yield from _grid_limits(instance, plan, totals[:, form.matrix.shape[0] :])
    delays = mean_delays(instance, plan.shares)
    for row, n in enumerate(layout.delay_rows.tolist(), start=blocks["delay_limit"].start):
        i, k, t = int(layout.areas[n]), int(layout.classes[n]), int(layout.slots[n])
        where = Where(area=instance.areas[i], query_class=instance.classes[k], slot=t)
        # In the relaxed form the row is D ≤ Δ (1 − u) + e.
        served = 1.0 - float(plan.unserved[i, k, t])
        mean = float(delays[i, k, t]) / served if served > BINDS else 0.0
        cap = float(instance.delay_limit[i, k])
        yield _Limit(LimitKind.DELAY_LIMIT, where, mean, cap, "s", totals[:, row] * served)


def _grid_limits(instance: Instance, plan: Plan, totals: FloatArray) -> Iterator[_Limit]:
    """Grid connections in kW: the bound is in kWh, so a price per kWh is slot_hours prices per kW."""
    hours = instance.slot_hours
    for cell in range(len(instance.sites) * instance.slots):
        j, t = divmod(cell, instance.slots)
        used = float(plan.grid_energy_kwh[j, t]) / hours
        where = Where(site=instance.sites[j], slot=t)
        yield _Limit(LimitKind.GRID_LIMIT, where, used, float(instance.grid_limit[j, t]), "kW", totals[:, cell] * hours)
