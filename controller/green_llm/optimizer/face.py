"""Finishing on the fast path: what the last phase's prices leave free is small, and solved in one programme.

Any optimal prices describe the whole optimal face: columns they charge for stay where they are, limits they price stay
tight (Goldman & Tucker 1956). What remains is decided as in ``finishing``: all five objectives, then the names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.block import Prices, pass_programme, reduced_costs, run
from green_llm.optimizer.block_programme import (
    BALANCE,
    CAPACITY,
    COUPLING,
    DELAY,
    SERVED,
    BlockProgramme,
    Coupling,
    Data,
    assemble,
)
from green_llm.optimizer.names import NAMES_WEIGHT, name_weights
from green_llm.optimizer.optimum import Point
from green_llm.optimizer.solver import FIXING_THRESHOLD, live_highs
from green_llm.optimizer.units import Terms, Units, terms_of


@dataclass(frozen=True, eq=False)
class Face:
    """The optimal face of the last phase."""

    instance: Instance
    units: Units
    rows: tuple[Coupling, ...]
    terms: Terms
    """The last objective."""
    scale: float
    prices: Prices
    """Of the whole horizon."""
    point: Point
    """On the face."""


def finish(face: Face, scales: dict[Objective, float], deadline: float | None) -> Point:
    """The point of the face with the least Σ objective / scale + 1e-3 · Σ w λ x / Σ λ.

    Raises:
        StoppedError: at the deadline, or HiGHS found no clear end.
    """
    instance, units, point, threshold = face.instance, face.units, face.point, FIXING_THRESHOLD * face.scale
    data = Data.of(instance, units, 0, instance.slots)
    total = face.terms
    for price, row in zip(face.prices.coupling, face.rows, strict=True):
        total = total.plus(row.terms, float(price))
    reduced = reduced_costs(data, total, face.prices)
    free = (reduced - reduced.min(axis=1, keepdims=True) <= threshold) | (point.shares > FIXING_THRESHOLD)
    programme = assemble(data, free, face.rows)
    lower, upper = _grid_bounds(data, total, face, threshold)
    sizes = len(programme.column_upper) - programme.shares - lower.size
    column_lower = np.concatenate([np.zeros(programme.shares), lower, np.zeros(sizes)])
    programme.column_upper[programme.shares :] = np.concatenate([upper, np.zeros(sizes)])
    _hold_limits(data, programme, face, threshold)
    highs = live_highs()
    pass_programme(highs, programme, _costs(data, programme, face, scales), column_lower)
    run(highs, deadline)
    columns = np.array(highs.getSolution().col_value)
    shares = np.zeros_like(point.shares)
    shares[programme.closed, programme.closed_site] = 1.0
    shares[programme.unit, programme.site] = columns[: programme.shares]
    grid = columns[programme.shares : programme.shares + lower.size] * data.kwh
    return Point(shares, grid.reshape(point.grid.shape))


def _grid_bounds(data: Data, total: Terms, face: Face, threshold: float) -> tuple[FloatArray, FloatArray]:
    """Bounds of grid energy, in ``data.kwh``, by cell: where a kWh more or less costs, it stays."""
    found, most = (face.point.grid / data.kwh).ravel(), (data.grid_limit / data.kwh).ravel()
    reduced = (total.grid - face.prices.balance).ravel() * data.kwh
    lower = np.where(reduced < -threshold, most, 0.0)
    upper = np.where(reduced > threshold, 0.0, most)
    # Rounding of the point must not make the programme infeasible.
    return np.minimum(lower, found), np.maximum(upper, found)


def _hold_limits(data: Data, programme: BlockProgramme, face: Face, threshold: float) -> None:
    """Keep priced limits tight, in place, and everything as wide as the point needs."""
    prices = face.prices
    priced = np.zeros(len(programme.row_lower))
    priced[programme.part(BALANCE)] = prices.balance.ravel() * data.kwh
    priced[programme.part(CAPACITY)] = prices.capacity[data.capacity_rows] * data.capacity_unit
    priced[programme.part(DELAY)] = prices.delay * data.limit
    priced[programme.part(COUPLING)] = prices.coupling * np.array([row.unit for row in face.rows])
    lower, upper = programme.row_lower, programme.row_upper
    at_upper, at_lower = priced > threshold, priced < -threshold
    lower[at_upper], upper[at_lower] = upper[at_upper], lower[at_lower]
    columns = np.zeros(len(programme.column_upper))
    columns[: programme.shares] = face.point.shares[programme.unit, programme.site]
    cells = face.point.grid.size
    columns[programme.shares : programme.shares + cells] = (face.point.grid / data.kwh).ravel()
    column = np.repeat(np.arange(len(columns)), np.diff(programme.starts))
    activity = np.bincount(programme.rows, weights=programme.values * columns[column], minlength=len(lower))
    served = programme.part(SERVED)
    activity[served] = 1.0
    np.minimum(lower, activity, out=lower)
    np.maximum(upper, activity, out=upper)


def _costs(data: Data, programme: BlockProgramme, face: Face, scales: dict[Objective, float]) -> FloatArray:
    """The finishing objective, times the number of triples so that the names' part stays above tolerance."""
    instance, units = face.instance, face.units
    everything = Terms.none(instance)
    for objective in Objective:
        everything = everything.plus(terms_of(instance, objective), 1.0 / (scales[objective] or 1.0))
    count = max(1, len(units.triples.slots))
    share = data.costs_at(everything, programme.unit, programme.site) + _names(programme, face)
    found = np.zeros(len(programme.column_upper))
    found[: len(share)] = share * count
    found[len(share) : len(share) + data.grid_limit.size] = everything.grid.ravel() * data.kwh * count
    return found


def _names(programme: BlockProgramme, face: Face) -> FloatArray:
    """What the names add to every share column."""
    instance, units, triples = face.instance, face.units, face.units.triples
    is_open: BoolArray = np.zeros(len(units.slots), dtype=bool)
    is_open[programme.open] = True
    free = np.nonzero(~triples.fixed)[0]
    members = free[is_open[units.of_triple[free]]]
    column_of = np.full(units.delay.shape, -1)
    column_of[programme.unit, programme.site] = np.arange(programme.shares)
    row, site = np.nonzero(column_of[units.of_triple[members]] >= 0)
    n = members[row]
    load = instance.demand[triples.areas, triples.classes, triples.slots]
    weights = name_weights(instance, triples.areas[n], site, triples.classes[n], triples.slots[n])
    weights *= NAMES_WEIGHT * load[n] / max(load.sum(), 1e-300)
    found = np.bincount(column_of[units.of_triple[n], site], weights=weights, minlength=programme.shares)
    return np.asarray(found, dtype=np.float64)
