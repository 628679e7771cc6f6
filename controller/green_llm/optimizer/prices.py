"""Shadow prices of limits: the total derivative of each phase's optimum, by the chain rule.

The dual of phase k alone is not it: when a limit moves, earlier optima move, and with them the budgets phase k works
under. So the total is the own dual plus, for every earlier budget row m, its dual times how much the budget follows
its optimum (``Tolerance.follows``) times the total derivative of that optimum. A phase
kept by fixing needs no such term: what is fixed at a limit moves with it and carries its own dual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Binding, LimitKind, Objective, Plan, ShadowPrice, Where
from green_llm.optimizer.coefficients import is_fixed
from green_llm.optimizer.ended import BINDS, LimitDuals, PhaseEnd
from green_llm.optimizer.evaluate import facility_kwh, mean_delays, used_resources, water_liters
from green_llm.optimizer.lexicographic import Done
from green_llm.optimizer.standard_form import StandardForm

PRICED = 1e-9
"""Smallest price that counts: of the objective's scale, for the whole limit."""


@dataclass(frozen=True)
class _Kind:
    """All limits of one kind."""

    limit: LimitKind
    used: FloatArray
    cap: FloatArray
    """As ``used``; inf where there is no limit."""
    derivatives: FloatArray
    """[phases, …], objective unit per ``unit`` of the cap."""
    where: Callable[..., Where]
    unit: Callable[..., str]


def binding_limits(
    instance: Instance, ends: Sequence[PhaseEnd], objectives: Sequence[Objective], plan: Plan
) -> tuple[Binding, ...]:
    """Limits that bind in the plan or were priced in a phase, with their prices by phase."""
    totals = total_derivatives(ends) or [LimitDuals.none(instance)]
    scales = np.array([end.scale_or_1 for end in ends] or [1.0])
    return tuple(binding for kind in _kinds(instance, plan, totals) for binding in _bindings(kind, objectives, scales))


def _bindings(kind: _Kind, objectives: Sequence[Objective], scales: FloatArray) -> Iterator[Binding]:
    size = np.where(np.isfinite(kind.cap), np.maximum(np.abs(kind.cap), 1e-9), 1.0)
    floor = PRICED * scales.reshape(-1, *[1] * kind.cap.ndim) / size
    priced = np.isfinite(kind.cap) & (np.abs(kind.derivatives) > floor)
    tight = kind.used >= kind.cap - BINDS * np.maximum(1.0, size)
    found = np.nonzero(priced.any(axis=0) | tight)
    units = [objective.unit for objective in objectives[: len(scales)]]
    rows = zip(
        zip(*(axis.tolist() for axis in found), strict=True), kind.used[found].tolist(), kind.cap[found].tolist(),
        np.moveaxis(kind.derivatives, 0, -1)[found].tolist(), np.moveaxis(priced, 0, -1)[found].tolist(), strict=True,
    )  # fmt: skip
    for index, used, cap, derivatives, counts in rows:
        unit = kind.unit(*index)
        prices = tuple(
            ShadowPrice(objective, price, f"{per}/{unit}")
            for objective, per, price, counted in zip(objectives, units, derivatives, counts, strict=False)
            if counted
        )
        yield Binding(limit=kind.limit, where=kind.where(*index), used=used, cap=cap, unit=unit, prices=prices)


def total_derivatives(ends: Sequence[PhaseEnd]) -> list[LimitDuals]:
    """D optimum / d limit by phase."""
    totals: list[LimitDuals] = []
    for end in ends:
        total = end.duals
        for dual, earlier, derivatives in zip(end.budgets, ends, totals, strict=False):
            if dual:
                total = total.plus(derivatives, dual * earlier.tolerance.follows(earlier.optimum))
        totals.append(total)
    return totals


