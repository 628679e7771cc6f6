"""The fast path: every phase of an instance by decomposition, and what is kept of it for the next interval.

It solves the same programme as ``lexicographic`` and says so when it cannot; who calls it then takes that way.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective, Tolerance
from green_llm.optimizer.block_programme import Coupling
from green_llm.optimizer.coefficients import is_fixed
from green_llm.optimizer.decomposition import exactly, minimise
from green_llm.optimizer.ended import BINDS, LimitDuals, PhaseEnd
from green_llm.optimizer.face import Face
from green_llm.optimizer.optimum import Optimum, Point, Task
from green_llm.optimizer.running import StoppedError, TimeIsUpError
from green_llm.optimizer.solver import FIXING_THRESHOLD, SMALL_TOLERANCE
from green_llm.optimizer.state import State
from green_llm.optimizer.units import Terms, Triples, Units, terms_of, units


@dataclass(frozen=True, eq=False)
class Goal:
    """What one phase minimises."""

    name: str
    terms: Terms
    tolerance: Tolerance
    scale: float

    @property
    def scale_or_1(self) -> float:
        """The scale; 1 where the objective is 0 everywhere."""
        return self.scale or 1.0


@dataclass(frozen=True, eq=False)
class Planned:
    """What the fast path found."""

    ends: tuple[PhaseEnd, ...]
    shares: FloatArray
    """[I,J,K,T] of pairs with demand."""
    grid: FloatArray
    """[J,T], kWh."""
    finishing_seconds: float | None
    """None where time was up before the plan was finished."""


class CannotError(StoppedError):
    """The fast path does not do this; the text is the reason."""


@dataclass
class Planner:
    """A live planner: hand it to every solve of the same policy. Not for use by two threads at once."""

    threads: int = 0
    """Slots solved at the same time; 0: as many as the machine has cores."""
    _kept: dict[tuple[str, ...], _Kept] = field(default_factory=dict)

    def plan(
        self,
        instance: Instance,
        goals: Sequence[Goal],
        scales: dict[Objective, float],
        deadline: float | None,
        progress: Callable[[str], None] | None,
    ) -> Planned:
        """Minimise the goals in turn, then finish.

        Raises:
            CannotError: this needs the whole programme; the text says why.
            NoSolutionError: no plan keeps every limit.
            TimeIsUpError: in the first phase.
            StoppedError: HiGHS found no clear end.
        """
        with self.executor() as executor:
            return Solve(self, instance, tuple(goals), scales, deadline, executor).run(progress)

    @contextlib.contextmanager
    def executor(self) -> Iterator[Executor | None]:
        """Threads for one solve; None where one is enough."""
        count = self.threads or os.cpu_count() or 1
        if count == 1:
            yield None
            return
        with ThreadPoolExecutor(count) as threads:
            yield threads

    def begin(self, phases: tuple[str, ...], instance: Instance, units: Units) -> State | None:
        """Where the same phase left off in the last interval; None where nothing fits."""
        kept = self._kept.get(phases)
        return None if kept is None else kept.carried(instance, units)

    def keep(self, phases: tuple[str, ...], instance: Instance, units: Units, state: State) -> None:
        """Keep what a phase leaves for the next interval."""
        self._kept[phases] = _Kept(instance, units, state.copy())

    def forget(self) -> None:
        """Keep nothing: after a failure."""
        self._kept.clear()


@dataclass(frozen=True, eq=False)
class _Kept:
    instance: Instance
    units: Units
    state: State

    def carried(self, instance: Instance, units: Units) -> State | None:
        """The state for other units: that of the slot nearest in time, as far as there are the same units."""
        old = self.instance
        names = ("areas", "sites", "classes", "resources", "slots")
        if any(getattr(old, name) != getattr(instance, name) for name in names):
            return None
        shift = _shift(old, instance)
        return self.state.carried(instance, self.units, units, shift)


def _shift(old: Instance, new: Instance) -> int:
    """By how many slots the horizon has moved on, 0 or 1: whichever makes prices and demand more alike."""
    if old.slots == 1:
        return 0

    def distance(shift: int) -> float:
        end = old.slots - shift
        return sum(
            float(np.abs(was[..., shift:] - now[..., :end]).sum() / max(np.abs(now[..., :end]).sum(), 1e-300))
            for was, now in ((old.demand, new.demand), (old.electricity_price, new.electricity_price))
        )

    return int(distance(1) < distance(0))


def _require_known(instance: Instance) -> None:
    fixed = is_fixed(instance)
    if any(fixed[pair] for group in instance.share_groups for pair in group):
        raise CannotError("a share group has a pair with fixed shares")


@dataclass
class Solve:
    """All phases of one instance."""

    planner: Planner
    instance: Instance
    goals: tuple[Goal, ...]
    scales: dict[Objective, float]
    deadline: float | None
    executor: Executor | None
    begins: ClassVar[tuple[str, ...]] = ()
    """What its phases are kept by, beside their names."""

    def __post_init__(self) -> None:
        """Units: as few as the first phase allows."""
        instance = self.instance
        _require_known(instance)
        self.triples = self.prepared()
        self.single = self.grouped(merged=False)
        merged = self.grouped(merged=True) if self.merges() else None
        self.merged = None if merged is None or len(merged.slots) == len(self.single.slots) else merged
        self.units = self.merged or self.single
        self.rows: tuple[Coupling, ...] = ()
        self.budgets: list[int] = []
        """Phase of each row after the water cap's."""
        if instance.water_cap is not None:
            scale = self.scales[Objective.WATER] or 1.0
            self.rows = (Coupling(terms_of(instance, Objective.WATER), instance.water_cap, scale),)
        self.state: State | None = None
        self.former = np.empty(0)
        """Prices of the rows in the phase before."""
        self.point: Point | None = None
        self.ends: list[PhaseEnd] = []

    def prepared(self) -> Triples:
        """What has demand."""
        return Triples.of(self.instance)

    def grouped(self, *, merged: bool) -> Units:
        """Units of it."""
        return units(self.instance, self.triples, merged=merged)

    def merges(self) -> bool:
        """Whether delay does not count at first."""
        return not self.goals[0].terms.delay

    def run(self, progress: Callable[[str], None] | None) -> Planned:
        """All phases and finishing, as far as time allows."""
        if not len(self.single.slots):
            raise CannotError("there is nothing to steer")
        optimum = None
        for number, goal in enumerate(self.goals):
            if progress is not None:
                progress(f"phase {number + 1} of {len(self.goals)}: {goal.name}")
            try:
                optimum = self._phase(number, goal)
            except TimeIsUpError:
                if not self.ends:
                    raise
                return self.planned(None)
        if optimum is None:
            raise CannotError("no objective is given")
        begun = time.perf_counter()
        self.use(self.single)
        last = self.goals[-1]
        try:
            face = Face(self.instance, self.single, self.rows)
            threshold = FIXING_THRESHOLD * last.scale_or_1 / len(self.single.slots)
            face = face.held(last.terms, optimum.prices, self._at(), threshold)
            terms = face.finishing(self.scales)
            task = Task(
                self.instance, face.units, State.new(self.instance, face.units), face.rows, terms, 1.0, self.deadline,
                self.executor,
            )  # fmt: skip
            self.point = minimise(task, self._at()).point
        except TimeIsUpError:
            return self.planned(None)
        return self.planned(time.perf_counter() - begun)

    def _phase(self, number: int, goal: Goal) -> Optimum:
        begun = time.perf_counter()
        if goal.terms.delay:
            self.use(self.single)
        task, optimum = self.minimised(tuple(g.name for g in self.goals[: number + 1]), goal)
        last = number == len(self.goals) - 1
        budget = goal.tolerance.budget(optimum.value)
        spent = budget - optimum.value < SMALL_TOLERANCE * goal.scale_or_1
        if spent and not last:
            optimum = exactly(task, optimum)
        self.point = optimum.point
        self.ends.append(
            PhaseEnd(
                name=goal.name, tolerance=goal.tolerance, scale=goal.scale, optimum=optimum.value,
                first_slot=self._first_slot(goal.terms), lower_bound=optimum.bound,
                seconds=time.perf_counter() - begun, duals=self.duals(goal, optimum),
                budgets=self._budget_duals(number, optimum),
            )
        )  # fmt: skip
        if spent and not last:
            self.hold(task, optimum)
        elif not last:
            self.rows = (*self.rows, Coupling(goal.terms, budget, goal.scale_or_1))
            self.budgets.append(number)
        return optimum

    def minimised(self, names: tuple[str, ...], goal: Goal) -> tuple[Task, Optimum]:
        """The optimum of the last of the phases named, kept for the next interval."""
        phases = (*self.begins, *names)
        self.state = self.planner.begin(phases, self.instance, self.units) or self.state
        self.state = self.state or State.new(self.instance, self.units)
        task = Task(
            self.instance, self.units, self.state, self.rows, goal.terms, goal.scale_or_1, self.deadline, self.executor,
            self.former,
        )  # fmt: skip
        optimum = minimise(task, self.point)
        self.former = optimum.prices.coupling
        self.planner.keep(phases, self.instance, self.units, self.state)
        return task, optimum

    def keep_least(self, goal: Goal) -> float:
        """Go on with what keeps this at its optimum, which it says."""
        task, optimum = self.minimised((goal.name,), goal)
        self.point = optimum.point
        self.hold(task, optimum)
        return optimum.value

    def hold(self, task: Task, optimum: Optimum) -> None:
        """Go on with what keeps a phase at its optimum."""
        face = Face(self.instance, self.units, self.rows)
        face = face.held(task.terms, optimum.prices, optimum.point, FIXING_THRESHOLD * task.unit)
        self.rows = face.rows
        if self.units is self.single:
            self.single, self.merged = face.units, None
        elif self.units is self.merged:
            self.merged = face.units
        self.units = face.units
        task.state.candidates[:] &= face.units.serving

    def _at(self) -> Point:
        if self.point is None:
            raise CannotError("no phase ended")
        return self.point

    def use(self, wanted: Units) -> None:
        """Go on with other units; every member of a unit has its share."""
        if wanted is self.units:
            return
        member = np.empty(len(wanted.slots), dtype=np.intp)
        free = np.nonzero(~self.triples.fixed)[0]
        member[wanted.of_triple[free]] = free
        of_member = self.units.of_triple[member]
        if self.point is not None:
            self.point = Point(self.point.shares[of_member], self.point.grid)
        serving = wanted.serving & self.units.serving[of_member]
        self.units = replace(wanted, serving=serving, limits=self.units.limits)
        if wanted is self.single:
            self.single = self.units
        else:
            self.merged = self.units
        self.state = None

    def _budget_duals(self, number: int, optimum: Optimum) -> tuple[float, ...]:
        """Of the budget rows of earlier phases; 0 where a phase is kept without one."""
        found = np.zeros(number)
        found[self.budgets] = -optimum.prices.coupling[len(self.rows) - len(self.budgets) :]
        return tuple(found.tolist())

    def duals(self, goal: Goal, optimum: Optimum) -> LimitDuals:
        """Of the limits, by one phase alone."""
        found, prices, n = LimitDuals.none(self.instance), optimum.prices, self.units.limited
        total = goal.terms
        for price, row in zip(prices.coupling, self.rows, strict=True):
            total = total.plus(row.terms, float(price))
        t = self.triples
        found.delay[t.areas[n], t.classes[n], t.slots[n]] = -prices.delay
        water = -float(prices.coupling[: len(self.rows) - len(self.budgets)].sum())
        charged, least, most = total.grid - prices.balance, self.units.limits.grid_least, self.units.limits.grid_most
        # What an earlier phase keeps at the limit moves with it, whatever that costs; what it keeps below has no price.
        kept, limit = (least == most) & (least > 0), self.instance.grid_limit_kwh
        grid = np.where(kept, charged, np.minimum(charged, 0.0)) * (most >= limit * (1.0 - BINDS))
        return LimitDuals(water, -prices.capacity, grid, found.delay)

    def _first_slot(self, terms: Terms) -> float:
        """What slot 0 adds to an objective at the point reached."""
        units, point = self.units, self._at()
        shares = point.shares[: units.starts[1]]
        facility = (units.energy[: len(shares)] * shares).sum(axis=0) + units.fixed_energy[:, 0]
        found = float(terms.facility[:, 0] @ facility + terms.grid[:, 0] @ point.grid[:, 0])
        if terms.delay:
            found += terms.delay * float((units.delay[: len(shares)] * shares).sum() + units.fixed_delay[0])
        return found

    def planned(self, finishing_seconds: float | None) -> Planned:
        """The point reached, of every pair."""
        point, t, instance = self._at(), self.triples, self.instance
        shares = np.zeros((len(instance.areas), len(instance.sites), len(instance.classes), instance.slots))
        x = np.where(t.fixed[:, None], t.given, point.shares[self.units.of_triple])
        shares[t.areas, :, t.classes, t.slots] = x
        return Planned(tuple(self.ends), shares, point.grid, finishing_seconds)
