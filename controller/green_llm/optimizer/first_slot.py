"""The first slot of an instance as an instance of its own: what other slots use is taken off the limits they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective, Plan, Tolerance, Values
from green_llm.optimizer.diagnosis import violation_stages
from green_llm.optimizer.evaluate import facility_kwh, values, water_liters
from green_llm.optimizer.finishing import stay_close
from green_llm.optimizer.kernel import refill
from green_llm.optimizer.layout import layout
from green_llm.optimizer.lexicographic import Done, Stage
from green_llm.optimizer.session import Session
from green_llm.optimizer.solver import Ending, Solution
from green_llm.optimizer.standard_form import StandardForm

BY_SLOT = (
    "demand", "electricity_price", "carbon_intensity", "renewable_power", "grid_limit", "wue", "ewif", "token_size",
)  # fmt: skip
"""Fields whose last axis is the slot."""


def keep_weights(
    instance: Instance,
    budgets: Sequence[tuple[Mapping[Objective, float], float, float]],
    plan: Plan,
    scales: dict[Objective, float],
    session: Session,
    deadline: float | None,
    *,
    relaxed: bool = False,
) -> Plan:
    """The plan with the first slot moved to the weights in force: see ``stay_close``.

    Args:
        instance: the parameters.
        budgets: of every phase the objective, as weights of the five, the most it may be, and its scale.
        plan: the finished one.
        scales: of the objectives.
        session: what its solver held is forgotten.
        deadline: a ``time.perf_counter`` reading.
        relaxed: the plan is a least violation; it stays one.
    """
    if np.isnan(instance.current_shares).all() or not instance.demand[..., 0].any():
        return plan
    liters = water_liters(instance, facility_kwh(instance, plan.shares), plan.grid_energy_kwh).sum(axis=0)
    cap = instance.water_cap
    first = replace(
        instance,
        slots=1,
        water_cap=None if cap is None else cap - float(liters[1:].sum()),
        **{name: getattr(instance, name)[..., :1].copy() for name in BY_SLOT},
    )
    form = refill(first, layout(first), relaxed=relaxed)
    n = form.layout.column_triple
    mine = plan.shares[form.layout.areas[n], form.layout.column_site, form.layout.classes[n], 0]
    columns = np.concatenate([mine, plan.grid_energy_kwh[:, 0]])
    done, worth = [], _elsewhere(instance, plan)
    if relaxed:
        columns = np.concatenate([columns, _exceeded(form, columns, plan)])
        stages = violation_stages(form, scales[Objective.WATER])
        done += [_held(s.coefficients, float(s.coefficients @ columns), s.scale) for s in stages]
    for weights, most, scale in budgets:
        coefficients = sum((w * form.objectives[o] for o, w in weights.items()), start=np.zeros(len(columns)))
        elsewhere = sum(weight * worth.of(objective) for objective, weight in weights.items())
        done.append(_held(coefficients, most - elsewhere, scale))
    moved = stay_close(form, done, columns, scales, session, deadline)
    return _with_first(form, moved, plan)


def _exceeded(form: StandardForm, columns: FloatArray, plan: Plan) -> FloatArray:
    """The relaxed programme's last columns for its first: what is unserved, delay excess, water excess."""
    frame, parts = form.layout, form.parts
    unserved = plan.unserved[frame.areas, frame.classes, 0]
    begun = np.concatenate([columns, unserved, np.zeros(form.matrix.shape[1] - len(columns) - len(unserved))])
    beyond = form.matrix @ begun - form.row_upper
    late, water = (np.maximum(beyond[form.blocks[name]], 0.0) for name in ("delay_limit", "water_cap"))
    excess = parts["water_excess"]
    return np.concatenate([unserved, late, water if len(water) else np.zeros(excess.stop - excess.start)])


def _elsewhere(instance: Instance, plan: Plan) -> Values:
    """What all slots but the first add to the objectives."""
    later = replace(
        instance,
        slots=instance.slots - 1,
        **{name: getattr(instance, name)[..., 1:].copy() for name in BY_SLOT},
    )
    shares, grid, unserved = plan.shares[..., 1:].copy(), plan.grid_energy_kwh[:, 1:].copy(), plan.unserved[..., 1:]
    return values(later, Plan(shares, grid, unserved.copy()))


def _held(coefficients: FloatArray, most: float, scale: float) -> Done:
    """A phase that may be at most so much."""
    nothing = np.empty(0)
    stage = Stage("held", coefficients, Tolerance(absolute=0.0), scale)
    return Done(stage, Solution(Ending.OPTIMAL, nothing, nothing, nothing, most, most, 0.0))


def _with_first(form: StandardForm, columns: FloatArray, plan: Plan) -> Plan:
    shares, grid, unserved = plan.shares.copy(), plan.grid_energy_kwh.copy(), plan.unserved.copy()
    shares[..., 0] = form.shares(columns)[..., 0]
    grid[:, 0] = form.grid(columns)[:, 0]
    if form.relaxed:
        unserved[..., 0] = form.unserved(columns)[..., 0]
    return Plan(shares, grid, unserved)
