"""One golden LP per equation: what Pyomo states, as a person reads it. Rewrite with --rewrite-golden."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from pyomo.repn.plugins.lp_writer import LPWriter

from green_llm.domain.plan import Objective
from green_llm.optimizer import equations
from green_llm.optimizer.layout import layout
from support.instances import an_instance

GOLDEN = Path(__file__).parents[1] / "data" / "lp"
RELAXED = (*equations.RELAXATION, equations.fixed)
"""Equations of the least-violation model only."""
BOTH = (equations.shares, equations.water_cap, equations.all_served, equations.delay_limit)
"""Equations that read otherwise in it."""
EQUATIONS = (
    *equations.VARIABLES, *equations.RELAXATION, *equations.EXPRESSIONS, *equations.CONSTRAINTS,
    *equations.OBJECTIVES.values(),
)  # fmt: skip
CASES = [
    (equation, relaxed)
    for equation in EQUATIONS
    for relaxed in (False, True)
    if (relaxed and equation in (*RELAXED, *BOTH)) or (not relaxed and equation not in RELAXED)
]


def instance() -> Any:
    """Two areas, two sites, one class, one slot; every number differs, so that each can be told by its value."""
    return an_instance(
        areas=2, demand=[[[100.0]], [[200.0]]], input_tokens=[3.0], output_tokens=[2.0],
        energy_per_input_token=[[0.001], [0.002]], energy_per_output_token=[[0.004], [0.005]],
        electricity_price=[[0.11], [-0.13]], carbon_intensity=[[0.4], [0.6]], carbon_price=[0.05, 0.07],
        renewable_power=[[0.5], [0.7]], grid_limit=[[2.0], [3.0]], pue=[1.25, 1.5], wue=[[0.5], [0.3]],
        ewif=[[2.0], [4.0]], water_cap=10.0, resource_capacity=[[900.0, 800.0]], headroom=[0.1, 0.0],
        resource_per_token=[[[1.5]], [[1.2]]], token_size=[[[0.01]], [[0.02]]], bandwidth=[[10.0, 20.0], [40.0, 50.0]],
        network_delay=[[0.1, 0.2], [0.3, 0.4]], processing_delay=[[0.0001], [0.0003]], delay_limit=[[0.4], [0.7]],
        delay_penalty=[2.0], fixed_shares=[[[np.nan], [np.nan]], [[0.25], [0.75]]],
    )  # fmt: skip


def stated(equation: Callable[[Any], None], *, relaxed: bool) -> str:
    """The LP file of a model that has the variables and one equation."""
    data = instance()
    if equation is equations.share_groups:
        data = an_instance(areas=2, share_groups=(((0, 0), (1, 0)),))
    model = equations.prepare(data, layout(data), relaxed=relaxed)
    needed = [*equations.VARIABLES, *(equations.RELAXATION if relaxed else ()), *equations.EXPRESSIONS]
    for part in needed:
        part(model)
    if equation not in needed:
        equation(model)
    name = equation.__name__
    if equation in equations.EXPRESSIONS:
        model.shown = pyo.Objective(expr=sum(model.component(name)[key] for key in model.component(name)))
    elif equation in equations.OBJECTIVES.values():
        model.component(f"minimise_{name}").activate()
    elif equation in (*equations.VARIABLES, *equations.RELAXATION):
        variable = model.component("share" if name == "shares" else name)
        model.shown = pyo.Objective(expr=sum(variable[key] for key in variable))
    else:
        model.shown = pyo.Objective(expr=0.0 * model.x[0])
    stream = StringIO()
    LPWriter().write(model, stream, symbolic_solver_labels=True)
    return stream.getvalue()


@pytest.mark.parametrize(("equation", "relaxed"), CASES, ids=[f"{e.__name__}{'-relaxed' * r}" for e, r in CASES])
def test_an_equation_reads_as_it_should(equation: Callable[[Any], None], relaxed: bool, rewrite_golden: bool) -> None:
    path = GOLDEN / f"{equation.__name__}{'-relaxed' * relaxed}.lp"
    text = stated(equation, relaxed=relaxed)
    if rewrite_golden:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_equation_is_missing() -> None:
    public = {
        name for name, value in inspect.getmembers(equations, inspect.isfunction)
        if value.__module__ == equations.__name__ and not name.startswith("_") and name not in ("prepare", "state")
    }  # fmt: skip
    listed = {equation.__name__ for equation, _ in CASES}
    assert listed == public
    assert set(equations.OBJECTIVES) == set(Objective)
    assert {path.stem for path in GOLDEN.glob("*.lp")} == {f"{e.__name__}{'-relaxed' * r}" for e, r in CASES}


def test_every_equation_says_its_formula_and_unit() -> None:
    for equation, _ in CASES:
        text = inspect.getdoc(equation) or ""
        assert any(sign in text for sign in "≤=≥Σ∈"), equation.__name__
