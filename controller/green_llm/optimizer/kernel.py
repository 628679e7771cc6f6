"""The programme's arrays from new data, by numpy alone: what keeps a live process fast.

``refill`` gives entry for entry what ``compilation.compile_model`` compiles from the Pyomo model; a test holds the
two together on instances with every optional field. A faster method of solving starts here, not at Pyomo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.coefficients import (
    delay_seconds,
    facility_energy_kwh,
    grid_prices,
    resource_use,
    water_per_facility_kwh,
)
from green_llm.optimizer.layout import IndexArray, Layout
from green_llm.optimizer.standard_form import StandardForm, column_parts

Terms = tuple[FloatArray, IndexArray, IndexArray]
"""Values, rows (counted inside the block) and columns of non-zeros."""


@dataclass(frozen=True, eq=False)
class _Block:
    """Some rows of the programme."""

    terms: tuple[Terms, ...]
    lower: FloatArray
    upper: FloatArray

    def below(self, row: int) -> Iterator[Terms]:
        """The non-zeros with rows counted in a programme where the block begins at ``row``."""
        return ((values, rows + row, columns) for values, rows, columns in self.terms)


class _Kernel:
    """Coefficients of one instance in the order of its layout's columns; one method per block of rows."""

    def __init__(self, instance: Instance, layout: Layout, *, relaxed: bool) -> None:
        self.data, self.layout, self.relaxed = instance, layout, relaxed
        parts = column_parts(instance, layout, relaxed=relaxed)
        self.width = max(part.stop for part in parts.values())
        self.columns = {name: np.arange(part.start, part.stop) for name, part in parts.items()}
        self.slot = layout.slots[layout.column_triple]
        self.cell = layout.column_site * instance.slots + self.slot
        self.energy = layout.share(facility_energy_kwh(instance))
        self.delays = layout.share(delay_seconds(instance))
        self.liters = water_per_facility_kwh(instance)[layout.column_site, self.slot] * self.energy
        self.given = layout.share(np.repeat(instance.fixed_shares[..., None], instance.slots, axis=3))
        self.limits = instance.delay_limit[layout.areas, layout.classes][layout.delay_rows]

    def balance(self) -> _Block:
        cells = self.columns["grid_energy"]
        bought = (np.full(len(cells), -1.0), np.arange(len(cells)), cells)
        used = (self.energy, self.cell, self.columns["share"])
        return _Block((used, bought), np.zeros(len(cells)), self.data.available_kwh.ravel())

    def water_cap(self) -> _Block:
        if self.data.water_cap is None:
            return self._none()
        values = [self.liters, grid_prices(self.data, Objective.WATER).ravel()]
        columns = [self.columns["share"], self.columns["grid_energy"]]
        if self.relaxed:
            values, columns = [*values, np.array([-1.0])], [*columns, self.columns["water_excess"]]
        one_row = np.concatenate(values), np.zeros(sum(map(len, values)), np.intp), np.concatenate(columns)
        return _Block((one_row,), np.array([-np.inf]), np.array([self.data.water_cap]))

    def capacity(self) -> _Block:
        rows = np.array(self.layout.capacity_rows, dtype=np.intp).reshape(-1, 3)
        if not len(rows):
            return self._none()
        terms = []
        for r in range(len(self.data.resources)):
            row_of_cell = np.full(len(self.columns["grid_energy"]), -1)
            mine = np.nonzero(rows[:, 0] == r)[0]
            row_of_cell[rows[mine, 1] * self.data.slots + rows[mine, 2]] = mine
            limited = np.nonzero(row_of_cell[self.cell] >= 0)[0]
            use = self.layout.share(resource_use(self.data, r))[limited]
            terms.append((use, row_of_cell[self.cell[limited]], limited))
        return _Block(tuple(terms), np.full(len(rows), -np.inf), self.data.usable_capacity[rows[:, 0], rows[:, 1]])

    def all_served(self) -> _Block:
        ones = np.ones(self.layout.triples)
        terms = [(np.ones(self.layout.columns), self.layout.column_triple, self.columns["share"])]
        if self.relaxed:
            terms.append((ones, np.arange(len(ones)), self.columns["unserved"]))
        return _Block(tuple(terms), ones, ones)

    def delay_limit(self) -> _Block:
        layout, count = self.layout, len(self.layout.delay_rows)
        row_of_triple = np.full(layout.triples, -1)
        row_of_triple[layout.delay_rows] = np.arange(count)
        limited = np.nonzero(row_of_triple[layout.column_triple] >= 0)[0]
        terms = [(self.delays[limited], row_of_triple[layout.column_triple[limited]], limited)]
        if self.relaxed:
            terms.append((self.limits, np.arange(count), self.columns["unserved"][layout.delay_rows]))
            terms.append((np.full(count, -1.0), np.arange(count), self.columns["delay_excess"]))
        return _Block(tuple(terms), np.full(count, -np.inf), self.limits)

    def share_groups(self) -> _Block:
        pairs = np.array(self.layout.group_rows, dtype=np.intp).reshape(-1, 2)
        rows, ones = np.arange(len(pairs)), np.ones(len(pairs))
        return _Block(((-ones, rows, pairs[:, 0]), (ones, rows, pairs[:, 1])), 0.0 * ones, 0.0 * ones)

    def fixed(self) -> _Block:
        if not self.relaxed:
            return self._none()
        held = np.nonzero(~np.isnan(self.given))[0]
        rows, shares = np.arange(len(held)), self.given[held]
        unserved = self.columns["unserved"][self.layout.column_triple[held]]
        return _Block(((np.ones(len(held)), rows, held), (shares, rows, unserved)), shares, shares)

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of the columns."""
        free = np.isnan(self.given) | self.relaxed
        lower, upper = np.zeros(self.width), np.full(self.width, np.inf)
        lower[self.columns["share"]] = np.where(free, 0.0, self.given)
        upper[self.columns["share"]] = np.where(free, 1.0, self.given)
        upper[self.columns["grid_energy"]] = self.data.grid_limit_kwh.ravel()
        if self.relaxed:
            upper[self.columns["unserved"]] = 1.0
        return lower, upper

    def objective(self, objective: Objective) -> FloatArray:
        """Coefficients of all columns."""
        found = np.zeros(self.width)
        found[self.columns["grid_energy"]] = grid_prices(self.data, objective).ravel()
        if objective is Objective.DELAY:
            penalty = self.data.delay_penalty[self.layout.classes[self.layout.column_triple]]
            found[self.columns["share"]] = penalty * self.delays
        if objective is Objective.WATER:
            found[self.columns["share"]] = self.liters
        return found

    def _none(self) -> _Block:
        return _Block(((np.empty(0), np.empty(0, np.intp), np.empty(0, np.intp)),), np.empty(0), np.empty(0))


def refill(instance: Instance, layout: Layout, *, relaxed: bool = False) -> StandardForm:
    """The arrays ``compile_model`` gives for an instance in a layout that covers it, made by numpy alone."""
    kernel = _Kernel(instance, layout, relaxed=relaxed)
    blocks: tuple[_Block, ...] = (
        kernel.balance(), kernel.water_cap(), kernel.capacity(), kernel.all_served(),
        kernel.delay_limit(), kernel.share_groups(), kernel.fixed(),
    )  # fmt: skip
    begins = np.cumsum([0, *(len(block.upper) for block in blocks)]).tolist()
    terms = [part for block, row in zip(blocks, begins, strict=False) for part in block.below(row)]
    values, rows, columns = (np.concatenate(parts) for parts in zip(*terms, strict=True))
    matrix = sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=(begins[-1], kernel.width)))
    matrix.eliminate_zeros()
    lower, upper = kernel.bounds()
    return StandardForm(
        instance=instance,
        layout=layout,
        relaxed=relaxed,
        matrix=matrix,
        row_lower=np.concatenate([block.lower for block in blocks]),
        row_upper=np.concatenate([block.upper for block in blocks]),
        column_lower=lower,
        column_upper=upper,
        objectives={objective: kernel.objective(objective) for objective in Objective},
    )
