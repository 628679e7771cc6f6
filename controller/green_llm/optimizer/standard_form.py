"""The programme as arrays: what HiGHS is given. Compiled from the Pyomo model, or refilled by numpy with new data.

``compile_model`` is the specification at work: Pyomo states the equations and compiles them. ``refill`` produces the
very same arrays for new data without building the model again (a test compares the two entry for entry); it is the seam
where a faster kernel goes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer import equations
from green_llm.optimizer.coefficients import (
    delay_seconds,
    facility_energy_kwh,
    grid_prices,
    resource_use,
    water_per_facility_kwh,
)
from green_llm.optimizer.layout import Layout, layout

ROWS = ("balance", "water_cap", "capacity", "all_served", "delay_limit", "share_groups", "fixed")
"""Blocks of rows in order. ``no_burning`` is the lower side of ``balance``, ``grid_limit`` the bounds of P^g."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Programme:
    """row_lower ≤ matrix · columns ≤ row_upper, column_lower ≤ columns ≤ column_upper."""

    matrix: sparse.csr_array
    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class StandardForm(Programme):
    """The Green-LLM programme of one instance.

    Columns: shares (in the layout's order), grid energy [J·T], and in the relaxed form unserved (a triple each), delay
    excess (a delay row each) and water excess.
    """

    instance: Instance
    layout: Layout
    relaxed: bool
    objectives: dict[Objective, FloatArray]
    """Coefficients of the columns, by objective."""

    @property
    def blocks(self) -> dict[str, slice]:
        """Where each block of rows is."""
        return _slices(dict(zip(ROWS, _row_counts(self.instance, self.layout, relaxed=self.relaxed), strict=True)))

    @property
    def parts(self) -> dict[str, slice]:
        """Where each kind of column is."""
        return _column_parts(self.instance, self.layout, relaxed=self.relaxed)

    def shares(self, columns: FloatArray) -> FloatArray:
        """The share columns as [I,J,K,T]; 0 where there is none."""
        found = np.zeros(
            (len(self.instance.areas), len(self.instance.sites), len(self.instance.classes), self.instance.slots)
        )
        n = self.layout.column_triple
        found[self.layout.areas[n], self.layout.column_site, self.layout.classes[n], self.layout.slots[n]] = columns[
            self.parts["share"]
        ]
        return found

    def grid(self, columns: FloatArray) -> FloatArray:
        """The grid energy columns as [J,T], kWh."""
        return columns[self.parts["grid"]].reshape(len(self.instance.sites), self.instance.slots)


def compile_model(instance: Instance, *, relaxed: bool = False) -> StandardForm:
    """State the model in Pyomo and compile it."""
    chosen = layout(instance)
    model = equations.state(instance, chosen, relaxed=relaxed)
    for objective in Objective:
        model.component(f"minimise_{objective.value}").activate()
    compiled = LinearStandardFormCompiler().write(model, mixed_form=True)
    order = {id(variable): n for n, variable in enumerate(_variables(model))}
    columns = np.array([order[id(variable)] for variable in compiled.columns], dtype=np.intp)
    width = len(order)
    costs = _permuted(compiled.c, columns, width).toarray()
    objectives = {o: costs[n] for n, o in enumerate(Objective)}
    rows = {
        (row.constraint.parent_component().local_name, row.constraint.index()): n for n, row in enumerate(compiled.rows)
    }
    lower = np.full(len(compiled.rows), -np.inf)
    upper = np.full(len(compiled.rows), np.inf)
    for n, row in enumerate(compiled.rows):
        # bound_type: 0 equality, 1 upper, -1 lower.
        if row.bound_type >= 0:
            upper[n] = compiled.rhs[n]
        if row.bound_type <= 0:
            lower[n] = compiled.rhs[n]
    kept = [rows[key] for key in _row_keys(model)]
    no_burning = [rows["no_burning", key] for key in model.no_burning]
    balance = len(no_burning)
    row_lower, row_upper = lower[kept], upper[kept]
    row_lower[:balance] = lower[no_burning]
    column_lower = np.array([_or(variable.lb, -math.inf) for variable in _variables(model)])
    column_upper = np.array([_or(variable.ub, math.inf) for variable in _variables(model)])
    grid = _column_parts(instance, chosen, relaxed=relaxed)["grid"]
    column_upper[grid] = upper[[rows["grid_limit", key] for key in model.grid_limit]]
    return StandardForm(
        instance=instance,
        layout=chosen,
        relaxed=relaxed,
        matrix=_permuted(compiled.A, columns, width)[kept],
        row_lower=row_lower,
        row_upper=row_upper,
        column_lower=column_lower,
        column_upper=column_upper,
        objectives=objectives,
    )