def ends_of(form: StandardForm, done: Sequence[Done]) -> tuple[PhaseEnd, ...]:
    """The phases of a solve of the whole programme."""
    return tuple(
        PhaseEnd(
            name=phase.stage.name, tolerance=phase.stage.tolerance, scale=phase.stage.scale,
            optimum=phase.solution.objective, first_slot=_first_slot(form, phase), lower_bound=phase.solution.lower_bound,
            seconds=phase.solution.seconds,
            duals=_duals(form, phase),
            budgets=tuple(
                0.0 if earlier.budget_row is None else float(phase.solution.row_duals[earlier.budget_row])
                for earlier in done[:n]
            ),
        )
        for n, phase in enumerate(done)
    )  # fmt: skip


def _first_slot(form: StandardForm, phase: Done) -> float:
    """What slot 0 adds to the phase's optimum."""
    layout, parts = form.layout, form.parts
    terms = phase.stage.coefficients * phase.solution.columns
    now = layout.slots[layout.column_triple] == 0
    return float(terms[parts["share"]][now].sum() + form.grid(terms)[:, 0].sum())


def _duals(form: StandardForm, phase: Done) -> LimitDuals:
    instance, layout, solution = form.instance, form.layout, phase.solution
    found, blocks, grid = LimitDuals.none(instance), form.blocks, form.parts["grid_energy"]
    if layout.capacity_rows:
        found.capacity[tuple(np.array(layout.capacity_rows).T)] = solution.row_duals[blocks["capacity"]]
    n = layout.delay_rows
    found.delay[layout.areas[n], layout.classes[n], layout.slots[n]] = solution.row_duals[blocks["delay_limit"]]
    at_limit = solution.columns[grid] >= form.column_upper[grid] * (1.0 - BINDS)
    found.grid[:] = np.where(at_limit, solution.column_duals[grid], 0.0).reshape(found.grid.shape)
    return LimitDuals(float(solution.row_duals[blocks["water_cap"]].sum()), found.capacity, found.grid, found.delay)


def _kinds(instance: Instance, plan: Plan, totals: Sequence[LimitDuals]) -> Iterator[_Kind]:
    facility = facility_kwh(instance, plan.shares)
    if instance.water_cap is not None:
        used = np.array([water_liters(instance, facility, plan.grid_energy_kwh).sum()])
        yield _Kind(
            LimitKind.WATER_CAP, used, np.array([instance.water_cap]), np.array([[t.water] for t in totals]),
            lambda _: Where(), lambda _: "L",
        )  # fmt: skip
    cap = np.repeat(instance.usable_capacity[..., None], instance.slots, axis=2)
    yield _Kind(
        LimitKind.CAPACITY, used_resources(instance, plan.shares), cap, np.array([t.capacity for t in totals]),
        lambda r, j, t: Where(site=instance.sites[j], slot=t, resource=instance.resources[r]),
        lambda r, _j, _t: instance.resources[r],
    )  # fmt: skip
    # Grid connections in kW: the duals are per kWh, so a price per kW is slot_hours as much.
    hours = instance.slot_hours
    yield _Kind(
        LimitKind.GRID_LIMIT, plan.grid_energy_kwh / hours, instance.grid_limit, np.array([t.grid * hours for t in totals]),
        lambda j, t: Where(site=instance.sites[j], slot=t), lambda _j, _t: "kW",
    )  # fmt: skip
    # In the relaxed programme the row is D ≤ Δ (1 − u) + e.
    served = 1.0 - plan.unserved
    means = np.divide(mean_delays(instance, plan.shares), served, out=np.zeros_like(served), where=served > BINDS)
    limited = ~is_fixed(instance)[..., None] & (instance.demand > 0)
    yield _Kind(
        LimitKind.DELAY_LIMIT, means, np.where(limited, instance.delay_limit[..., None], np.inf),
        np.array([t.delay * served for t in totals]),
        lambda i, k, t: Where(area=instance.areas[i], query_class=instance.classes[k], slot=t),
        lambda _i, _k, _t: "s",
    )  # fmt: skip
