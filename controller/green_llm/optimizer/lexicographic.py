"""The lexicographic solve: one phase per objective, each keeping all earlier budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.domain.plan import Tolerance
from green_llm.optimizer.session import Session
from green_llm.optimizer.solver import FIXING_THRESHOLD, SMALL_TOLERANCE, Ending, Method, Solution, Solver
from green_llm.optimizer.standard_form import StandardForm

EXACT = Tolerance(relative=0.0)
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Stage:
    """What one phase minimises."""

    name: str
    coefficients: FloatArray
    tolerance: Tolerance
    scale: float
    method: Method = Method.PRIMAL

    @property
    def unit(self) -> float:
        """The objective in units of its mean term, so that the solver's tolerance means the same for every one."""
        return self.scale_or_1 / max(1, int(np.count_nonzero(self.coefficients)))

    @property
    def scale_or_1(self) -> float:
        """The scale; 1 where the objective is 0 everywhere."""
        return self.scale or 1.0


@dataclass(frozen=True, eq=False)
class Done:
    """A phase that ended optimal, and how later phases keep it."""

    stage: Stage
    solution: Solution
    budget_row: int | None = None
    """The row that keeps it; None: its optimal face is fixed, or it is the last phase."""

    @property
    def budget(self) -> float:
        """What later phases may use."""
        return self.stage.tolerance.budget(self.solution.objective)


@dataclass(frozen=True)
class Run:
    """All phases that were done, and how it ended."""

    done: tuple[Done, ...]
    ending: Ending

    @property
    def last(self) -> Solution:
        """The solution of the last phase that was done."""
        return self.done[-1].solution


def run(
    form: StandardForm,
    stages: Sequence[Stage],
    session: Session,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Run:
    """Minimise the stages in turn; ``deadline`` is a ``time.perf_counter`` reading.

    Ends early, with the phases done so far, at an infeasible first phase or at the deadline.
    """
    session.begin(form, [stage.name for stage in stages])
    solver = session.solver
    done: list[Done] = []
    for number, stage in enumerate(stages):
        if progress is not None:
            progress(f"phase {number + 1} of {len(stages)}: {stage.name}")
        warm = session.start(number)
        method = Method.DUAL if number == 0 or warm else stage.method
        solution = solver.minimise(stage.coefficients, method, deadline, stage.unit)
        if solution.ending is not Ending.OPTIMAL:
            return Run(tuple(done), solution.ending)
        session.remember(number)
        last = number == len(stages) - 1
        done.append(Done(stage, solution, None if last else keep(solver, stage, solution)))
    return Run(tuple(done), Ending.OPTIMAL)


def keep(solver: Solver, stage: Stage, solution: Solution) -> int | None:
    """Hold a stage within its tolerance from now on; the index of its budget row, None where its face was fixed."""
    budget = stage.tolerance.budget(solution.objective)
    if budget - solution.objective < SMALL_TOLERANCE * stage.scale_or_1:
        solver.fix_to_optimum(solution, FIXING_THRESHOLD * stage.scale_or_1)
        return None
    return solver.add_budget(stage.coefficients, budget, stage.scale_or_1)


def seconds_since(begun: float) -> float:
    """Seconds since a ``time.perf_counter`` reading."""
    return time.perf_counter() - begun