def refill(instance: Instance) -> StandardForm:
    """The arrays ``compile_model`` gives for an instance (not relaxed), made by numpy alone."""
    chosen = layout(instance)
    sites, slots, m = len(instance.sites), instance.slots, chosen.columns
    n, j = chosen.column_triple, chosen.column_site
    t = chosen.slots[n]
    energy = chosen.share(facility_energy_kwh(instance))
    delays = chosen.share(delay_seconds(instance))
    water_per_kwh = water_per_facility_kwh(instance)[j, t] * energy
    own, grid_columns = np.arange(m), m + np.arange(sites * slots)
    site_slot = j * slots + t
    blocks = [
        _coo(
            np.concatenate([energy, np.full(sites * slots, -1.0)]),
            np.concatenate([site_slot, np.arange(sites * slots)]),
            np.concatenate([own, grid_columns]),
            (sites * slots, m + sites * slots),
        ),
    ]
    width = m + sites * slots
    if chosen.water_row:
        off_site = grid_prices(instance, Objective.WATER).ravel()
        blocks.append(
            _coo(np.concatenate([water_per_kwh, off_site]), np.zeros(width, np.intp), np.arange(width), (1, width))
        )
    blocks += [
        _capacity(instance, chosen, width),
        _coo(np.ones(m), n, own, (chosen.triples, width)),
        _coo(delays, n, own, (chosen.triples, width))[chosen.delay_rows],
        _groups(chosen, width),
    ]
    matrix = sparse.vstack(blocks, format="csr")
    matrix.eliminate_zeros()
    limits = instance.delay_limit[chosen.areas, chosen.classes][chosen.delay_rows]
    caps = [instance.usable_capacity[r, jj] for r, jj, _ in chosen.capacity_rows]
    water = [instance.water_cap] if instance.water_cap is not None else []
    ones, groups = np.ones(chosen.triples), np.zeros(len(chosen.group_rows))
    below = np.full(len(water) + len(caps), -np.inf)
    given = chosen.share(np.repeat(instance.fixed_shares[..., None], slots, axis=3))
    grid = np.zeros(sites * slots)
    return StandardForm(
        instance=instance,
        layout=chosen,
        relaxed=False,
        matrix=matrix,
        row_lower=np.concatenate([grid, below, ones, np.full(len(limits), -np.inf), groups]),
        row_upper=np.concatenate([instance.available_kwh.ravel(), water, caps, ones, limits, groups]),
        column_lower=np.concatenate([np.where(np.isnan(given), 0.0, given), grid]),
        column_upper=np.concatenate([np.where(np.isnan(given), 1.0, given), instance.grid_limit_kwh.ravel()]),
        objectives={
            o: np.concatenate(
                [_share_prices(instance, chosen, o, delays, water_per_kwh), grid_prices(instance, o).ravel()]
            )
            for o in Objective
        },
    )


def _share_prices(
    instance: Instance, chosen: Layout, objective: Objective, delays: FloatArray, liters: FloatArray
) -> FloatArray:
    if objective is Objective.DELAY:
        return instance.delay_penalty[chosen.classes[chosen.column_triple]] * delays
    return liters if objective is Objective.WATER else np.zeros(chosen.columns)


def _capacity(instance: Instance, chosen: Layout, width: int) -> sparse.csr_array:
    """The capacity rows of the layout, [rows, width]."""
    sites, slots = len(instance.sites), instance.slots
    site_slot = chosen.column_site * slots + chosen.slots[chosen.column_triple]
    blocks = [
        _coo(chosen.share(resource_use(instance, r)), site_slot, np.arange(chosen.columns), (sites * slots, width))[
            [j * slots + t for rr, j, t in chosen.capacity_rows if rr == r]
        ]
        for r in range(len(instance.resources))
    ]
    return sparse.vstack([sparse.csr_array((0, width)), *blocks], format="csr")


def _groups(chosen: Layout, width: int) -> sparse.csr_array:
    """The rows that tie grouped shares, [rows, width]."""
    rows = np.arange(len(chosen.group_rows))
    pairs = np.array(chosen.group_rows, dtype=np.intp).reshape(-1, 2)
    signs = np.concatenate([-np.ones(len(rows)), np.ones(len(rows))])
    return _coo(signs, np.concatenate([rows, rows]), pairs.T.ravel(), (len(rows), width))


def _coo(values: FloatArray, rows: Any, columns: Any, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()


def _permuted(matrix: Any, columns: Any, width: int) -> sparse.csr_array:
    """The matrix with column c moved to ``columns[c]``."""
    entries = matrix.tocoo()
    return _coo(entries.data, entries.row, columns[entries.col], (matrix.shape[0], width))


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _variables(model: Any) -> list[Any]:
    parts = [model.share, model.grid_energy]
    if model.relaxed:
        parts += [model.unserved, model.delay_excess, model.water_excess]
    return [variable for part in parts for variable in part.values()]


def _row_keys(model: Any) -> list[tuple[str, Any]]:
    """(component, index) of every kept row, in the order of ``ROWS``."""
    present = [(name, model.component(name)) for name in ROWS]
    return [(name, index) for name, component in present if component is not None for index in component]


def _row_counts(instance: Instance, chosen: Layout, *, relaxed: bool) -> tuple[int, ...]:
    given = chosen.fixed[chosen.column_triple].sum() if relaxed else 0
    cells = len(instance.sites) * instance.slots
    capacity = len(chosen.capacity_rows)
    return (
        cells,
        int(chosen.water_row),
        capacity,
        chosen.triples,
        len(chosen.delay_rows),
        len(chosen.group_rows),
        int(given),
    )


def _column_parts(instance: Instance, chosen: Layout, *, relaxed: bool) -> dict[str, slice]:
    counts = {"share": chosen.columns, "grid": len(instance.sites) * instance.slots}
    if relaxed:
        counts |= {"unserved": chosen.triples, "delay_excess": len(chosen.delay_rows), "water_excess": 1}
    return _slices(counts)


def _slices(counts: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(counts.values())).tolist()
    return {name: slice(end - count, end) for (name, count), end in zip(counts.items(), ends, strict=True)}
