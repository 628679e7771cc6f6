"""The Green-LLM model in Pyomo: one function, one named component per equation, in the paper's order.

Source: Cheng & Nguyen, arXiv 2507.09942, section III; what is ours is said. Index sets: i areas, j sites, k classes,
t slots, r resources. ``m.data`` is the instance, ``m.layout`` says which variables and rows there are, ``m.relaxed``
whether limits may be exceeded at a price (least violation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.numeric_expr import LinearExpression

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.coefficients import (
    delay_seconds,
    grid_prices,
    resource_use,
    water_per_facility_kwh,
)
from green_llm.optimizer.layout import Layout

Model = Any
"""A Pyomo ConcreteModel; Pyomo ships no types."""


def shares(m: Model) -> None:
    r"""x_ijkt ∈ [0, 1]: share of the queries of class k from area i in slot t that site j serves.

    Only where there is demand and the site may serve the pair (ours: ``allowed``). A share that is given
    (ours: ``fixed_shares``) has equal bounds; in the relaxed model ``fixed`` holds it instead.
    """
    layout: Layout = m.layout
    given = layout.share(np.repeat(m.data.fixed_shares[..., None], m.data.slots, axis=3))
    m.share = pyo.Var(m.keys, bounds=(0.0, 1.0))
    m.x = list(m.share.values())
    for n in [] if m.relaxed else np.nonzero(~np.isnan(given))[0].tolist():
        m.x[n].setlb(given[n])
        m.x[n].setub(given[n])


def grid_energy(m: Model) -> None:
    """P^g_jt ≥ 0: energy bought from the grid, kWh in the slot."""
    m.grid_energy = pyo.Var(m.sites, m.slots, bounds=(0, None))


def it_energy(m: Model) -> None:
    """P^c_jt = Σ_ik (τ_in,jk h_k + τ_out,jk f_k) λ_ikt x_ijkt, kWh of IT energy."""
    energy = m.layout.share(m.data.energy_per_query[None, :, :, None] * m.data.demand[:, None])
    m.it_energy = pyo.Expression(m.sites, m.slots, rule=lambda _m, j, t: _sum(m, energy, m.served[j, t]))


def facility_energy(m: Model) -> None:
    """P^d_jt = PUE_j P^c_jt, kWh of facility energy."""
    pue = m.data.pue.tolist()
    m.facility_energy = pyo.Expression(m.sites, m.slots, rule=lambda _m, j, t: pue[j] * m.it_energy[j, t])


def balance(m: Model) -> None:
    """P^d_jt − P^g_jt ≤ P^w_jt · slot_hours: the grid covers what on-site renewables do not, kWh."""
    available = m.data.available_kwh
    m.balance = pyo.Constraint(
        m.sites,
        m.slots,
        rule=lambda _m, j, t: m.facility_energy[j, t] - m.grid_energy[j, t] <= float(available[j, t]),
    )


def grid_limit(m: Model) -> None:
    """P^g_jt ≤ P^max_jt · slot_hours: the grid connection, kWh."""
    limit = m.data.grid_limit_kwh
    m.grid_limit = pyo.Constraint(m.sites, m.slots, rule=lambda _m, j, t: m.grid_energy[j, t] <= float(limit[j, t]))


def no_burning(m: Model) -> None:
    """P^g_jt ≤ P^d_jt (ours): nothing is bought to be burnt when the price is negative, kWh."""
    m.no_burning = pyo.Constraint(
        m.sites, m.slots, rule=lambda _m, j, t: m.facility_energy[j, t] - m.grid_energy[j, t] >= 0
    )


def water_cap(m: Model) -> None:
    """Σ_jt (WUE_jt / PUE_j + EWIF_jt) P^d_jt ≤ Z: water of the whole horizon, L.

    With ``offsite_water: grid`` (ours) EWIF is charged on P^g instead. Relaxed: ≤ Z + excess.
    """
    if m.data.water_cap is None:
        return
    excess = m.water_excess if m.relaxed else 0.0
    m.water_cap = pyo.Constraint(expr=_water(m) - excess <= m.data.water_cap)


def capacity(m: Model) -> None:
    """Σ_ik α_jkr (h_k + f_k) λ_ikt x_ijkt ≤ C_rj (1 − headroom_j): resources, in resource units (headroom is ours)."""
    use = [m.layout.share(resource_use(m.data, r)) for r in range(len(m.data.resources))]
    limit = m.data.usable_capacity

    def rule(_m: Model, r: int, j: int, t: int) -> Any:
        return _sum(m, use[r], m.served[j, t]) <= float(limit[r, j])

    m.capacity = pyo.Constraint(list(m.layout.capacity_rows), rule=rule)


def all_served(m: Model) -> None:
    """Σ_j x_ijkt = 1: all demand is served. Relaxed: Σ_j x_ijkt + u_ikt = 1."""
    one = np.ones(m.layout.columns)

    def rule(_m: Model, i: int, k: int, t: int) -> Any:
        return _sum(m, one, m.serving[i, k, t]) + (m.unserved[i, k, t] if m.relaxed else 0.0) == 1

    m.all_served = pyo.Constraint(m.triples, rule=rule)


def delay_limit(m: Model) -> None:
    """D_ikt = Σ_j [β_ikt λ_ikt (h_k+f_k)/B_ij + d_ij + v_jk (h_k+f_k) λ_ikt] x_ijkt ≤ Δ_ik, s.

    Relaxed: D_ikt ≤ Δ_ik (1 − u_ikt) + e_ikt. Not imposed on fixed pairs (ours): their delay is reported.
    """

    def rule(_m: Model, i: int, k: int, t: int) -> Any:
        limit = float(m.data.delay_limit[i, k])
        if not m.relaxed:
            return _mean_delay(m, i, k, t) <= limit
        return _mean_delay(m, i, k, t) + limit * m.unserved[i, k, t] - m.delay_excess[i, k, t] <= limit

    m.delay_limit = pyo.Constraint([m.triples[n] for n in m.layout.delay_rows], rule=rule)


def share_groups(m: Model) -> None:
    """x_ijkt = x_i'jk't for pairs that share a route rule (ours)."""
    rows = m.layout.group_rows
    m.share_groups = pyo.Constraint(range(len(rows)), rule=lambda _m, n: m.x[rows[n][1]] - m.x[rows[n][0]] == 0)


def fixed(m: Model) -> None:
    """x_ijkt = share_ijk (1 − u_ikt) for pairs that cannot be steered (ours); relaxed only: else they are bounds."""
    rows = [key for key in m.keys if not math.isnan(m.data.fixed_shares[key[:3]])] if m.relaxed else []

    def rule(_m: Model, i: int, j: int, k: int, t: int) -> Any:
        share = float(m.data.fixed_shares[i, j, k])
        return m.share[i, j, k, t] + share * m.unserved[i, k, t] == share

    m.fixed = pyo.Constraint(rows, rule=rule)


def unserved(m: Model) -> None:
    """u_ikt ∈ [0, 1] (ours, relaxed): share of the queries for which no site has room."""
    m.unserved = pyo.Var(m.triples, bounds=(0, 1))


def delay_excess(m: Model) -> None:
    """e_ikt ≥ 0 (ours, relaxed): delay above the limit, s."""
    m.delay_excess = pyo.Var([m.triples[n] for n in m.layout.delay_rows], bounds=(0, None))


def water_excess(m: Model) -> None:
    """Water above the cap, ≥ 0 (ours, relaxed), L."""
    m.water_excess = pyo.Var(bounds=(0, None))


def cost(m: Model) -> None:
    """Σ_jt c_jt P^g_jt, $ (the paper's C_energy)."""
    _minimise(m, "cost", _grid_sum(m, Objective.COST))


def carbon(m: Model) -> None:
    """Σ_jt δ_j θ_jt P^g_jt, $ (the paper's C_carbon)."""
    _minimise(m, "carbon", _grid_sum(m, Objective.CARBON))


def delay(m: Model) -> None:
    """Σ_ikt ρ_k D_ikt, $ (the paper's C_delay)."""
    penalty = m.data.delay_penalty
    _minimise(m, "delay", pyo.quicksum(float(penalty[k]) * _mean_delay(m, i, k, t) for i, k, t in m.triples))


def emissions(m: Model) -> None:
    """Σ_jt θ_jt P^g_jt, kgCO2 (ours)."""
    _minimise(m, "emissions", _grid_sum(m, Objective.EMISSIONS))


def water(m: Model) -> None:
    """Σ_jt (WUE_jt / PUE_j + EWIF_jt) P^d_jt, L (ours); EWIF on P^g with ``offsite_water: grid``."""
    _minimise(m, "water", _water(m))


VARIABLES: tuple[Callable[[Model], None], ...] = (shares, grid_energy)
RELAXATION: tuple[Callable[[Model], None], ...] = (unserved, delay_excess, water_excess)
EXPRESSIONS: tuple[Callable[[Model], None], ...] = (it_energy, facility_energy)
CONSTRAINTS: tuple[Callable[[Model], None], ...] = (
    balance,
    grid_limit,
    no_burning,
    water_cap,
    capacity,
    all_served,
    delay_limit,
    share_groups,
    fixed,
)
OBJECTIVES: dict[Objective, Callable[[Model], None]] = {
    Objective.COST: cost,
    Objective.CARBON: carbon,
    Objective.DELAY: delay,
    Objective.EMISSIONS: emissions,
    Objective.WATER: water,
}


def prepare(instance: Instance, layout: Layout, *, relaxed: bool = False) -> Model:
    """A model with its index sets and no equation yet.

    ``m.keys`` are the indices of the shares, ``m.x`` (once ``shares`` has run) the shares themselves; ``m.served`` and
    ``m.serving`` say which of them belong to a site and slot, and to an area, class and slot.
    """
    m = pyo.ConcreteModel(name=instance.name)
    m.data, m.layout, m.relaxed = instance, layout, relaxed
    m.sites, m.slots = range(len(instance.sites)), range(instance.slots)
    m.triples = list(zip(layout.areas.tolist(), layout.classes.tolist(), layout.slots.tolist(), strict=True))
    m.keys, m.serving = [], {triple: [] for triple in m.triples}
    m.served = {(j, t): [] for j in m.sites for t in m.slots}
    for column, (n, j) in enumerate(zip(layout.column_triple.tolist(), layout.column_site.tolist(), strict=True)):
        i, k, t = m.triples[n]
        m.keys.append((i, j, k, t))
        m.serving[i, k, t].append(column)
        m.served[j, t].append(column)
    m.delays = layout.share(delay_seconds(instance))
    return m


def state(instance: Instance, layout: Layout, *, relaxed: bool = False) -> Model:
    """The whole model: variables, energy expressions, constraints and every objective (none active)."""
    m = prepare(instance, layout, relaxed=relaxed)
    for equation in (*VARIABLES, *(RELAXATION if relaxed else ()), *EXPRESSIONS, *CONSTRAINTS, *OBJECTIVES.values()):
        equation(m)
    return m


def _minimise(m: Model, name: str, expression: Any) -> None:
    objective = pyo.Objective(expr=expression, sense=pyo.minimize)
    m.add_component(f"minimise_{name}", objective)
    objective.deactivate()


def _grid_sum(m: Model, objective: Objective) -> Any:
    price = grid_prices(m.data, objective)
    return pyo.quicksum(float(price[j, t]) * m.grid_energy[j, t] for j in m.sites for t in m.slots)


def _water(m: Model) -> Any:
    per_kwh = water_per_facility_kwh(m.data)
    on_energy = pyo.quicksum(float(per_kwh[j, t]) * m.facility_energy[j, t] for j in m.sites for t in m.slots)
    return on_energy + _grid_sum(m, Objective.WATER)


def _mean_delay(m: Model, i: int, k: int, t: int) -> Any:
    return _sum(m, m.delays, m.serving[i, k, t])


def _sum(m: Model, coefficients: FloatArray, columns: Sequence[int]) -> Any:
    """Σ coefficient · share over some columns."""
    return LinearExpression(linear_coefs=coefficients[columns].tolist(), linear_vars=[m.x[n] for n in columns])
