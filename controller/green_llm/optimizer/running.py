"""A live HiGHS on the fast path: how a programme is loaded into it, and how a run of it can end."""

from __future__ import annotations

import time

import highspy
import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.block_programme import BlockProgramme


class StoppedError(Exception):
    """The fast path ended without an optimum."""


class TimeIsUpError(StoppedError):
    """The deadline came first."""


class NoSolutionError(StoppedError):
    """No solution keeps every limit."""


def pass_programme(highs: highspy.Highs, programme: BlockProgramme, costs: FloatArray) -> None:
    """Load a programme into a live HiGHS."""
    width, height = len(costs), len(programme.row_lower)
    highs.passModel(
        width, height, len(programme.values), highspy.MatrixFormat.kColwise.value, 1, 0.0, costs, programme.column_lower,
        programme.column_upper, programme.row_lower, programme.row_upper, programme.starts[:-1].astype(np.int32),
        programme.rows.astype(np.int32), programme.values, np.zeros(width, dtype=np.int32),
    )  # fmt: skip


def run(highs: highspy.Highs, deadline: float | None) -> None:
    """Run to the optimum; where a run has no clear end, again from where it stopped, and then from nothing.

    Raises:
        TimeIsUpError: at the deadline.
        StoppedError: there is no clear end.
    """
    for attempt in range(3):
        # Mostly a few iterations are left, where from nothing it is tens of thousands.
        if attempt == 2:
            highs.clearSolver()
        if deadline is not None:
            left = deadline - time.perf_counter()
            if left <= 0:
                raise TimeIsUpError
            # HiGHS's clock runs on over the life of the instance.
            highs.setOptionValue("time_limit", highs.getRunTime() + left)
        highs.run()
        match highs.getModelStatus():
            case highspy.HighsModelStatus.kOptimal:
                return
            case highspy.HighsModelStatus.kTimeLimit:
                raise TimeIsUpError
            case _:
                pass
    raise StoppedError(f"HiGHS found no clear end: {highs.modelStatusToString(highs.getModelStatus())}")
