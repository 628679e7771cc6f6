"""The lexicographic solve: one phase per objective, each keeping all earlier budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Tolerance
from green_llm.optimizer.kernel import refill
from green_llm.optimizer.layout import Layout, layout
from green_llm.optimizer.solver import Ending, Method, Solution, Solver
from green_llm.optimizer.standard_form import StandardForm, compile_model

SMALL_TOLERANCE = 1e-6
"""Of the objective's scale: below it a budget row would be called infeasible or leak; the optimal face is fixed."""
FIXING_THRESHOLD = 1e-9
"""Of the objective's scale: reduced costs and duals above it are fixed."""
ROOM = 1.25
"""How much uses and delays may grow between intervals before the programme's rows change and bases are lost."""
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


@dataclass
class Session:
    """A live solver and where it left off: hand it to every solve of the same policy to start warm.

    Not for use by two threads at once.
    """

    solver: Solver = field(default_factory=Solver)
    _layout: Layout | None = None
    _bases: dict[tuple[str, ...], list[highspy.HighsBasis]] = field(default_factory=dict)
    _current: list[highspy.HighsBasis] = field(default_factory=list)

    def form(self, instance: Instance, *, relaxed: bool = False) -> StandardForm:
        """The programme of an instance: stated in Pyomo the first time, refilled with new data later."""
        first = self._layout is None
        if self._layout is None or not self._layout.covers(layout(instance)):
            self._layout, self._bases = layout(instance, room=ROOM), {}
        return (compile_model if first else refill)(instance, self._layout, relaxed=relaxed)

    def begin(self, form: StandardForm, stages: Sequence[Stage]) -> None:
        """Load a programme; the bases of the same stages in the last interval are there to start from."""
        self._current = self._bases.setdefault(tuple(stage.name for stage in stages), [])
        self.solver.load(form)

    def start(self, phase: int) -> bool:
        """Start a phase from its basis of the last interval, where there is one."""
        if phase >= len(self._current):
            return False
        self.solver.start_from(self._current[phase])
        return True

    def remember(self, phase: int) -> None:
        """Keep the basis a phase ended with."""
        self._current[phase : phase + 1] = [self.solver.basis()]


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
    session.begin(form, stages)
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
