"""The optimal face of a phase: what its prices leave free for later phases, or for finishing, without tolerance.

Any optimal prices describe the whole optimal face: columns they charge for stay where they are, limits they price stay
tight (Goldman & Tucker 1956). So a face is units with fewer sites and limits with equal sides, and mostly small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.block_programme import Coupling, Data, by_cell
from green_llm.optimizer.limit_prices import Prices, reduced_costs
from green_llm.optimizer.names import NAMES_WEIGHT, name_weights
from green_llm.optimizer.optimum import Point
from green_llm.optimizer.solver import FIXING_THRESHOLD
from green_llm.optimizer.units import Limits, Terms, Units, terms_of


@dataclass(frozen=True, eq=False)
class Face:
    """The points that keep every limit and row of a phase, and its optimum."""

    instance: Instance
    units: Units
    rows: tuple[Coupling, ...]

    def held(self, terms: Terms, prices: Prices, point: Point, threshold: float) -> Face:
        """Those of them where an objective is at its optimum.

        Args:
            terms: the objective.
            prices: that prove the optimum; of the whole horizon.
            point: an optimum.
            threshold: what a share, a cell's energy or a whole limit must cost to be kept.
        """
        data = Data.of(self.instance, self.units, 0, self.instance.slots)
        total = terms
        for price, row in zip(prices.coupling, self.rows, strict=True):
            total = total.plus(row.terms, float(price))
        reduced = reduced_costs(data, total, prices)
        cheap = reduced - reduced.min(axis=1, keepdims=True, initial=np.inf) <= threshold
        limits = _sides(self.units, data, total, prices, point, threshold)
        # Where no energy may go, no share can, even if its own price does not say so.
        room = limits.balance_most + limits.grid_most - self.units.fixed_energy
        closed = (data.by_unit(room) <= FIXING_THRESHOLD * data.kwh) & (data.energy > 0)
        serving = self.units.serving & ((cheap & ~closed) | (point.shares > FIXING_THRESHOLD))
        units = replace(self.units, serving=serving, limits=limits)
        used = [_worth(data, row.terms, point) for row in self.rows]
        rows = [
            replace(row, most=use, least=use)
            if np.isfinite(row.least) or abs(price) * row.unit > threshold
            else replace(row, most=max(row.most, use))
            for row, use, price in zip(self.rows, used, prices.coupling, strict=True)
        ]
        return Face(self.instance, units, tuple(rows))

    def finishing(self, scales: dict[Objective, float]) -> Terms:
        """Σ objective / scale + 1e-3 · Σ w λ x / Σ λ: what leaves one point of the face."""
        everything = Terms.none(self.instance)
        for objective in Objective:
            everything = everything.plus(terms_of(self.instance, objective), 1.0 / (scales[objective] or 1.0))
        return replace(everything, names=self._names())

    def _names(self) -> FloatArray:
        """[U,J] what the names add to a share, of units that have a choice."""
        instance, units, triples = self.instance, self.units, self.units.triples
        choice = units.serving & (units.serving.sum(axis=1, keepdims=True) > 1)
        free = np.nonzero(~triples.fixed)[0]
        row, site = np.nonzero(choice[units.of_triple[free]])
        n = free[row]
        load = instance.demand[triples.areas, triples.classes, triples.slots]
        weights = name_weights(instance, triples.areas[n], site, triples.classes[n], triples.slots[n])
        weights *= NAMES_WEIGHT * load[n] / max(load.sum(), 1e-300)
        place = units.of_triple[n] * choice.shape[1] + site
        found = np.bincount(place, weights=weights, minlength=choice.size)
        return np.asarray(found, dtype=np.float64).reshape(choice.shape)


def _sides(units: Units, data: Data, total: Terms, prices: Prices, point: Point, threshold: float) -> Limits:
    """Sides of limits: what is priced is kept as the point has it, everything is as wide as the point needs."""
    old, slots = units.limits, data.capacity.shape[2]
    balance = by_cell(data.energy * point.shares, data.slot, slots) + data.fixed_energy - point.grid
    used = np.array([by_cell(use * point.shares, data.slot, slots) for use in data.use]).reshape(data.capacity.shape)
    used += units.fixed_use
    seconds = old.delay_most.copy()
    seconds[data.limited] = (data.limited_seconds * point.shares[data.limited_unit]).sum(axis=1)
    bought = np.abs(total.grid - prices.balance) * data.kwh > threshold
    short = np.zeros(used.shape, dtype=bool)
    short[data.capacity_rows] = np.abs(prices.capacity[data.capacity_rows]) * data.capacity_unit > threshold
    late = np.zeros(len(seconds), dtype=bool)
    late[data.limited] = np.abs(prices.delay) * data.delay_unit > threshold
    balances = _kept(old.balance_least, old.balance_most, balance, np.abs(prices.balance) * data.kwh > threshold)
    capacities = _kept(old.capacity_least, old.capacity_most, used, short)
    delays = _kept(old.delay_least, old.delay_most, seconds, late)
    if total.late is not None:
        # Where a second more costs what a limit's second is worth, the limit is exceeded, by whatever that takes.
        beyond = np.zeros(len(seconds), dtype=bool)
        beyond[data.limited] = (total.late[data.limited] - prices.delay) * data.delay_unit <= threshold
        delays = (
            np.where(beyond, np.minimum(old.delay_most, seconds), delays[0]),
            np.where(beyond, np.inf, delays[1]),
        )
    grid = _kept(old.grid_least, old.grid_most, point.grid, bought)
    return Limits(*grid, *balances, *capacities, *delays)


def _kept(least: FloatArray, most: FloatArray, at: FloatArray, held: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Sides of limits that are held where they are, else as wide as that needs: rounding must not break them."""
    return np.where(held, at, np.minimum(least, at)), np.where(held, at, np.maximum(most, at))


def _worth(data: Data, terms: Terms, point: Point) -> float:
    """What a point adds to an objective."""
    unit, site = np.nonzero(point.shares)
    bought = float((terms.grid * point.grid).sum())
    return float(data.costs_at(terms, unit, site) @ point.shares[unit, site]) + bought + data.constant(terms)
