"""Finishing: the last phase leaves ties, and a plan must not depend on how a solver breaks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from green_llm.domain.instance import FloatArray
from green_llm.domain.plan import Objective
from green_llm.optimizer.layout import Layout
from green_llm.optimizer.lexicographic import EXACT, Done, Stage, keep
from green_llm.optimizer.names import NAMES_WEIGHT, name_weights
from green_llm.optimizer.session import Session
from green_llm.optimizer.solver import FIXING_THRESHOLD, Ending, Method, Solution
from green_llm.optimizer.standard_form import Programme, StandardForm


def remove_slack(
    form: StandardForm, last: Done, scales: dict[Objective, float], session: Session, deadline: float | None
) -> Solution:
    """Hold the last optimum and minimise Σ objective / scale + 1e-3 · Σ w λ x / Σ λ, every budget kept."""
    solver = session.solver
    keep(solver, Stage(last.stage.name, last.stage.coefficients, EXACT, last.stage.scale), last.solution)
    return solver.minimise(_finishing_objective(form, scales), Method.PRIMAL, deadline)


def stay_close(
    form: StandardForm,
    done: Sequence[Done],
    columns: FloatArray,
    scales: dict[Objective, float],
    session: Session,
    deadline: float | None,
) -> FloatArray:
    """Move the first slot as near to the weights in force as the budgets allow: minimise Σ λ |x − x_current|.

    What ties remain are broken as in ``remove_slack``.
    All other slots stay; the last objective may use its own tolerance. Returns the columns, changed in the first slot;
    unchanged where no weight in force is known or time is up. What the session's solver held is forgotten.
    """
    first = _first_slot(form)
    current = form.layout.share(np.repeat(form.instance.current_shares[..., None], form.instance.slots, axis=3))
    shares = first[first < form.layout.columns]
    known = shares[~np.isnan(current[shares])]
    if not len(known):
        return columns
    load = form.instance.demand[_triples(form.layout, known)]
    distance = np.concatenate([np.zeros(len(first)), np.repeat(load / load.mean(), 2)])
    tie_break = np.concatenate([_finishing_objective(form, scales)[first], np.zeros(2 * len(known))])
    programme, solver = _close_programme(form, done, columns, first, known, current[known]), session.solver
    session.begin_close(programme)
    moved = columns.copy()
    nearest = solver.minimise(distance, Method.DUAL, deadline)
    if nearest.ending is not Ending.OPTIMAL:
        return moved
    session.remember_close(programme)
    moved[first] = nearest.columns[: len(first)]
    solver.fix_to_optimum(nearest, FIXING_THRESHOLD * len(known))
    unique = solver.minimise(tie_break, Method.DUAL, deadline)
    if unique.ending is Ending.OPTIMAL:
        moved[first] = unique.columns[: len(first)]
    return moved


def _finishing_objective(form: StandardForm, scales: dict[Objective, float]) -> FloatArray:
    """The objective of ``remove_slack``, times the number of triples so that the names' part stays above tolerance."""
    total = sum(coefficients / (scales[o] or 1.0) for o, coefficients in form.objectives.items())
    objective = np.asarray(total, dtype=np.float64).copy()
    layout = form.layout
    load = form.instance.demand[layout.areas, layout.classes, layout.slots]
    n = layout.column_triple
    weights = name_weights(form.instance, layout.areas[n], layout.column_site, layout.classes[n], layout.slots[n])
    weights *= load[n] / max(load.sum(), 1e-300)
    objective[form.parts["share"]] += NAMES_WEIGHT * weights
    return objective * max(1, layout.triples)


def _triples(layout: Layout, columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], ...]:
    n = layout.column_triple[columns]
    return layout.areas[n], layout.classes[n], layout.slots[n]


def _first_slot(form: StandardForm) -> NDArray[np.intp]:
    """Columns of slot 0: shares, grid energy and, in the relaxed form, what is unserved or late."""
    layout = form.layout
    now = layout.slots == 0
    cells = np.arange(len(form.instance.sites) * form.instance.slots) % form.instance.slots == 0
    parts = [now[layout.column_triple], cells]
    if form.relaxed:
        parts += [now, now[layout.delay_rows], np.array([False])]
    return np.nonzero(np.concatenate(parts))[0]


@dataclass(frozen=True)
class _Rows:
    matrix: sparse.csr_array
    lower: FloatArray
    upper: FloatArray


def _close_programme(
    form: StandardForm,
    done: Sequence[Done],
    columns: FloatArray,
    first: NDArray[np.intp],
    known: NDArray[np.intp],
    current: FloatArray,
) -> Programme:
    """The first slot's columns, and for each known share two distances: x − above + below = x_current (1 − u)."""
    rows = _with_budgets(form, done)
    part = rows.matrix[:, first]
    elsewhere = rows.matrix @ columns - part @ columns[first]
    used = np.diff(part.indptr) > 0
    part = part[used]
    # What the finished plan uses by rounding beyond a limit must not make this programme infeasible.
    inside = part @ columns[first]
    lower = np.minimum((rows.lower - elsewhere)[used], inside)
    upper = np.maximum((rows.upper - elsewhere)[used], inside)
    count, width = len(known), len(first)
    places, factors = [np.searchsorted(first, known)], [np.ones(count)]
    if form.relaxed:
        places.append(np.searchsorted(first, form.parts["unserved"].start + form.layout.column_triple[known]))
        factors.append(current)
    away = width + 2 * np.arange(count)
    places, factors = [*places, away, away + 1], [*factors, np.full(count, -1.0), np.ones(count)]
    matrix = sparse.csr_array(
        (
            np.concatenate([part.data, np.stack(factors, axis=1).ravel()]),
            np.concatenate([part.indices, np.stack(places, axis=1).ravel()]),
            np.concatenate([part.indptr, part.indptr[-1] + len(places) * np.arange(1, count + 1)]),
        ),
        shape=(part.shape[0] + count, width + 2 * count),
    )
    return Programme(
        matrix=matrix,
        row_lower=np.concatenate([lower, current]),
        row_upper=np.concatenate([upper, current]),
        column_lower=np.concatenate([form.column_lower[first], np.zeros(2 * count)]),
        column_upper=np.concatenate([form.column_upper[first], np.full(2 * count, np.inf)]),
    )


def _with_budgets(form: StandardForm, done: Sequence[Done]) -> _Rows:
    """The programme's rows and one per stage, at its budget, in units of its scale."""
    budgets = sparse.csr_array(np.array([d.stage.coefficients / d.stage.scale_or_1 for d in done]))
    return _Rows(
        sparse.vstack([form.matrix, budgets], format="csr"),
        np.concatenate([form.row_lower, np.full(len(done), -np.inf)]),
        np.concatenate([form.row_upper, [d.budget / d.stage.scale_or_1 for d in done]]),
    )
