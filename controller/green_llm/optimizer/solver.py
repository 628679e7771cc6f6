"""HiGHS, kept alive: one solver over the phases of an interval and over intervals.

What is known to bite (measured on highspy 1.15): the dual simplex is slow on the second phase, where the old basis is
still primal feasible; threads other than 1 need a global reset first; the default feasibility tolerance of 1e-7 shows
in the third phase. So: the method is chosen per run, one thread, tolerances 1e-9.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum, StrEnum

import highspy
import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.errors import NoPlanError
from green_llm.optimizer.standard_form import Programme

FEASIBILITY_TOLERANCE = 1e-9
SMALL_TOLERANCE = 1e-6
"""Of the objective's scale: below it a budget row would be called infeasible or leak; the optimal face is fixed."""
FIXING_THRESHOLD = 1e-9
"""Of the objective's scale: reduced costs and duals above it are fixed."""


class Method(Enum):
    """Which simplex; the values are HiGHS's ``simplex_strategy``."""

    DUAL = 1
    PRIMAL = 4


class Ending(StrEnum):
    """How a run ended. HiGHS has seventeen words for it; three of them are clear."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    TIME_LIMIT = "time limit"


ENDINGS = {
    highspy.HighsModelStatus.kOptimal: Ending.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: Ending.INFEASIBLE,
    highspy.HighsModelStatus.kTimeLimit: Ending.TIME_LIMIT,
}


@dataclass(frozen=True, eq=False)
class Solution:
    """The end of one run; arrays are empty unless optimal."""

    ending: Ending
    columns: FloatArray
    column_duals: FloatArray
    row_duals: FloatArray
    objective: float
    lower_bound: float
    """The dual objective, computed here from the duals and the bounds."""
    seconds: float


def live_highs() -> highspy.Highs:
    """A HiGHS as every programme here is solved: quiet, one thread, strict."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("primal_feasibility_tolerance", FEASIBILITY_TOLERANCE)
    highs.setOptionValue("dual_feasibility_tolerance", FEASIBILITY_TOLERANCE)
    return highs


