"""One linear programme over some slots, solved by sifting: few sites are columns, numpy prices all the others.

A unit with one candidate is no row either: its use is a constant. Every limit can be exceeded, at a price that rises
until nothing exceeds it: so a programme with too few columns still has an optimum, and its prices say which it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.optimizer.basis import Basis
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
from green_llm.optimizer.layout import IndexArray
from green_llm.optimizer.limit_prices import Prices, reduced_costs
from green_llm.optimizer.running import PERTURBATION, NoSolutionError, Steps, StoppedError, pass_programme
from green_llm.optimizer.solver import FEASIBILITY_TOLERANCE, live_highs
from green_llm.optimizer.state import BASIC, LOWER, State
from green_llm.optimizer.units import Terms, Units

STATUSES = np.array(
    [highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic, highspy.HighsBasisStatus.kUpper], dtype=object
)
PENALTIES = (1e5, 1e7, 1e9)
"""Of exceeding a limit by its size, in mean terms of the objective; the last one is beyond any true price."""
EXCEEDED = 1e-7
"""Share of a limit's size from which a programme counts as having no solution."""
ROUNDS = 400
NEAR = 2
"""Candidates per unit that are kept for the next interval."""
TIE = 1e-6
"""Of the mean cost: what the mean delay counts where sites are chosen to begin with."""


@dataclass(frozen=True, eq=False)
class Answer:
    """An optimum of a block."""

    places: IndexArray
    """Flat index unit · J + site of every share above 0."""
    shares: FloatArray
    grid: FloatArray
    """[J,T], kWh."""
    value: float
    """Of the objective asked; nan where the block has given this very answer before."""
    bound: float
    """No solution is cheaper; proved by the prices alone."""
    prices: Prices


