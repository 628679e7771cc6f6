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
    # A fixed share has no distance to be chosen.
    free = (form.column_lower[shares] == 0.0) & (form.column_upper[shares] >= 1.0)
    known = shares[~np.isnan(current[shares]) & free]
    if not len(known):
        return columns
    load = form.instance.demand[_triples(form.layout, known)]
    near, solver = _Near.of(form, done, columns, first, known, current[known]), session.solver
    # No basis is kept for the next interval: presolve does more (20,000 pairs: 1 to 8 s, from a basis 40 s).
    solver.load(near.programme)
    moved = columns.copy()
    nearest = solver.minimise(near.distance(load / load.mean()), Method.DUAL, deadline)
    if nearest.ending is not Ending.OPTIMAL:
        return moved
    moved[first] = near.columns(nearest.columns)
    solver.fix_to_optimum(nearest, FIXING_THRESHOLD * len(known))
    unique = solver.minimise(near.of_columns @ _finishing_objective(form, scales)[first], Method.DUAL, deadline)
    if unique.ending is Ending.OPTIMAL:
        moved[first] = near.columns(unique.columns)
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


@dataclass(frozen=True)
class _Near:
    """The first slot by what it adds to the weights in force and takes off: x = x_current (1 − u) + more − less.

    Nothing moved is where it starts, so that a few thousand pairs of which few move are soon done.
    """

    programme: Programme
    """Columns: those of the first slot that are no known share, ``more`` by known share, ``less`` by one in force."""
    of_columns: sparse.csr_array
    """By its columns, what one unit of each adds to those of the first slot."""
    base: FloatArray
    """The first slot's columns where nothing moves: the weights in force, else 0."""
    pair: NDArray[np.intp]
    """The known share that each column of ``more`` and ``less`` moves."""

    @classmethod
    def of(
        cls,
        form: StandardForm,
        done: Sequence[Done],
        columns: FloatArray,
        first: NDArray[np.intp],
        known: NDArray[np.intp],
        current: FloatArray,
    ) -> _Near:
        """For known shares, given by their columns, with the weights in force."""
        rows = _with_budgets(form, done)
        part = rows.matrix[:, first]
        elsewhere = rows.matrix @ columns - part @ columns[first]
        used = np.diff(part.indptr) > 0
        part = part[used]
        # What the finished plan uses by rounding beyond a limit must not make this programme infeasible.
        inside = part @ columns[first]
        lower = np.minimum((rows.lower - elsewhere)[used], inside)
        upper = np.maximum((rows.upper - elsewhere)[used], inside)
        place, in_force = np.searchsorted(first, known), np.nonzero(current > 0)[0]
        other = np.setdiff1d(np.arange(len(first)), place)
        base = np.zeros(len(first))
        base[place] = current
        count, pair = len(other), np.concatenate([np.arange(len(known)), in_force])
        moves = np.arange(count, count + len(pair))
        entries = [(np.ones(count), np.arange(count), other)]
        entries += [(np.where(np.arange(len(pair)) < len(known), 1.0, -1.0), moves, place[pair])]
        owed = sparse.csr_array((0, count + len(pair)))
        if form.relaxed:
            # What is not served is taken off the weights in force, and no more than is left can be taken off.
            unserved = np.searchsorted(first, form.parts["unserved"].start + form.layout.column_triple[known])
            mine = np.searchsorted(other, unserved)
            entries += [(-current, mine, place)]
            less = np.arange(len(in_force))
            owed = sparse.csr_array(
                (
                    np.concatenate([np.ones(len(less)), current[in_force]]),
                    (np.tile(less, 2), np.concatenate([moves[len(known) :], mine[in_force]])),
                ),
                shape=(len(in_force), count + len(pair)),
            )
        values, at, to = (np.concatenate(piece) for piece in zip(*entries, strict=True))
        of_columns = sparse.csr_array((values, (at, to)), shape=(count + len(pair), len(first)))
        matrix = part @ of_columns.T
        matrix.eliminate_zeros()
        began = part @ base
        owes = np.full(owed.shape[0], -np.inf)
        programme = Programme(
            matrix=sparse.csr_array(sparse.vstack([matrix, owed], format="csr")),
            row_lower=np.concatenate([lower - began, owes]),
            row_upper=np.concatenate([upper - began, current[in_force][: len(owes)]]),
            column_lower=np.concatenate([form.column_lower[first][other], np.zeros(len(pair))]),
            column_upper=np.concatenate([
                form.column_upper[first][other], form.column_upper[known], current[in_force]
            ]),
        )  # fmt: skip
        return cls(programme, of_columns, base, pair)

    def distance(self, load: FloatArray) -> FloatArray:
        """Σ load |x − x_current (1 − u)| by its columns; ``load`` is by known share."""
        weights = load[self.pair]
        return np.concatenate([np.zeros(self.of_columns.shape[0] - len(weights)), weights])

    def columns(self, found: FloatArray) -> FloatArray:
        """The first slot's columns, all ≥ 0: what is taken off whole leaves no rounding below."""
        return np.asarray(np.maximum(self.base + self.of_columns.T @ found, 0.0))


def _with_budgets(form: StandardForm, done: Sequence[Done]) -> _Rows:
    """The programme's rows and one per stage, at its budget, in units of its scale."""
    budgets = sparse.csr_array(np.array([d.stage.coefficients / d.stage.scale_or_1 for d in done]))
    return _Rows(
        sparse.vstack([form.matrix, budgets], format="csr"),
        np.concatenate([form.row_lower, np.full(len(done), -np.inf)]),
        np.concatenate([form.row_upper, [d.budget / d.stage.scale_or_1 for d in done]]),
    )
