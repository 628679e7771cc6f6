"""The arrays of a block's linear programme for a set of candidate sites.

Columns: the shares of open units, grid energy by cell, one excess per limit. Rows: the balance of every cell, the
capacities that can be exceeded, the delay limits that can, one sum per open unit, the coupling rows. A *cell* is a
(site, slot) of the block. Rows are in units of their size, so that one tolerance means the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.optimizer.layout import IndexArray
from green_llm.optimizer.units import Terms, Units

BALANCE, CAPACITY, DELAY, SERVED, COUPLING = range(5)
"""Blocks of rows."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """A row over all slots: least ≤ terms ≤ most; the solver sees it in ``unit``."""

    terms: Terms
    most: float
    unit: float
    least: float = -np.inf
    """Equal to ``most``, or there is none."""


@dataclass(frozen=True, eq=False)
class Data:
    """Numbers of the slots ``first`` to ``last`` of an instance, fixed triples taken off the limits."""

    slots: slice
    units: slice
    """Of the horizon's units."""
    slot: IndexArray
    """[U] slot of each unit, counted inside the block."""
    serving: BoolArray
    delay: FloatArray
    energy: FloatArray
    use: FloatArray
    capacity: FloatArray
    """[R,J,T]."""
    capacity_least: FloatArray
    """[R,J,T], -inf where there is none."""
    available: FloatArray
    """[J,T] most of P^d − P^g, kWh."""
    least: FloatArray
    """[J,T] least of P^d − P^g, kWh."""
    grid_least: FloatArray
    """[J,T], kWh."""
    grid_limit: FloatArray
    """[J,T], kWh."""
    fixed_energy: FloatArray
    fixed_delay: float
    limited: IndexArray
    """Triples with a delay limit that can be broken."""
    limited_unit: IndexArray
    limited_seconds: FloatArray
    limit: FloatArray
    delay_least: FloatArray
    """[n] s, -inf where there is none."""
    delay_unit: FloatArray
    """[n] s: a delay limit's row is in units of the limit; one of nothing in microseconds."""
    kwh: float
    """Unit of energy: the mean of a cell."""
    capacity_rows: tuple[IndexArray, ...]
    """(resource, site, slot) of the capacities that can be exceeded."""
    capacity_unit: FloatArray

    @classmethod
    def of(cls, instance: Instance, units: Units, first: int, last: int) -> Data:
        """The numbers of some slots."""
        slots, here = slice(first, last), slice(int(units.starts[first]), int(units.starts[last]))
        count, limits = last - first, units.limits
        slot = units.slots[here] - first
        energy, use, serving = units.energy[here], units.use[:, here], units.serving[here]
        capacity = limits.capacity_most[:, :, slots] - units.fixed_use[:, :, slots]
        least = limits.capacity_least[:, :, slots] - units.fixed_use[:, :, slots]
        limited = units.limited[units.limited_starts[first] : units.limited_starts[last]]
        most = np.zeros_like(capacity)
        for r in range(len(capacity)):
            most[r] = by_cell(np.where(serving, use[r], 0.0), slot, count)
        rows = np.nonzero((most > capacity * (1.0 - 1e-12)) | (np.isfinite(least) & (most > 0)))
        cells = max(1, count * len(instance.sites))
        return cls(
            slots=slots, units=here, slot=slot, serving=serving, delay=units.delay[here], energy=energy, use=use,
            capacity=capacity,
            capacity_least=least, available=limits.balance_most[:, slots] - units.fixed_energy[:, slots],
            least=limits.balance_least[:, slots] - units.fixed_energy[:, slots],
            grid_least=limits.grid_least[:, slots], grid_limit=limits.grid_most[:, slots],
            fixed_energy=units.fixed_energy[:, slots], fixed_delay=float(units.fixed_delay[slots].sum()),
            limited=limited, limited_unit=units.of_triple[limited] - here.start,
            limited_seconds=units.triples.seconds[limited], limit=limits.delay_most[limited],
            delay_least=limits.delay_least[limited], delay_unit=np.maximum(units.triples.limit[limited], 1e-6),
            kwh=max(float(energy.mean()) * len(slot) / cells, 1e-12) if energy.size else 1.0,
            capacity_rows=rows, capacity_unit=np.maximum(capacity, 1e-3 * np.maximum(most, units.fixed_use[:, :, slots]))[rows],
        )  # fmt: skip

    def by_unit(self, per_cell: FloatArray) -> FloatArray:
        """[J,T] spread to the units, [U,J] (one row where all are of one slot)."""
        return per_cell.T if per_cell.shape[1] == 1 else per_cell.T[self.slot]

    def can_break(self, candidates: BoolArray) -> BoolArray:
        """Whether shares at candidates [U,J] can break each delay limit, [n]."""
        slower = candidates[self.limited_unit] & (self.limited_seconds > self.limit[:, None])
        return np.asarray(slower.any(axis=1) | np.isfinite(self.delay_least))

    def costs_at(self, terms: Terms, unit: IndexArray, site: IndexArray) -> FloatArray:
        """[m] the same for some units and sites."""
        found = terms.delay * self.delay[unit, site] if terms.delay else np.zeros(len(unit))
        facility = terms.facility[:, self.slots]
        # Cost and carbon count grid energy alone.
        if facility.any():
            found += self.energy[unit, site] * facility[site, self.slot[unit]]
        if terms.names is not None:
            found += terms.names[self.units][unit, site]
        return found

    def constant(self, terms: Terms) -> float:
        """What the fixed triples add to an objective, without grid energy."""
        return terms.delay * self.fixed_delay + float((terms.facility[:, self.slots] * self.fixed_energy).sum())


