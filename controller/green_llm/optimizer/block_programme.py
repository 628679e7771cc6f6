"""The arrays of a block's linear programme for a set of candidate sites.

Columns: the shares of open units, grid energy by cell, one excess per limit. Rows: the balance of every cell, the
capacities that can be exceeded, the delay limits that can, one sum per open unit, the coupling rows. A *cell* is a
(site, slot) of the block. Rows are in units of their size, so that one tolerance means the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.optimizer.layout import IndexArray
from green_llm.optimizer.units import Terms, Units

BALANCE, CAPACITY, DELAY, SERVED, COUPLING = range(5)
"""Blocks of rows."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """A row over all slots: terms ≤ most; the solver sees it in ``unit``."""

    terms: Terms
    most: float
    unit: float


@dataclass(frozen=True, eq=False)
class Data:
    """Numbers of the slots ``first`` to ``last`` of an instance, fixed triples taken off the limits."""

    slots: slice
    slot: IndexArray
    """[U] slot of each unit, counted inside the block."""
    serving: BoolArray
    delay: FloatArray
    energy: FloatArray
    use: FloatArray
    capacity: FloatArray
    """[R,J,T]."""
    available: FloatArray
    """[J,T] most of P^d − P^g, kWh."""
    least: FloatArray
    """[J,T] least of P^d − P^g, kWh."""
    grid_limit: FloatArray
    """[J,T], kWh."""
    fixed_energy: FloatArray
    fixed_delay: float
    limited: IndexArray
    """Triples with a delay limit that can be broken."""
    limited_unit: IndexArray
    limited_seconds: FloatArray
    limit: FloatArray
    kwh: float
    """Unit of energy: the mean of a cell."""
    capacity_rows: tuple[IndexArray, ...]
    """(resource, site, slot) of the capacities that can be exceeded."""
    capacity_unit: FloatArray

    @classmethod
    def of(cls, instance: Instance, units: Units, first: int, last: int) -> Data:
        """The numbers of some slots."""
        slots, here = slice(first, last), slice(int(units.starts[first]), int(units.starts[last]))
        count = last - first
        slot = units.slots[here] - first
        energy, use, serving = units.energy[here], units.use[:, here], units.serving[here]
        capacity = np.repeat(instance.usable_capacity[..., None], count, axis=2) - units.fixed_use[:, :, slots]
        limited = units.limited[units.limited_starts[first] : units.limited_starts[last]]
        most = np.zeros_like(capacity)
        for r in range(len(capacity)):
            most[r] = by_cell(np.where(serving, use[r], 0.0), slot, count)
        rows = np.nonzero(most > capacity * (1.0 - 1e-12))
        cells = max(1, count * len(instance.sites))
        return cls(
            slots=slots, slot=slot, serving=serving, delay=units.delay[here], energy=energy, use=use, capacity=capacity,
            available=instance.available_kwh[:, slots] - units.fixed_energy[:, slots],
            least=-units.fixed_energy[:, slots], grid_limit=instance.grid_limit_kwh[:, slots],
            fixed_energy=units.fixed_energy[:, slots], fixed_delay=float(units.fixed_delay[slots].sum()),
            limited=limited, limited_unit=units.of_triple[limited] - here.start,
            limited_seconds=units.triples.seconds[limited], limit=units.triples.limit[limited],
            kwh=max(float(energy.mean()) * len(slot) / cells, 1e-12) if energy.size else 1.0,
            capacity_rows=rows, capacity_unit=np.maximum(capacity[rows], 1e-3 * most[rows]),
        )  # fmt: skip

    def by_unit(self, per_cell: FloatArray) -> FloatArray:
        """[J,T] spread to the units, [U,J] (one row where all are of one slot)."""
        return per_cell.T if per_cell.shape[1] == 1 else per_cell.T[self.slot]

    def costs_at(self, terms: Terms, unit: IndexArray, site: IndexArray) -> FloatArray:
        """[m] the same for some units and sites."""
        found = terms.delay * self.delay[unit, site] if terms.delay else np.zeros(len(unit))
        facility = terms.facility[:, self.slots]
        # Cost and carbon count grid energy alone.
        if facility.any():
            found += self.energy[unit, site] * facility[site, self.slot[unit]]
        return found

    def constant(self, terms: Terms) -> float:
        """What the fixed triples add to an objective, without grid energy."""
        return terms.delay * self.fixed_delay + float((terms.facility[:, self.slots] * self.fixed_energy).sum())


def by_cell(array: FloatArray, slot: IndexArray, count: int) -> FloatArray:
    """[U,J] summed by slot, [J,T]."""
    if count == 1:
        return np.asarray(array.sum(axis=0)[:, None])
    found = np.zeros((count, array.shape[1]))
    np.add.at(found, slot, array)
    return found.T


@dataclass(frozen=True, eq=False)
class BlockProgramme:
    """A programme by columns, and what its columns stand for."""

    open: IndexArray
    """Units with a row: more than one candidate, or a delay limit."""
    closed: IndexArray
    """Units whose only candidate is known."""
    closed_site: IndexArray
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
    column_upper: FloatArray

    @property
    def shares(self) -> int:
        """Number of share columns."""
        return len(self.unit)

    def part(self, block: int) -> slice:
        """Where a block of rows is."""
        return slice(int(self.ends[block - 1]) if block else 0, int(self.ends[block]))


def assemble(data: Data, candidates: BoolArray, coupling: Sequence[Coupling]) -> BlockProgramme:
    """The programme of a block for candidates [U,J]; every unit has at least one."""
    limited = np.zeros(len(candidates), dtype=bool)
    limited[data.limited_unit] = True
    is_open = (candidates.sum(axis=1) > 1) | limited
    opened, closed = np.nonzero(is_open)[0], np.nonzero(~is_open)[0]
    closed_site = candidates[closed].argmax(axis=1)
    place, site = np.nonzero(candidates[opened])
    unit = opened[place]
    sites, count = data.capacity.shape[1:]
    cells, shares, slot = sites * count, len(unit), data.slot[unit]
    ends = np.cumsum([cells, len(data.capacity_unit), len(data.limit), len(opened), len(coupling)])
    columns = np.arange(shares)
    grid = shares + np.arange(cells)
    parts = [(data.energy[unit, site] / data.kwh, site * count + slot, columns)]
    capacity_parts, capacity_upper = _capacities(data, unit, site, slot, closed, closed_site, int(ends[BALANCE]))
    parts += capacity_parts
    if len(data.limit):
        column_of = np.full(candidates.shape, -1)
        column_of[unit, site] = columns
        row, at = np.nonzero(column_of[data.limited_unit] >= 0)
        scaled = data.limited_seconds[row, at] / _size(data.limit)[row]
        parts.append((scaled, ends[CAPACITY] + row, column_of[data.limited_unit[row], at]))
    parts.append((np.ones(shares), ends[DELAY] + place, columns))
    parts.append((-np.ones(cells), np.arange(cells), grid))
    taken = _at_sites(data, data.energy, closed, closed_site)
    coupling_upper = np.empty(len(coupling))
    for m, row_of in enumerate(coupling):
        shared = data.costs_at(row_of.terms, unit, site)
        values = np.concatenate([shared, row_of.terms.grid[:, data.slots].ravel() * data.kwh]) / row_of.unit
        used = np.nonzero(values)[0]
        parts.append((values[used], np.full(len(used), ends[SERVED] + m), used))
        elsewhere = float(data.costs_at(row_of.terms, closed, closed_site).sum()) + data.constant(row_of.terms)
        coupling_upper[m] = (row_of.most - elsewhere) / row_of.unit
    limits = np.concatenate([np.arange(ends[DELAY]), np.arange(ends[SERVED], ends[COUPLING])])
    width = shares + cells + len(limits)
    parts.append((-np.ones(len(limits)), limits, np.arange(shares + cells, width)))
    values, rows, places = (np.concatenate(piece) for piece in zip(*parts, strict=True))
    order = np.argsort(places, kind="stable")
    served = np.ones(len(opened))
    lower = np.full(int(ends[COUPLING]), -np.inf)
    lower[:cells], lower[ends[DELAY] : ends[SERVED]] = ((data.least - taken) / data.kwh).ravel(), served
    return BlockProgramme(
        open=opened, closed=closed, closed_site=closed_site, unit=unit, site=site, ends=ends,
        starts=np.searchsorted(places[order], np.arange(width + 1)), rows=rows[order], values=values[order], row_lower=lower,
        row_upper=np.concatenate([
            ((data.available - taken) / data.kwh).ravel(), capacity_upper, data.limit / _size(data.limit), served,
            coupling_upper,
        ]),
        column_upper=np.concatenate([np.ones(shares), (data.grid_limit / data.kwh).ravel(), np.full(len(limits), np.inf)]),
    )  # fmt: skip


def _capacities(
    data: Data,
    unit: IndexArray,
    site: IndexArray,
    slot: IndexArray,
    closed: IndexArray,
    closed_site: IndexArray,
    row: int,
) -> tuple[list[tuple[FloatArray, IndexArray, IndexArray]], FloatArray]:
    """Entries and upper sides of the capacity rows, which begin at ``row``."""
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
    return parts, (data.capacity - taken)[data.capacity_rows] / data.capacity_unit


def _at_sites(data: Data, array: FloatArray, units: IndexArray, sites: IndexArray) -> FloatArray:
    """Sum of array[unit, site] by cell, [J,T]."""
    shape = data.available.shape
    cell = sites * shape[1] + data.slot[units]
    found = np.bincount(cell, weights=array[units, sites], minlength=shape[0] * shape[1])
    return np.asarray(found, dtype=np.float64).reshape(shape)


def _size(limit: FloatArray) -> FloatArray:
    """A delay limit's row is in units of the limit; one of nothing in microseconds."""
    return np.maximum(limit, 1e-6)
