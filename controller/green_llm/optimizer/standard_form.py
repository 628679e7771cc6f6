"""The programme as arrays: what HiGHS is given. ``compilation`` has them from the Pyomo model, ``kernel`` from data alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.layout import Layout

ROWS = ("balance", "water_cap", "capacity", "all_served", "delay_limit", "share_groups", "fixed")
"""Blocks of rows in order. ``no_burning`` is the lower side of ``balance``, ``grid_limit`` the bounds of P^g."""
VARIABLES = ("share", "grid_energy", "unserved", "delay_excess", "water_excess")
"""Blocks of columns in order; the last three in the relaxed form only."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Programme:
    """row_lower ≤ matrix · columns ≤ row_upper, column_lower ≤ columns ≤ column_upper."""

    matrix: sparse.csr_array
    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class StandardForm(Programme):
    """The Green-LLM programme of one instance."""

    instance: Instance
    layout: Layout
    relaxed: bool
    """Whether limits may be exceeded (least violation)."""
    objectives: dict[Objective, FloatArray]
    """Coefficients of the columns, by objective."""

    @property
    def blocks(self) -> dict[str, slice]:
        """Where each block of ``ROWS`` is."""
        return row_blocks(self.instance, self.layout, relaxed=self.relaxed)

    @property
    def parts(self) -> dict[str, slice]:
        """Where each block of ``VARIABLES`` is."""
        return column_parts(self.instance, self.layout, relaxed=self.relaxed)

    def shares(self, columns: FloatArray) -> FloatArray:
        """The share columns as [I,J,K,T]; 0 where there is none."""
        instance, layout = self.instance, self.layout
        found = np.zeros((len(instance.areas), len(instance.sites), len(instance.classes), instance.slots))
        n = layout.column_triple
        found[layout.areas[n], layout.column_site, layout.classes[n], layout.slots[n]] = columns[self.parts["share"]]
        return found

    def grid(self, columns: FloatArray) -> FloatArray:
        """The grid energy columns as [J,T], kWh."""
        return columns[self.parts["grid_energy"]].reshape(len(self.instance.sites), self.instance.slots)

    def unserved(self, columns: FloatArray) -> FloatArray:
        """The unserved columns as [I,K,T]; 0 where nothing may be left unserved."""
        layout = self.layout
        found = np.zeros((len(self.instance.areas), len(self.instance.classes), self.instance.slots))
        if self.relaxed:
            found[layout.areas, layout.classes, layout.slots] = columns[self.parts["unserved"]]
        return found


def row_blocks(instance: Instance, layout: Layout, *, relaxed: bool) -> dict[str, slice]:
    """Where each block of ``ROWS`` is in the programme of a layout."""
    counts = (
        len(instance.sites) * instance.slots,
        int(layout.water_row),
        len(layout.capacity_rows),
        layout.triples,
        len(layout.delay_rows),
        len(layout.group_rows),
        int(layout.fixed[layout.column_triple].sum()) if relaxed else 0,
    )
    return _slices(dict(zip(ROWS, counts, strict=True)))


def column_parts(instance: Instance, layout: Layout, *, relaxed: bool) -> dict[str, slice]:
    """Where each block of ``VARIABLES`` is in the programme of a layout."""
    counts = {"share": layout.columns, "grid_energy": len(instance.sites) * instance.slots}
    if relaxed:
        counts |= {"unserved": layout.triples, "delay_excess": len(layout.delay_rows), "water_excess": 1}
    return _slices(counts)


def _slices(counts: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(counts.values())).tolist()
    return {name: slice(end - count, end) for (name, count), end in zip(counts.items(), ends, strict=True)}