def by_cell(array: FloatArray, slot: IndexArray, count: int) -> FloatArray:
    """[U,J] summed by slot, [J,T]."""
    if count == 1:
        return np.asarray(array.sum(axis=0)[:, None])
    found = np.zeros((count, array.shape[1]))
    # Units are sorted by slot.
    here, begins = np.unique(slot, return_index=True)
    if len(here):
        found[here] = np.add.reduceat(array, begins, axis=0)
    return found.T


@dataclass(frozen=True, eq=False)
class BlockProgramme:
    """A programme by columns, and what its columns stand for."""

    open: IndexArray
    """Units with a row: more than one candidate, or a delay limit that has one."""
    closed: IndexArray
    """Units whose only candidate is known."""
    closed_site: IndexArray
    limits: IndexArray
    """Delay limits of the block that have a row: those that the candidates can break."""
    unit: IndexArray
    """[n] unit of each share column."""
    site: IndexArray
    ends: IndexArray
    """Ends of the blocks of rows."""
    starts: IndexArray
    rows: IndexArray
    values: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray
    elastic: IndexArray
    """Row that each of the last columns leaves: upwards, then downwards where it has a lower side to be kept."""

    @property
    def shares(self) -> int:
        """Number of share columns."""
        return len(self.unit)

    @cached_property
    def least_prices(self) -> FloatArray:
        """Of the rows: 0 but where both sides are to be kept."""
        return np.where(np.isfinite(self.row_lower), -np.inf, 0.0)

    def in_part(self, block: int) -> BoolArray:
        """Whether each elastic column is of a block of rows."""
        part = self.part(block)
        return np.asarray((self.elastic >= part.start) & (self.elastic < part.stop))

    def part(self, block: int) -> slice:
        """Where a block of rows is."""
        return slice(int(self.ends[block - 1]) if block else 0, int(self.ends[block]))


