"""The programme as Pyomo compiles it: the specification that ``kernel`` is held to, entry for entry, by a test.

Nothing that runs imports this: Pyomo, and what it brings, is half of the time that a process needs to start.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pyomo.common.gc_manager import PauseGC
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer import equations
from green_llm.optimizer.layout import Layout
from green_llm.optimizer.standard_form import ROWS, VARIABLES, StandardForm, column_parts


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