class Solver:
    """One live HiGHS instance holding one programme; rows are added and bounds fixed as phases go on."""

    def __init__(self, seed: int | None = None) -> None:
        """``seed`` permutes HiGHS's choices between ties: plans must not depend on it (tested)."""
        self._highs = live_highs()
        if seed is not None:
            self._highs.setOptionValue("random_seed", seed)

    def load(self, form: Programme) -> None:
        """Take a programme; whatever was there before is forgotten."""
        lp = highspy.HighsLp()
        rows, columns = form.matrix.shape
        lp.num_col_, lp.num_row_ = columns, rows
        lp.col_cost_ = np.zeros(columns)
        lp.col_lower_, lp.col_upper_ = form.column_lower, form.column_upper
        lp.row_lower_, lp.row_upper_ = form.row_lower, form.row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = form.matrix.indptr.astype(np.int32)
        lp.a_matrix_.index_ = form.matrix.indices.astype(np.int32)
        lp.a_matrix_.value_ = form.matrix.data
        self._lower, self._upper = form.column_lower.copy(), form.column_upper.copy()
        self._row_lower, self._row_upper = form.row_lower.copy(), form.row_upper.copy()
        self._row_units = np.ones(rows)
        # A dual is per unit of its row: a row in thousands of tokens moves by thousands.
        self._row_sizes = np.ones(rows)
        np.maximum.at(self._row_sizes, np.repeat(np.arange(rows), np.diff(form.matrix.indptr)), abs(form.matrix.data))
        self._indices = np.arange(columns, dtype=np.int32)
        self._highs.passModel(lp)

    @property
    def rows(self) -> int:
        """Number of rows now."""
        return len(self._row_lower)

    def basis(self) -> highspy.HighsBasis:
        """The basis of the last run, to start a like programme from."""
        return self._highs.getBasis()

    def start_from(self, basis: highspy.HighsBasis) -> None:
        """Begin the next run at a basis; one that does not fit is ignored by HiGHS and costs only time."""
        self._highs.setBasis(basis)

    def add_budget(self, coefficients: FloatArray, upper: float, unit: float) -> int:
        """Add the row coefficients · columns ≤ upper; its index. HiGHS sees it, and its tolerance, in ``unit``."""
        used = np.nonzero(coefficients)[0].astype(np.int32)
        self._highs.addRow(-highspy.kHighsInf, upper / unit, len(used), used, coefficients[used] / unit)
        self._row_lower = np.append(self._row_lower, -np.inf)
        self._row_upper = np.append(self._row_upper, upper)
        self._row_units = np.append(self._row_units, unit)
        self._row_sizes = np.append(self._row_sizes, max(1.0, float(np.abs(coefficients).max(initial=0.0))))
        return self.rows - 1

    def fix_to_optimum(self, solution: Solution, threshold: float) -> None:
        """Keep every later solution optimal: fix what costs more than the threshold where it is.

        That is a column by its reduced cost, and a row by its dual times its largest coefficient.
        """
        columns = np.nonzero(np.abs(solution.column_duals) > threshold)[0]
        at_lower = solution.column_duals[columns] > 0
        held = np.where(at_lower, self._lower[columns], self._upper[columns])
        self._lower[columns], self._upper[columns] = held, held
        self._highs.changeColsBounds(len(columns), columns.astype(np.int32), held, held)
        rows = np.nonzero(np.abs(solution.row_duals) * self._row_sizes > threshold)[0]
        sides = np.where(solution.row_duals[rows] > 0, self._row_lower[rows], self._row_upper[rows])
        self._row_lower[rows], self._row_upper[rows] = sides, sides
        seen = sides / self._row_units[rows]
        self._highs.changeRowsBounds(  # type: ignore[attr-defined]  # its stub lacks it
            len(rows), rows.astype(np.int32), seen, seen
        )

    def minimise(
        self, coefficients: FloatArray, method: Method, deadline: float | None = None, unit: float = 1.0
    ) -> Solution:
        """Minimise coefficients · columns.

        Args:
            coefficients: one per column.
            method: which simplex.
            deadline: a ``time.perf_counter`` reading.
            unit: HiGHS sees the objective, and its tolerance on reduced costs, in this unit.

        Raises:
            NoPlanError: HiGHS ended in any way but optimal, infeasible or out of time, twice.
        """
        begun = time.perf_counter()
        self._highs.changeColsCost(len(coefficients), self._indices, coefficients / unit)
        ending = self._run(method, deadline)
        if ending is None:
            # Numerics have spoilt the basis, or presolve could not tell infeasible from unbounded: start afresh.
            self._highs.clearSolver()
            self._highs.setOptionValue("presolve", "off")
            ending = self._run(Method.DUAL, deadline)
            self._highs.setOptionValue("presolve", "choose")
        if ending is None:
            status = self._highs.modelStatusToString(self._highs.getModelStatus())
            raise NoPlanError(f"HiGHS ended twice with {status}; check the instance for extreme numbers, or report it")
        if ending is Ending.OPTIMAL:
            return self._optimal(coefficients, unit, begun)
        return self._without_values(ending, begun)

    def _run(self, method: Method, deadline: float | None) -> Ending | None:
        """How HiGHS ended; None where that is not clear."""
        now = time.perf_counter()
        if deadline is not None and now >= deadline:
            return Ending.TIME_LIMIT
        # HiGHS's clock runs on over the life of the instance.
        limit = highspy.kHighsInf if deadline is None else self._highs.getRunTime() + deadline - now
        self._highs.setOptionValue("time_limit", limit)
        self._highs.setOptionValue("simplex_strategy", method.value)
        self._highs.run()
        return ENDINGS.get(self._highs.getModelStatus())

    def _optimal(self, coefficients: FloatArray, unit: float, begun: float) -> Solution:
        found = self._highs.getSolution()
        columns, duals = np.array(found.col_value), np.array(found.col_dual) * unit
        row_duals = np.array(found.row_dual) * unit / self._row_units
        return Solution(
            ending=Ending.OPTIMAL,
            columns=columns,
            column_duals=duals,
            row_duals=row_duals,
            objective=float(coefficients @ columns),
            lower_bound=_bound(duals, self._lower, self._upper) + _bound(row_duals, self._row_lower, self._row_upper),
            seconds=time.perf_counter() - begun,
        )

    def _without_values(self, ending: Ending, begun: float) -> Solution:
        nothing = np.empty(0)
        return Solution(ending, nothing, nothing, nothing, np.nan, -np.inf, time.perf_counter() - begun)


def _bound(duals: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Σ dual · (the side it is for): the part of the dual objective that these bounds give."""
    side = np.where(duals > 0, lower, upper)
    # A dual of rounding size on a side that is not there counts as none.
    useful = np.isfinite(side) & (duals != 0)
    return float(duals[useful] @ side[useful])
