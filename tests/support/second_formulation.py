"""The model a second time, written straight from its formulas: dense index arrays, scipy's ``linprog``.

It shares no code with the optimizer but ``Instance``, so that both would have to be wrong in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective, Order


@dataclass(frozen=True, eq=False)
class Formulation:
    """Columns: x [I·J·K·T], then P^g [J·T]. upper_rows · columns ≤ upper; equal_rows · columns = equal."""

    upper_rows: sparse.csr_array
    upper: FloatArray
    equal_rows: sparse.csr_array
    equal: FloatArray
    lower_bound: FloatArray
    upper_bound: FloatArray
    costs: dict[Objective, FloatArray]


class InfeasibleError(Exception):
    """No plan keeps every limit."""


def formulate(n: Instance) -> Formulation:
    """All rows and columns of an instance; none is left out for being redundant."""
    I, J, K, T, R = len(n.areas), len(n.sites), len(n.classes), n.slots, len(n.resources)  # noqa: E741
    tokens = (n.input_tokens + n.output_tokens)[None, None, :, None]
    load = n.demand[:, None]
    it = (n.energy_per_input_token * n.input_tokens + n.energy_per_output_token * n.output_tokens)[
        None, :, :, None
    ] * load
    facility = it * n.pue[None, :, None, None]
    delay = n.token_size[:, None] * load * tokens / n.bandwidth[:, :, None, None]
    delay = delay + n.network_delay[:, :, None, None] + n.processing_delay[None, :, :, None] * tokens * load
    busy = n.demand > 0
    delay = np.where(busy[:, None], delay, 0.0)
    column = np.arange(I * J * K * T).reshape(I, J, K, T)
    grid = column.size + np.arange(J * T).reshape(J, T)
    width = column.size + grid.size
    on_site = n.wue / n.pue[:, None]
    facility_water = on_site + n.ewif if n.offsite_water == "facility" else on_site
    grid_water = np.zeros((J, T)) if n.offsite_water == "facility" else n.ewif
    costs = {
        Objective.COST: _columns(None, n.electricity_price, column),
        Objective.CARBON: _columns(None, n.carbon_price[:, None] * n.carbon_intensity, column),
        Objective.EMISSIONS: _columns(None, n.carbon_intensity, column),
        Objective.DELAY: _columns(n.delay_penalty[None, None, :, None] * delay, np.zeros((J, T)), column),
        Objective.WATER: _columns(facility_water[None, :, None, :] * facility, grid_water, column),
    }
    upper: list[tuple[Any, Any, float]] = []
    equal: list[tuple[Any, Any, float]] = []
    for j in range(J):
        for t in range(T):
            columns, energy = column[:, j, :, t].ravel(), facility[:, j, :, t].ravel()
            both = np.append(columns, grid[j, t])
            upper.append((both, np.append(energy, -1.0), n.renewable_power[j, t] * n.slot_hours))
            upper.append((both, np.append(-energy, 1.0), 0.0))
            for r in range(R):
                use = (n.resource_per_token[j, :, r] * tokens.ravel())[None] * n.demand[:, :, t]
                upper.append((columns, use.ravel(), n.resource_capacity[r, j] * (1 - n.headroom[j])))
    if n.water_cap is not None:
        upper.append((np.arange(width), costs[Objective.WATER], n.water_cap))
    steered = np.isnan(n.fixed_shares).any(axis=1)
    for i, k, t in np.argwhere(busy).tolist():
        equal.append((column[i, :, k, t], np.ones(J), 1.0))
        if steered[i, k] and np.isfinite(n.delay_limit[i, k]):
            upper.append((column[i, :, k, t], delay[i, :, k, t], n.delay_limit[i, k]))
    for group in n.share_groups:
        for t in range(T):
            present = [(i, k) for i, k in group if busy[i, k, t]]
            for i, k in present[1:]:
                i0, k0 = present[0]
                equal += [([column[i, j, k, t], column[i0, j, k0, t]], [1.0, -1.0], 0.0) for j in range(J)]
    return Formulation(
        *_rows(upper, width),
        *_rows(equal, width),
        *_bounds(n),
        costs,
    )


def _bounds(n: Instance) -> tuple[FloatArray, FloatArray]:
    """Of x and P^g: no share without demand or permission; given shares are their own bounds."""
    allowed = np.array(n.allowed)
    for group in n.share_groups:
        # A rule that all of them share may only name sites that all of them may use, busy or not.
        for i, k in group:
            allowed[i, :, k] = np.all([n.allowed[a, :, b] for a, b in group], axis=0)
    given = ~np.isnan(n.fixed_shares)
    busy = (n.demand > 0)[:, None]
    least = np.where(given, n.fixed_shares, 0.0)[..., None] * busy
    most = np.where(given, n.fixed_shares, allowed)[..., None] * busy
    grid = (n.grid_limit * n.slot_hours).ravel()
    return np.concatenate([least.ravel(), np.zeros(grid.size)]), np.concatenate([most.ravel(), grid])


def minimise(
    form: Formulation, cost: FloatArray, budgets: Sequence[tuple[FloatArray, float]] = ()
) -> tuple[float, FloatArray]:
    """The least cost under budgets (coefficients, most), and the columns. Raises InfeasibleError."""
    rows = sparse.vstack([form.upper_rows, *(sparse.csr_array(row[None]) for row, _ in budgets)])
    found = linprog(
        cost, A_ub=rows, b_ub=np.concatenate([form.upper, [most for _, most in budgets]]),
        A_eq=form.equal_rows, b_eq=form.equal, bounds=np.stack([form.lower_bound, form.upper_bound], axis=1),
        method="highs-ds", options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    if found.status == 2:
        raise InfeasibleError
    if found.status != 0:
        raise RuntimeError(found.message)
    return float(found.fun), np.asarray(found.x)


def lexicographic(instance: Instance, order: Order, slack: float = 0.0) -> list[float]:
    """The optimum of every phase; every budget is ``slack`` larger than its tolerance says. Raises InfeasibleError."""
    form = formulate(instance)
    optima: list[float] = []
    budgets: list[tuple[FloatArray, float]] = []
    for objective, tolerance in zip(order.objectives, order.tolerances, strict=True):
        optimum, _ = minimise(form, form.costs[objective], budgets)
        optima.append(optimum)
        budgets.append((form.costs[objective], tolerance.budget(optimum) + slack))
    return optima


def _columns(share: FloatArray | None, grid: FloatArray, column: Any) -> FloatArray:
    return np.concatenate([np.zeros(column.size) if share is None else share.ravel(), grid.ravel()])


def _rows(entries: list[tuple[Any, Any, float]], width: int) -> tuple[sparse.csr_array, FloatArray]:
    rows = np.concatenate([np.full(len(c), r) for r, (c, _, _) in enumerate(entries)]) if entries else np.empty(0, int)
    columns = np.concatenate([np.asarray(c) for c, _, _ in entries]) if entries else np.empty(0, int)
    values = np.concatenate([np.asarray(v, float) for _, v, _ in entries]) if entries else np.empty(0)
    matrix = sparse.coo_array((values, (rows, columns)), shape=(len(entries), width)).tocsr()
    matrix.eliminate_zeros()
    return matrix, np.array([most for _, _, most in entries], dtype=float)
