"""A live HiGHS on the fast path: how a programme is loaded into it, how a run of it can end, and many runs at a time.

What is solved in *steps* yields a HiGHS whenever that has something to run. So Python stays on one thread, where threads
only take turns in it, and goes on with one programme while HiGHS runs others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import TypeVar

import highspy
import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.block_programme import BlockProgramme

Found = TypeVar("Found")
PERTURBATION = "dual_simplex_cost_perturbation_multiplier"
Steps = Generator[highspy.Highs, None, Found]


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
        if attempt == 1:
            # Costs that HiGHS perturbed can grow out of hand.
            highs.setOptionValue(PERTURBATION, 0.0)
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


def alone(steps: Steps[Found], deadline: float | None) -> Found:
    """What steps find, one after the other. Raises as ``run``."""
    try:
        while True:
            run(next(steps), deadline)
    except StopIteration as end:
        found: Found = end.value
        return found


def together(all_steps: Sequence[Steps[Found]], executor: Executor | None, deadline: float | None) -> list[Found]:
    """What each of many finds, whatever the order of their runs; None: one thread does it all. Raises as ``run``."""
    if executor is None:
        return [alone(steps, deadline) for steps in all_steps]
    found: dict[int, Found] = {}
    ready, running, ended = deque(range(len(all_steps))), dict[Future[None], int](), SimpleQueue[Future[None]]()
    try:
        while len(found) < len(all_steps):
            if not ready:
                future = ended.get()
                future.result()
                ready.append(running.pop(future))
            number = ready.popleft()
            try:
                future = executor.submit(run, next(all_steps[number]), deadline)
            except StopIteration as end:
                found[number] = end.value
            else:
                running[future] = number
                future.add_done_callback(ended.put)
    finally:
        # After an error, nobody waits for what has not begun.
        for future in running:
            future.cancel()
    return [found[number] for number in range(len(all_steps))]