class Block:
    """Slots ``first`` to ``last`` of an instance, alive over phases and multipliers. Not for two threads at once."""

    def __init__(
        self, instance: Instance, units: Units, state: State, first: int, last: int, part: float = 1.0
    ) -> None:
        """``part`` of each slot's units that may have another site at a time: those that gain most per kWh."""
        self._part = part
        self.data = Data.of(instance, units, first, last)
        here = slice(int(units.starts[first]), int(units.starts[last]))
        self._candidates, self._share = state.candidates[here], state.share[here]
        self._grid, self._balance = state.grid[:, first:last], state.balance[:, first:last]
        self._capacity, self._state = state.capacity[:, :, first:last], state
        self._coupling: tuple[Coupling, ...] = ()
        self._over = np.empty(0, dtype=np.int8)
        self._programme: BlockProgramme | None = None
        self._basis: Basis | None = None
        self._given: Answer | None = None
        self._highs = live_highs()
        self._highs.setOptionValue("presolve", "off")
        # Devex: exact edge weights of a basis that is not all slacks take a solve per row, at every start.
        self._highs.setOptionValue("simplex_dual_edge_weight_strategy", 1)
        data = self.data
        self.prices = Prices(
            np.zeros_like(data.available), np.zeros_like(data.capacity), np.zeros(len(data.limit)), np.empty(0)
        )

    def couple(self, rows: Sequence[Coupling]) -> None:
        """Keep these rows from now on."""
        self._coupling, self._programme = tuple(rows), None

    def start_with(self, terms: Terms, count: int, prices: Prices | None = None) -> None:
        """Make the cheapest sites of every unit that has no candidate its candidates, at prices of limits."""
        without = np.nonzero(~self._candidates.any(axis=1))[0]
        if not len(without):
            return
        if prices is not None:
            self.prices = prices
        costs = self._ranked(terms)
        if count >= costs.shape[1]:
            chosen = self.data.serving
        elif prices is not None:
            chosen = self._near(costs, count)
        else:
            # Without prices of limits, which units will need a second site is not known.
            chosen = np.zeros(costs.shape, dtype=bool)
            np.put_along_axis(chosen, np.argpartition(costs, count - 1, axis=1)[:, :count], values=True, axis=1)
            chosen &= self.data.serving
        self._candidates[without] = chosen[without]
        self._programme = None

    def _near(self, costs: FloatArray, count: int) -> BoolArray:
        """[U,J] each unit's cheapest site and, of all units together, those that cost least more per kWh.

        They are ``count`` per unit.
        """
        cheapest = costs.argmin(axis=1)[:, None]
        apart = costs - np.take_along_axis(costs, cheapest, axis=1)
        apart /= np.maximum(self.data.energy.max(axis=1, keepdims=True), 1e-9)
        # Where nothing tells sites apart, only so many are taken.
        np.put_along_axis(apart, cheapest, values=-1.0, axis=1)
        found = np.zeros(apart.shape, dtype=bool)
        most = min(apart.size, count * len(apart))
        found.ravel()[np.argpartition(apart, most - 1, axis=None)[:most]] = True
        return found & self.data.serving

    def prune(self, terms: Terms) -> None:
        """Let go of candidates that have no share and are not near the cheapest at the prices known."""
        basis = self._basis
        if basis is None or not self._candidates.size:
            return
        programme = basis.programme
        near = self._near(self._ranked(terms), NEAR)
        near[programme.closed, programme.closed_site] = True
        used = basis.columns[: programme.shares] > 0
        near[programme.unit[used], programme.site[used]] = True
        self._candidates &= near

    def widen(self, terms: Terms) -> None:
        """Give a part of every slot's units, and those with a delay limit, their second cheapest site."""
        costs = self._reduced(terms)
        if costs.shape[1] == 1:
            return
        first, second = np.partition(costs, 1, axis=1)[:, :2].T
        near = self._nearest(np.arange(len(costs)), second - first)
        near = near[np.isfinite(second[near])]
        self._candidates[near] |= costs[near] <= second[near, None]
        limited = self.data.limited_unit
        self._candidates[limited] = self.data.serving[limited]
        self._programme = None

    def _nearest(self, units: IndexArray, apart: FloatArray) -> IndexArray:
        """Those of some units, a part of each slot's, that are least ``apart`` per kWh."""
        slot = self.data.slot[units]
        order = np.lexsort((apart / np.maximum(self.data.energy[units].max(axis=1), 1e-9), slot))
        begins = np.searchsorted(slot[order], np.arange(self.data.capacity.shape[2]))
        most = np.ceil(self._part * np.bincount(self.data.slot, minlength=len(begins)))
        rank = np.arange(len(order)) - begins[slot[order]]
        return np.asarray(order[rank < most[slot[order]]])

    def steps(self, terms: Terms, unit: float, slack: float = 0.0, worth: float = -np.inf) -> Steps[Answer]:
        """The optimum under an objective, which the solver sees in ``unit``, in steps.

        Args:
            terms: the objective.
            unit: its mean term.
            slack: by how much an answer below ``worth`` may miss the optimum: its last digits are no news.
            worth: what the answer has to beat.

        Raises:
            NoSolutionError: no solution keeps every limit.
            StoppedError: sifting found no end.
        """
        penalties = iter(PENALTIES)
        penalty = next(penalties)
        for _ in range(ROUNDS):
            columns = yield from self._run(terms, unit, penalty)
            total = terms
            for price, row in zip(self.prices.coupling, self._coupling, strict=True):
                total = total.plus(row.terms, float(price))
            reduced = self._reduced(total)
            programme = self._programme
            assert programme is not None  # noqa: S101 - set by _run
            paid = np.empty(len(reduced))
            paid[programme.open] = self._served
            paid[programme.closed] = reduced[programme.closed, programme.closed_site]
            least = reduced.min(axis=1, initial=np.inf)
            dear = np.nonzero(least < paid - FEASIBILITY_TOLERANCE * unit)[0]
            exceeded = columns[programme.shares + self._grid.size :]
            if terms.late is not None:
                exceeded = exceeded[~programme.in_part(DELAY)]
            kept = exceeded.max(initial=0.0) <= EXCEEDED
            bound = float(least.sum()) + self._proved(total) if kept else -np.inf
            if kept and slack > 0.0 and self._given is None:
                answer = self._answer(terms, programme, columns, bound)
                if answer.value < worth and answer.value - bound <= slack:
                    self._given = answer
                    self._take(dear, reduced, paid)
                    return answer
            if len(dear) and self._take(dear, reduced, paid):
                continue
            if kept:
                if self._given is None:
                    self._given = self._answer(terms, programme, columns, bound)
                    return self._given
                return replace(self._given, value=np.nan, bound=bound, prices=self.prices)
            following = next(penalties, None)
            if following is None:
                raise NoSolutionError
            penalty = following
        raise StoppedError(f"sifting did not end: {ROUNDS} rounds")

    def _take(self, dear: IndexArray, reduced: FloatArray, paid: FloatArray) -> bool:
        """Make the cheapest site of units that pay more a candidate; whether one is not yet."""
        cheaper = reduced[dear].argmin(axis=1)
        new = ~self._candidates[dear, cheaper]
        if not new.any():
            return False
        dear, cheaper = dear[new], cheaper[new]
        if self._part < 1.0:
            most = self._nearest(dear, reduced[dear, cheaper] - paid[dear])
            dear, cheaper = dear[most], cheaper[most]
        self._candidates[dear, cheaper] = True
        self._programme = None
        return True

    def measure(self, terms: Terms, answer: Answer) -> float:
        """What an answer adds to an objective."""
        return self._worth(terms, answer.places, answer.shares, answer.grid)

    def _worth(self, terms: Terms, places: IndexArray, shares: FloatArray, grid: FloatArray) -> float:
        unit, site = np.divmod(places, self._candidates.shape[1])
        bought = float((terms.grid[:, self.data.slots] * grid).sum())
        if terms.late is not None and len(self.data.limit):
            each = np.zeros(self._candidates.shape)
            each[unit, site] = shares
            seconds = (self.data.limited_seconds * each[self.data.limited_unit]).sum(axis=1)
            bought += float(terms.late[self.data.limited] @ np.maximum(seconds - self.data.limit, 0.0))
        return float(self.data.costs_at(terms, unit, site) @ shares) + bought + self.data.constant(terms)

    def _reduced(self, total: Terms) -> FloatArray:
        """[U,J] cost of one full share at the prices known; inf where it may not go."""
        return reduced_costs(self.data, total, self.prices)

    def _ranked(self, terms: Terms) -> FloatArray:
        """[U,J] nearly the same: of sites that cost the same, the nearer is chosen; that spreads areas, and keeps limits."""
        found, delay = self._reduced(terms), self.data.delay
        size = np.abs(found[np.isfinite(found)]).mean()
        return found + TIE * (size or 1.0) / (delay.mean() or 1.0) * delay

    def _run(self, terms: Terms, unit: float, penalty: float) -> Steps[FloatArray]:
        """One run of HiGHS, if there is need; the columns, while prices and basis are kept."""
        fresh = self._programme is None
        if fresh:
            self.keep_basis()
        programme = self._programme or assemble(self.data, self._candidates, self._coupling)
        self._programme = programme
        costs = self._costs(programme, terms, unit, penalty)
        duals = None if self._basis is None else self._basis.duals_at(self._highs, costs)
        if self._basis is None or duals is None:
            if fresh:
                # Only many units that cost the same make the simplex stall; to undo a perturbation takes more than it has left.
                alike = not terms.delay and len(self._candidates) > self._grid.size
                self._highs.setOptionValue(PERTURBATION, float(alike))
                pass_programme(self._highs, programme, costs)
                self._start(programme, terms)
            else:
                self._highs.changeColsCost(len(costs), np.arange(len(costs), dtype=np.int32), costs)
            yield self._highs
            self._basis, self._given = Basis.of(self._highs, programme), None
            duals = self._basis.row_duals
        self._set_prices(programme, -duals * unit, terms)
        return self._basis.columns

    def _costs(self, programme: BlockProgramme, terms: Terms, unit: float, penalty: float) -> FloatArray:
        """Of the columns."""
        share = self.data.costs_at(terms, programme.unit, programme.site)
        grid = terms.grid[:, self.data.slots].ravel() * self.data.kwh
        # A limit's size is what the units of a cell take together, where there are many; a coupling row's that of all.
        units = len(self._candidates)
        over = np.full(
            len(programme.elastic), penalty * (max(1.0, units / self._grid.size) if self._part < 1.0 else 1.0)
        )
        over[programme.elastic >= programme.ends[SERVED]] = penalty * max(1, units)
        if terms.late is not None:
            limits = programme.limits
            over[programme.in_part(DELAY)] = (terms.late[self.data.limited] * self.data.delay_unit)[limits] / unit
        return np.concatenate([share / unit, grid / unit, over])

    def _start(self, programme: BlockProgramme, terms: Terms) -> None:
        """Begin at the basis of the last run, as far as it is one of this programme."""
        share = self._share[programme.unit, programme.site]
        without = np.ones(len(self._candidates), dtype=bool)
        without[programme.unit[share == BASIC]] = False
        without = programme.open[without[programme.open]]
        if len(without):
            costs = np.where(self._candidates[without], self._ranked(terms)[without], np.inf)
            chosen = np.full(len(self._candidates), -1)
            chosen[without] = costs.argmin(axis=1)
            share[chosen[programme.unit] == programme.site] = BASIC
        data = self.data
        limits = len(programme.column_upper) - len(share) - self._grid.size
        over = np.concatenate([self._over, np.zeros(max(0, limits - len(self._over)), np.int8)])[:limits]
        coupling = (self._state.coupling + [BASIC] * len(self._coupling))[: len(self._coupling)]
        rows = np.concatenate([
            self._balance.ravel(), self._capacity[data.capacity_rows], self._state.delay[data.limited[programme.limits]],
            np.zeros(len(programme.open), np.int8), np.array(coupling, dtype=np.int8),
        ])  # fmt: skip
        columns = np.concatenate([share, self._grid.ravel(), over])
        basis = highspy.HighsBasis()
        basis.col_status, basis.row_status = STATUSES[columns].tolist(), STATUSES[rows].tolist()
        # Alien: HiGHS completes it where statuses do not add up to a basis.
        basis.valid, basis.alien = True, int((columns == BASIC).sum() + (rows == BASIC).sum()) != len(rows)
        self._highs.setBasis(basis)

    def _set_prices(self, programme: BlockProgramme, duals: FloatArray, terms: Terms) -> None:
        """Prices by the duals of the rows, in terms of the objective."""
        data = self.data
        self._served = -duals[programme.part(SERVED)]
        capacity = np.zeros_like(data.capacity)
        duals = np.maximum(duals, programme.least_prices)
        capacity[data.capacity_rows] = duals[programme.part(CAPACITY)] / data.capacity_unit
        delay = np.zeros(len(data.limit))
        delay[programme.limits] = duals[programme.part(DELAY)] / data.delay_unit[programme.limits]
        most = np.inf if terms.late is None else terms.late[data.limited]
        self.prices = Prices(
            balance=(duals[programme.part(BALANCE)] / data.kwh).reshape(self._grid.shape),
            capacity=capacity,
            # No limit's price is above what exceeding it costs, and none is for a side that is not there.
            delay=np.minimum(delay, np.where(np.isinf(data.limit), 0.0, most)),
            coupling=duals[programme.part(COUPLING)] / np.array([row.unit for row in self._coupling]),
        )

    def keep_basis(self) -> None:
        """Write the basis of the last run into the state."""
        if self._basis is None:
            return
        basis, self._basis = self._basis, None
        programme, (column, row) = basis.programme, basis.codes()
        data, cells, shares = self.data, self._grid.size, programme.shares
        self._share[:] = LOWER
        self._share[programme.closed, programme.closed_site] = BASIC
        self._share[programme.unit, programme.site] = column[:shares]
        self._over = column[shares + cells :]
        self._grid[:] = column[shares : shares + cells].reshape(self._grid.shape)
        self._balance[:] = row[programme.part(BALANCE)].reshape(self._grid.shape)
        self._capacity[data.capacity_rows] = row[programme.part(CAPACITY)]
        self._state.delay[data.limited] = BASIC
        self._state.delay[data.limited[programme.limits]] = row[programme.part(DELAY)]
        if self._coupling:
            self._state.coupling[:] = row[programme.part(COUPLING)].tolist()

    def _answer(self, terms: Terms, programme: BlockProgramme, columns: FloatArray, bound: float) -> Answer:
        sites, shares = self._candidates.shape[1], columns[: programme.shares]
        used = np.nonzero(shares > 0)[0]
        places = np.concatenate([
            programme.closed * sites + programme.closed_site, programme.unit[used] * sites + programme.site[used],
        ])  # fmt: skip
        served = np.concatenate([np.ones(len(programme.closed)), shares[used]])
        cells = self._grid.size
        grid = (columns[programme.shares : programme.shares + cells] * self.data.kwh).reshape(self._grid.shape)
        value = self._worth(terms, places, served, grid)
        return Answer(places, served, grid, value, bound, self.prices)

    def _proved(self, total: Terms) -> float:
        """The Lagrangian bound but for its part by unit."""
        data, prices = self.data, self.prices
        up, down = np.maximum(prices.balance, 0.0), np.maximum(-prices.balance, 0.0)
        limits = (up * data.available - down * data.least).sum() + (prices.capacity * data.capacity).sum()
        coupled = sum(price * row.most for price, row in zip(prices.coupling, self._coupling, strict=True))
        charged = total.grid[:, data.slots] - prices.balance
        bought = np.where(charged > 0, data.grid_least, data.grid_limit) * charged
        late = prices.delay @ np.where(prices.delay < 0, data.delay_least, np.where(prices.delay > 0, data.limit, 0.0))
        return data.constant(total) + float(bought.sum()) - float(limits + late) - float(coupled)
