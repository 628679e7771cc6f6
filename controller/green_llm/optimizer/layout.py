"""Which variables and rows the programme has: the sparsity of one instance.

Only what can matter is there: no share without demand or permission, no capacity or delay row that no plan can break.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from green_llm.domain.instance import FloatArray, Instance
from green_llm.optimizer.coefficients import delay_seconds, may_serve, resource_use

IndexArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Layout:
    """Index arrays of variables and rows. A *triple* is an (area, class, slot) with demand."""

    areas: IndexArray
    """[n] area of each triple."""
    classes: IndexArray
    """[n] class of each triple."""
    slots: IndexArray
    """[n] slot of each triple."""
    column_triple: IndexArray
    """[m] triple of each share variable, ascending."""
    column_site: IndexArray
    """[m] site of each share variable."""
    fixed: NDArray[np.bool_]
    """[n] whether the triple's shares are given."""
    delay_rows: IndexArray
    """Triples whose delay limit could be exceeded."""
    capacity_rows: tuple[tuple[int, int, int], ...]
    """(resource, site, slot) whose capacity could be exceeded."""
    group_rows: tuple[tuple[int, int], ...]
    """(column, column) of two triples with one common share at the same site."""
    water_row: bool

    @property
    def triples(self) -> int:
        """Number of triples."""
        return len(self.areas)

    @property
    def columns(self) -> int:
        """Number of share variables."""
        return len(self.column_triple)

    def share(self, array: FloatArray) -> FloatArray:
        """Entries of an [I,J,K,T] array in the order of the share variables, [m]."""
        n = self.column_triple
        picked: FloatArray = array[self.areas[n], self.column_site, self.classes[n], self.slots[n]]
        return picked

    def same_layout(self, other: Layout) -> bool:
        """Whether a basis of one fits the other: the same variables and rows in the same order."""
        return (
            all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in ("areas", "classes", "slots", "column_triple", "column_site", "delay_rows")
            )
            and self.capacity_rows == other.capacity_rows
            and self.group_rows == other.group_rows
            and self.water_row == other.water_row
        )


def layout(instance: Instance, *, every_row: bool = False) -> Layout:
    """The layout of an instance; ``every_row`` keeps also the rows that no plan can break."""
    serving = may_serve(instance)
    areas, classes, slots = np.nonzero(instance.demand > 0)
    column_triple, column_site = np.nonzero(serving[areas, :, classes])
    fixed = ~np.isnan(instance.fixed_shares[areas, 0, classes])
    return Layout(
        areas=areas,
        classes=classes,
        slots=slots,
        column_triple=column_triple,
        column_site=column_site,
        fixed=fixed,
        delay_rows=_delay_rows(instance, serving, areas, classes, slots, fixed, every_row),
        capacity_rows=_capacity_rows(instance, serving, every_row),
        group_rows=_group_rows(instance, areas, classes, slots, column_triple, column_site),
        water_row=instance.water_cap is not None,
    )


def _delay_rows(
    instance: Instance,
    serving: NDArray[np.bool_],
    areas: IndexArray,
    classes: IndexArray,
    slots: IndexArray,
    fixed: NDArray[np.bool_],
    every_row: bool,
) -> IndexArray:
    """Triples with a limit below the delay of their slowest site; a weighted mean cannot exceed the largest."""
    slowest = np.where(serving[..., None], delay_seconds(instance), -np.inf).max(axis=1)[areas, classes, slots]
    limits = instance.delay_limit[areas, classes]
    return np.nonzero(np.isfinite(limits) & ~fixed & (every_row | (slowest > limits)))[0]


def _capacity_rows(instance: Instance, serving: NDArray[np.bool_], every_row: bool) -> tuple[tuple[int, int, int], ...]:
    """Rows where a site's capacity is below what it needs when it serves everything it may."""
    rows: list[tuple[int, int, int]] = []
    for r in range(len(instance.resources)):
        most = np.einsum("ijkt,ijk->jt", resource_use(instance, r), serving.astype(float))
        tight = every_row | (most > instance.usable_capacity[r][:, None])
        sites, slots = np.nonzero(tight)
        rows += [(r, int(j), int(t)) for j, t in zip(sites, slots, strict=True)]
    return tuple(rows)


def _group_rows(
    instance: Instance,
    areas: IndexArray,
    classes: IndexArray,
    slots: IndexArray,
    column_triple: IndexArray,
    column_site: IndexArray,
) -> tuple[tuple[int, int], ...]:
    """Ties every member of a group to the group's first member with demand in the slot."""
    if not instance.share_groups:
        return ()
    triple = {key: n for n, key in enumerate(zip(areas.tolist(), classes.tolist(), slots.tolist(), strict=True))}
    column = {key: c for c, key in enumerate(zip(column_triple.tolist(), column_site.tolist(), strict=True))}
    rows: list[tuple[int, int]] = []
    for group in instance.share_groups:
        for t in range(instance.slots):
            present = [triple[i, k, t] for i, k in group if (i, k, t) in triple]
            rows += [
                (column[present[0], j], column[other, j])
                for other in present[1:]
                for j in range(len(instance.sites))
                if (present[0], j) in column and (other, j) in column
            ]
    return tuple(rows)
