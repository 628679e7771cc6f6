"""Which variables and rows the programme has: the sparsity of one instance.

Only what can matter is there: no share without demand or permission, no capacity or delay row that no plan can break.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from green_llm.domain.instance import BoolArray, FloatArray, Instance
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
    fixed: BoolArray
    """[n] whether the triple's shares are given."""
    delay_rows: IndexArray
    """Triples whose delay limit could be exceeded."""
    capacity_rows: tuple[tuple[int, int, int], ...]
    """(resource, site, slot) whose capacity could be exceeded."""
    resources: int
    """How many resources the rows count among."""
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

    def covers(self, other: Layout) -> bool:
        """Whether this layout can state an instance whose own layout is ``other``.

        The variables are the same and no row is missing; rows that no plan can break do no harm.
        """
        same = ("areas", "classes", "slots", "column_triple", "column_site", "fixed")
        return (
            all(np.array_equal(getattr(self, name), getattr(other, name)) for name in same)
            and (self.group_rows, self.water_row) == (other.group_rows, other.water_row)
            and bool(np.isin(other.delay_rows, self.delay_rows).all())
            and self.resources == other.resources
            and set(self.capacity_rows) >= set(other.capacity_rows)
        )


def layout(instance: Instance, *, room: float = 1.0) -> Layout:
    """The layout of an instance.

    Args:
        instance: the parameters.
        room: by how much delays and uses may grow before a row that is left out could be broken. With 1 only what can
            bind now is there; more keeps a layout useful for the next intervals.
    """
    serving = may_serve(instance)
    areas, classes, slots = np.nonzero(instance.demand > 0)
    column_triple, column_site = np.nonzero(serving[areas, :, classes])
    fixed = ~np.isnan(instance.fixed_shares[areas, 0, classes])
    slowest = np.where(serving[..., None], delay_seconds(instance), 0.0).max(axis=1)[areas, classes, slots]
    limits = instance.delay_limit[areas, classes]
    return Layout(
        areas=areas,
        classes=classes,
        slots=slots,
        column_triple=column_triple,
        column_site=column_site,
        fixed=fixed,
        # A weighted mean cannot exceed the largest.
        delay_rows=np.nonzero(~fixed & (slowest * room > limits))[0],
        capacity_rows=tuple(_capacity_rows(instance, serving, room)),
        resources=len(instance.resources),
        group_rows=_group_rows(instance, areas, classes, slots, column_triple, column_site),
        water_row=instance.water_cap is not None,
    )


def _capacity_rows(instance: Instance, serving: BoolArray, room: float) -> Iterator[tuple[int, int, int]]:
    """Rows where a site's capacity is below what it needs when it serves everything it may."""
    for r in range(len(instance.resources)):
        most = np.einsum("ijkt,ijk->jt", resource_use(instance, r), serving.astype(float))
        for j, t in np.argwhere(most * room > instance.usable_capacity[r][:, None]).tolist():
            yield r, j, t


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
