"""The programme as arrays: what HiGHS is given, compiled from the Pyomo model.

This is the specification at work: Pyomo states the equations and compiles them. ``kernel`` makes the very same arrays
from new data without building the model again (a test compares the two entry for entry).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyomo.common.gc_manager import PauseGC
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer import equations
from green_llm.optimizer.layout import Layout

ROWS = ("balance", "water_cap", "capacity", "all_served", "delay_limit", "share_groups", "fixed")
"""Blocks of rows in order. ``no_burning`` is the lower side of ``balance``, ``grid_limit`` the bounds of P^g."""
VARIABLES = ("share", "grid_energy", "unserved", "delay_excess", "water_excess")
"""Blocks of columns in order; the last three in the relaxed form only."""


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
    """The Green-LLM programme of one instance."""

    instance: Instance
    layout: Layout
    relaxed: bool
    """Whether limits may be exceeded (least violation)."""
    objectives: dict[Objective, FloatArray]
    """Coefficients of the columns, by objective."""

    @property
    def blocks(self) -> dict[str, slice]:
        """Where each block of ``ROWS`` is."""
        return row_blocks(self.instance, self.layout, relaxed=self.relaxed)

    @property
    def parts(self) -> dict[str, slice]:
        """Where each block of ``VARIABLES`` is."""
        return column_parts(self.instance, self.layout, relaxed=self.relaxed)

    def shares(self, columns: FloatArray) -> FloatArray:
        """The share columns as [I,J,K,T]; 0 where there is none."""
        instance, layout = self.instance, self.layout
        found = np.zeros((len(instance.areas), len(instance.sites), len(instance.classes), instance.slots))
        n = layout.column_triple
        found[layout.areas[n], layout.column_site, layout.classes[n], layout.slots[n]] = columns[self.parts["share"]]
        return found

    def grid(self, columns: FloatArray) -> FloatArray:
        """The grid energy columns as [J,T], kWh."""
        return columns[self.parts["grid_energy"]].reshape(len(self.instance.sites), self.instance.slots)

    def unserved(self, columns: FloatArray) -> FloatArray:
        """The unserved columns as [I,K,T]; 0 where nothing may be left unserved."""
        layout = self.layout
        found = np.zeros((len(self.instance.areas), len(self.instance.classes), self.instance.slots))
        if self.relaxed:
            found[layout.areas, layout.classes, layout.slots] = columns[self.parts["unserved"]]
        return found


def row_blocks(instance: Instance, layout: Layout, *, relaxed: bool) -> dict[str, slice]:
    """Where each block of ``ROWS`` is in the programme of a layout."""
    counts = (
        len(instance.sites) * instance.slots,
        int(layout.water_row),
        len(layout.capacity_rows),
        layout.triples,
        len(layout.delay_rows),
        len(layout.group_rows),
        int(layout.fixed[layout.column_triple].sum()) if relaxed else 0,
    )
    return _slices(dict(zip(ROWS, counts, strict=True)))


def column_parts(instance: Instance, layout: Layout, *, relaxed: bool) -> dict[str, slice]:
    """Where each block of ``VARIABLES`` is in the programme of a layout."""
    counts = {"share": layout.columns, "grid_energy": len(instance.sites) * instance.slots}
    if relaxed:
        counts |= {"unserved": layout.triples, "delay_excess": len(layout.delay_rows), "water_excess": 1}
    return _slices(counts)


def compile_model(instance: Instance, layout: Layout, *, relaxed: bool = False) -> StandardForm:
    """State the model in Pyomo and compile it."""
    # A model is a million small objects that live until the end: collecting meanwhile doubles the time.
    with PauseGC():
        model = equations.state(instance, layout, relaxed=relaxed)
        for objective in Objective:
            model.component(f"minimise_{objective.value}").activate()
        compiled = LinearStandardFormCompiler().write(model, mixed_form=True)
        return _arranged(model, compiled)


def _arranged(model: Any, compiled: Any) -> StandardForm:
    """The compiled model with rows and columns in our order, and single-variable rows as bounds."""
    variables = [v for name in VARIABLES if (part := model.component(name)) is not None for v in part.values()]
    place = {id(variable): n for n, variable in enumerate(variables)}
    places = np.array([place[id(variable)] for variable in compiled.columns], dtype=np.intp)
    # bound_type: 0 equality, 1 upper, -1 lower.
    kind = np.array([row.bound_type for row in compiled.rows])
    lower = np.where(kind <= 0, compiled.rhs, -np.inf)
    upper = np.where(kind >= 0, compiled.rhs, np.inf)
    rows = {
        (row.constraint.parent_component().local_name, row.constraint.index()): n for n, row in enumerate(compiled.rows)
    }
    kept = [rows[name, index] for name in ROWS if (part := model.component(name)) is not None for index in part]
    no_burning = [rows["no_burning", index] for index in model.no_burning]
    row_lower = lower[kept]
    row_lower[: len(no_burning)] = lower[no_burning]
    column_upper = np.array([math.inf if v.ub is None else float(v.ub) for v in variables])
    grid = column_parts(model.data, model.layout, relaxed=model.relaxed)["grid_energy"]
    column_upper[grid] = upper[[rows["grid_limit", index] for index in model.grid_limit]]
    costs = _moved(compiled.c, places, len(variables)).toarray()
    return StandardForm(
        instance=model.data,
        layout=model.layout,
        relaxed=model.relaxed,
        matrix=_moved(compiled.A, places, len(variables))[kept],
        row_lower=row_lower,
        row_upper=upper[kept],
        column_lower=np.array([float(v.lb) for v in variables]),
        column_upper=column_upper,
        objectives={objective: costs[n] for n, objective in enumerate(Objective)},
    )


def _moved(matrix: Any, places: Any, width: int) -> sparse.csr_array:
    """The matrix with column c moved to ``places[c]``."""
    entries = matrix.tocoo()
    moved = sparse.coo_array((entries.data, (entries.row, places[entries.col])), shape=(matrix.shape[0], width))
    return sparse.csr_array(moved)


def _slices(counts: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(counts.values())).tolist()
    return {name: slice(end - count, end) for (name, count), end in zip(counts.items(), ends, strict=True)}
