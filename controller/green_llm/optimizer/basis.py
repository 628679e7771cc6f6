"""The basis a run of HiGHS ended with, and whether it stays optimal when only costs change.

Common prices change every slot's costs in every round, but few slots' answers. To ask a basis for its prices is one
solve with the factors HiGHS still has; where they charge for nothing that is used, no run is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import highspy
import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray
from green_llm.optimizer.block_programme import BlockProgramme
from green_llm.optimizer.layout import IndexArray
from green_llm.optimizer.solver import FEASIBILITY_TOLERANCE
from green_llm.optimizer.state import BASIC, LOWER, UPPER, Codes


@dataclass(frozen=True, eq=False)
class Basis:
    """An optimal basis of a programme, in HiGHS's units."""

    programme: BlockProgramme
    basic: IndexArray
    """By row, in HiGHS's order: a column, or −1 − row where it is a row's slack."""
    columns: FloatArray
    """What they are at."""
    row_duals: FloatArray
    """HiGHS's: ≤ 0 where a row is at its upper side."""

    @classmethod
    def of(cls, highs: highspy.Highs, programme: BlockProgramme) -> Basis:
        """What the last run ended with."""
        found = highs.getSolution()
        basic = highs.getBasicVariables()[1]  # type: ignore[attr-defined]
        return cls(programme, basic, np.array(found.col_value), np.array(found.row_dual))

    def codes(self) -> tuple[Codes, Codes]:
        """Statuses of columns and rows."""
        row = np.where(self.row_duals <= 0, UPPER, LOWER).astype(np.int8)
        column = np.where(self._at_upper, UPPER, LOWER).astype(np.int8)
        column[self.basic[self.basic >= 0]] = BASIC
        row[-self.basic[self.basic < 0] - 1] = BASIC
        return column, row

    def duals_at(self, highs: highspy.Highs, costs: FloatArray) -> FloatArray | None:
        """Row duals at other costs of the columns, by the HiGHS that ended so; None where another basis is better."""
        mine = np.where(self.basic >= 0, costs[self.basic], 0.0)
        status, duals = highs.getBasisTransposeSolve(mine)  # type: ignore[attr-defined]
        if status != highspy.HighsStatus.kOk:
            return None
        programme = self.programme
        reduced = costs - np.add.reduceat(programme.values * duals[programme.rows], programme.starts[:-1])
        if (reduced * self._signs).min() < -FEASIBILITY_TOLERANCE:
            return None
        least, most = self._sides
        return None if (duals < least).any() or (duals > most).any() else np.asarray(duals)

    @cached_property
    def _at_upper(self) -> BoolArray:
        return np.asarray(self.columns > 0.5 * self.programme.column_upper)

    @cached_property
    def _signs(self) -> FloatArray:
        """Of the reduced cost that each column may have; 0 where it cannot move."""
        programme = self.programme
        return np.where(self._at_upper, -1.0, 1.0) * (programme.column_lower < programme.column_upper)

    @cached_property
    def _sides(self) -> tuple[FloatArray, FloatArray]:
        """Least and most of every row's dual.

        A row is at the side its dual was for; where that said nothing, it must say nothing now.
        """
        programme, tolerance = self.programme, FEASIBILITY_TOLERANCE
        equal, both = programme.row_lower == programme.row_upper, np.isfinite(programme.row_lower)
        rises, falls = both & (self.row_duals >= -tolerance), (self.row_duals <= tolerance) | ~both
        return np.where(rises & ~equal, -tolerance, -np.inf), np.where(falls & ~equal, tolerance, np.inf)