def assemble(data: Data, candidates: BoolArray, coupling: Sequence[Coupling]) -> BlockProgramme:
    """The programme of a block for candidates [U,J]; every unit has at least one."""
    limits = np.nonzero(data.can_break(candidates))[0]
    limited_unit, delay_unit = data.limited_unit[limits], data.delay_unit[limits]
    is_open = candidates.sum(axis=1) > 1
    is_open[limited_unit] = True
    opened, closed = np.nonzero(is_open)[0], np.nonzero(~is_open)[0]
    closed_site = candidates[closed].argmax(axis=1)
    place, site = np.nonzero(candidates[opened])
    unit = opened[place]
    sites, count = data.capacity.shape[1:]
    cells, shares, slot = sites * count, len(unit), data.slot[unit]
    ends = np.cumsum([cells, len(data.capacity_unit), len(limits), len(opened), len(coupling)])
    columns = np.arange(shares)
    grid = shares + np.arange(cells)
    parts = [(data.energy[unit, site] / data.kwh, site * count + slot, columns)]
    capacity_parts, capacity_sides = _capacities(data, unit, site, slot, closed, closed_site, int(ends[BALANCE]))
    parts += capacity_parts
    if len(limits):
        column_of = np.full(candidates.shape, -1)
        column_of[unit, site] = columns
        row, at = np.nonzero(candidates[limited_unit])
        scaled = data.limited_seconds[limits[row], at] / delay_unit[row]
        parts.append((scaled, ends[CAPACITY] + row, column_of[limited_unit[row], at]))
    parts.append((np.ones(shares), ends[DELAY] + place, columns))
    parts.append((-np.ones(cells), np.arange(cells), grid))
    taken = _at_sites(data, data.energy, closed, closed_site)
    lower, upper = np.full(int(ends[COUPLING]), -np.inf), np.ones(int(ends[COUPLING]))
    lower[:cells], upper[:cells] = (((side - taken) / data.kwh).ravel() for side in (data.least, data.available))
    lower[cells : ends[CAPACITY]], upper[cells : ends[CAPACITY]] = capacity_sides
    lower[ends[CAPACITY] : ends[DELAY]] = data.delay_least[limits] / delay_unit
    upper[ends[CAPACITY] : ends[DELAY]] = data.limit[limits] / delay_unit
    lower[ends[DELAY] : ends[SERVED]] = 1.0
    for m, row_of in enumerate(coupling):
        shared = data.costs_at(row_of.terms, unit, site)
        values = np.concatenate([shared, row_of.terms.grid[:, data.slots].ravel() * data.kwh]) / row_of.unit
        used = np.nonzero(values)[0]
        parts.append((values[used], np.full(len(used), ends[SERVED] + m), used))
        elsewhere = float(data.costs_at(row_of.terms, closed, closed_site).sum()) + data.constant(row_of.terms)
        lower[ends[SERVED] + m] = (row_of.least - elsewhere) / row_of.unit
        upper[ends[SERVED] + m] = (row_of.most - elsewhere) / row_of.unit
    over = np.concatenate([np.arange(ends[DELAY]), np.arange(ends[SERVED], ends[COUPLING])])
    # Without bounds of P^g, none of it is too much.
    short = over[np.where(over < cells, (lower == upper)[over] | data.grid_least.any(), np.isfinite(lower)[over])]
    elastic = np.concatenate([over, short])
    width = shares + cells + len(elastic)
    sign = np.concatenate([-np.ones(len(over)), np.ones(len(short))])
    parts.append((sign, elastic, np.arange(shares + cells, width)))
    values, rows, places = (np.concatenate(piece) for piece in zip(*parts, strict=True))
    order, counts = np.argsort(places, kind="stable"), np.bincount(places, minlength=width)
    return BlockProgramme(
        open=opened, closed=closed, closed_site=closed_site, limits=limits, unit=unit, site=site, ends=ends,
        starts=np.concatenate([[0], np.cumsum(counts)]), rows=rows[order], values=values[order], row_lower=lower,
        row_upper=upper, elastic=elastic,
        column_lower=np.concatenate([np.zeros(shares), (data.grid_least / data.kwh).ravel(), np.zeros(len(elastic))]),
        column_upper=np.concatenate([np.ones(shares), (data.grid_limit / data.kwh).ravel(), np.full(len(elastic), np.inf)]),
    )  # fmt: skip


def _capacities(
    data: Data,
    unit: IndexArray,
    site: IndexArray,
    slot: IndexArray,
    closed: IndexArray,
    closed_site: IndexArray,
    row: int,
) -> tuple[list[tuple[FloatArray, IndexArray, IndexArray]], list[FloatArray]]:
    """Entries, lower and upper sides of the capacity rows, which begin at ``row``."""
    parts = []
    row_of = np.full(data.capacity.shape, -1)
    row_of[data.capacity_rows] = np.arange(len(data.capacity_unit))
    taken = np.zeros_like(data.capacity)
    for r in range(len(data.capacity)):
        if (row_of[r] < 0).all():
            continue
        taken[r] = _at_sites(data, data.use[r], closed, closed_site)
        mine = row_of[r, site, slot]
        there = np.nonzero(mine >= 0)[0]
        parts.append(
            (data.use[r][unit[there], site[there]] / data.capacity_unit[mine[there]], row + mine[there], there)
        )
    sides = (data.capacity_least, data.capacity)
    return parts, [(side - taken)[data.capacity_rows] / data.capacity_unit for side in sides]


def _at_sites(data: Data, array: FloatArray, units: IndexArray, sites: IndexArray) -> FloatArray:
    """Sum of array[unit, site] by cell, [J,T]."""
    shape = data.available.shape
    cell = sites * shape[1] + data.slot[units]
    found = np.bincount(cell, weights=array[units, sites], minlength=shape[0] * shape[1])
    return np.asarray(found, dtype=np.float64).reshape(shape)
