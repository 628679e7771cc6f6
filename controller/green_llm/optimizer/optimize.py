"""``optimize``: from an instance to a finished, verified plan. Pure and synchronous."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import LimitKind, Objective, Order, Phase, Plan, Result, Termination, Tolerance, Values
from green_llm.errors import InvalidInputError, NoPlanError, PlanCheckError, TimeUpError
from green_llm.optimizer import diagnosis
from green_llm.optimizer.baselines import nearest_shares
from green_llm.optimizer.coefficients import has_demand, may_serve, scales, uniform_shares
from green_llm.optimizer.ended import PhaseEnd
from green_llm.optimizer.evaluate import values
from green_llm.optimizer.extract import extract, plan_of, with_shares
from green_llm.optimizer.finishing import remove_slack, stay_close
from green_llm.optimizer.first_slot import keep_weights
from green_llm.optimizer.lexicographic import Progress, Run, Stage, run, seconds_since
from green_llm.optimizer.planner import Goal, Planned, Planner
from green_llm.optimizer.prices import binding_limits, ends_of
from green_llm.optimizer.relaxed import least_violation, with_nowhere
from green_llm.optimizer.running import NoSolutionError, StoppedError, TimeIsUpError
from green_llm.optimizer.session import Session
from green_llm.optimizer.solver import Ending, Method, Solver
from green_llm.optimizer.standard_form import StandardForm
from green_llm.optimizer.units import Terms, terms_of
from green_llm.optimizer.verify import LIMITS, UNSERVED, Violation, check, require_valid

MAY_BREAK = (UNSERVED, *LIMITS - {LimitKind.CAPACITY.value, LimitKind.GRID_LIMIT.value})
"""What a least violation may give up; capacities and grid limits are hard."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One optimisation on its way."""

    instance: Instance
    order: Order
    """Decides the grid energy of fixed shares and names the phases not reached."""
    method: str
    weights: Mapping[Objective, float] | None
    session: Session
    scales: dict[Objective, float]
    begun: float
    deadline: float | None
    previous: Plan | None
    progress: Progress | None
    fallback_reason: str | None = None
    """Why the fast path does not do it."""

    def goals(self, instance: Instance) -> list[Goal]:
        """The phases as the fast path takes them, of the instance that it solves."""
        if self.weights is not None:
            total, scale = Terms.none(instance), 0.0
            for objective, weight in self.weights.items():
                total = total.plus(terms_of(instance, objective), weight)
                scale += abs(weight) * self.scales[objective]
            return [Goal("weighted", total, Tolerance(), scale)]
        return [
            Goal(o.value, terms_of(instance, o), tolerance, self.scales[o])
            for o, tolerance in zip(self.order.objectives, self.order.tolerances, strict=True)
        ]

    @property
    def named(self) -> tuple[Objective, ...]:
        """The objectives that are phases of their own."""
        return self.order.objectives if self.weights is None else ()

    def rank(self, worth: Values) -> tuple[float, ...]:
        """What is compared, smallest first, to choose between plans."""
        if self.weights is not None:
            return (sum(weight * worth.of(o) for o, weight in self.weights.items()),)
        return tuple(worth.of(o) for o in self.order.objectives)

    def stages(self, form: StandardForm) -> list[Stage]:
        """The phases: one per objective of the order, or the weighted sum alone."""
        if self.weights is not None:
            total = sum(
                (weight * form.objectives[o] for o, weight in self.weights.items()),
                start=form.objectives[Objective.COST] * 0,
            )
            scale = sum(abs(weight) * self.scales[o] for o, weight in self.weights.items())
            return [Stage("weighted", total, Tolerance(), scale)]
        return [
            Stage(
                o.value,
                form.objectives[o],
                tolerance,
                self.scales[o],
                Method.DUAL if o is Objective.DELAY else Method.PRIMAL,
            )
            for o, tolerance in zip(self.order.objectives, self.order.tolerances, strict=True)
        ]


def optimize(
    instance: Instance,
    order: Order | None = None,
    *,
    time_limit_s: float | None = None,
    previous: Plan | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    session: Session | None = None,
) -> Result:
    """The finished lexicographic optimum of an instance.

    Args:
        instance: the parameters.
        order: objectives in order, each with its tolerance; cost, carbon, delay at 0.1 % where left out.
        time_limit_s: wall time for everything; the best whole plan found by then is returned.
        previous: the plan of the last interval, one candidate when time is up in the first phase.
        seed: random seed of a solver made here (a session has its own); without influence on the result (tested).
        progress: called with a few words at every phase.
        session: a live solver kept from the last interval; solving starts warm.

    Returns:
        The result: OPTIMAL; INFEASIBLE with the least violation and its diagnosis; or TIME_LIMIT with the plan of the
        last phase that was reached.

    Raises:
        InvalidInputError: the order is empty, names an objective twice or has a negative tolerance.
        TimeUpError: time was up before any plan was known that keeps every limit.
        NoPlanError: fixed shares alone break a hard limit, or HiGHS found no clear end.
        PlanCheckError: a plan does not pass the check; a defect.
    """
    return _solve(instance, order or Order(), "lexicographic", None, time_limit_s, previous, seed, progress, session)


def weighted(
    instance: Instance,
    weights: Mapping[Objective, float],
    *,
    time_limit_s: float | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    session: Session | None = None,
) -> Result:
    """The finished optimum of a weighted sum of objectives in their raw units. As ``optimize`` otherwise."""
    return _solve(instance, Order(tuple(weights)), "weighted", weights, time_limit_s, None, seed, progress, session)


def _solve(
    instance: Instance,
    order: Order,
    method: str,
    weights: Mapping[Objective, float] | None,
    time_limit_s: float | None,
    previous: Plan | None,
    seed: int | None,
    progress: Progress | None,
    session: Session | None,
) -> Result:
    begun = time.perf_counter()
    _require_sound(order)
    task = _Task(
        instance=instance, order=order, method=method, weights=weights, session=session or Session(Solver(seed)),
        scales=scales(instance), begun=begun, deadline=None if time_limit_s is None else begun + time_limit_s,
        previous=previous, progress=progress,
    )  # fmt: skip
    planner = task.session.planner
    relaxed = bool((has_demand(instance) & ~may_serve(instance).any(axis=1)).any())
    if planner is None:
        return _least_violation(task) if relaxed else _whole(task)
    try:
        if not relaxed:
            with contextlib.suppress(NoSolutionError):
                return _by_decomposition(task, planner, relaxed=False)
        relaxed = True
        return _by_decomposition(task, planner, relaxed=True)
    except TimeIsUpError:
        if relaxed:
            raise _unclear(task) from None
        return _simple_plan(task)
    except StoppedError as error:
        reason = str(error) or "no plan keeps every limit"
    except PlanCheckError as error:
        reason = f"the plan did not pass the check: {error}"
    planner.forget()
    task = replace(task, fallback_reason=reason)
    return _least_violation(task) if relaxed else _whole(task)


def _by_decomposition(task: _Task, planner: Planner, *, relaxed: bool) -> Result:
    """The fast path; ``relaxed``: the least violation."""
    instance = with_nowhere(task.instance) if relaxed else task.instance
    solve = functools.partial(least_violation, planner) if relaxed else planner.plan
    planned = solve(instance, task.goals(instance), task.scales, task.deadline, task.progress)
    return _result(task, _Found.by_decomposition(task, planned, relaxed=relaxed))


def _whole(task: _Task) -> Result:
    """The exact solve of the whole programme."""
    form = task.session.form(task.instance)
    ended = run(form, task.stages(form), task.session, task.deadline, task.progress)
    if ended.ending is Ending.INFEASIBLE:
        return _least_violation(task)
    if ended.ending is Ending.OPTIMAL:
        return _finish(task, form, ended, Termination.OPTIMAL)
    if ended.done:
        return _result(task, _Found.of_whole(task, form, ended, ended.last.columns, Termination.TIME_LIMIT))
    return _simple_plan(task)


def _require_sound(order: Order) -> None:
    """Raise InvalidInputError for an order that cannot be meant."""
    names = [objective.value for objective in order.objectives]
    if not names:
        raise InvalidInputError(f"objectives: none is given; name at least one of {', '.join(Objective)}")
    if len(set(names)) < len(names):
        raise InvalidInputError(f"objectives: {', '.join(names)} names one twice; name each once")
    for name, tolerance in zip(names, order.tolerances, strict=True):
        given = tolerance.relative if tolerance.absolute is None else tolerance.absolute
        if not 0.0 <= given < math.inf:
            raise InvalidInputError(f"tolerance: {name} has {given:g}; give a number of at least 0")


def _finish(task: _Task, form: StandardForm, ended: Run, termination: Termination) -> Result:
    """Remove ties, then the result; without time for that, the result of the last phase as it is."""
    begun = time.perf_counter()
    finished = remove_slack(form, ended.done[-1], task.scales, task.session, task.deadline)
    if finished.ending is not Ending.OPTIMAL:
        late = Termination.TIME_LIMIT if termination is Termination.OPTIMAL else termination
        return _result(task, _Found.of_whole(task, form, ended, ended.last.columns, late))
    columns = stay_close(form, ended.done, finished.columns, task.scales, task.session, task.deadline)
    return _result(task, _Found.of_whole(task, form, ended, columns, termination, seconds_since(begun)))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Found:
    """What a way of solving found."""

    method: str
    plan: Plan
    ends: tuple[PhaseEnd, ...]
    """The phases of the user's order."""
    termination: Termination
    finishing_seconds: float | None
    """None where it is not finished."""
    relaxed: bool = False
    expected: Mapping[Objective, float] = field(default_factory=dict)

    @classmethod
    def of_whole(
        cls,
        task: _Task,
        form: StandardForm,
        ended: Run,
        columns: FloatArray,
        termination: Termination,
        finishing_seconds: float | None = None,
    ) -> _Found:
        """From columns of the whole programme."""
        names = {"weighted", *(objective.value for objective in task.order.objectives)}
        expected = {o: float(coefficients @ columns) for o, coefficients in form.objectives.items()}
        return cls(
            method=task.method, plan=extract(form, columns), termination=termination, relaxed=form.relaxed,
            ends=ends_of(form, [done for done in ended.done if done.stage.name in names]),
            finishing_seconds=finishing_seconds, expected=expected if finishing_seconds is not None else {},
        )  # fmt: skip

    @classmethod
    def by_decomposition(cls, task: _Task, planned: Planned, *, relaxed: bool) -> _Found:
        """From the fast path, its first slot moved to the weights in force."""
        shares, grid, seconds = planned.shares, planned.grid, planned.finishing_seconds
        unserved = None
        if relaxed:
            shares, grid, unserved = np.ascontiguousarray(shares[:, :-1]), grid[:-1], shares[:, -1]
        if seconds is not None:
            begun = time.perf_counter()
            weights = [task.weights] if task.weights is not None else [{o: 1.0} for o in task.named]
            budgets = [(w, end.budget, end.scale) for w, end in zip(weights, planned.ends, strict=True)]
            reached = Plan(shares, grid, np.zeros_like(task.instance.demand) if unserved is None else unserved)
            kept = keep_weights(
                task.instance, budgets, reached, task.scales, task.session, task.deadline, relaxed=relaxed
            )
            shares, grid = kept.shares, kept.grid_energy_kwh
            unserved = kept.unserved if relaxed else None
            seconds += seconds_since(begun)
        whole = Termination.INFEASIBLE if relaxed else Termination.OPTIMAL
        return cls(
            method="decomposition" if task.weights is None else task.method,
            plan=plan_of(task.instance, shares, grid, unserved), ends=planned.ends, finishing_seconds=seconds,
            termination=whole if relaxed or seconds is not None else Termination.TIME_LIMIT, relaxed=relaxed,
        )  # fmt: skip


def _result(task: _Task, found: _Found) -> Result:
    """A result whose plan has passed the check.

    Raises:
        PlanCheckError: it does not; a defect.
    """
    instance, plan = task.instance, found.plan
    budgets = {o: end.budget for o, end in zip(task.named, found.ends, strict=False)}
    require_valid(instance, plan, found.expected, MAY_BREAK if found.relaxed else (), budgets)
    method, termination = found.method, found.termination
    overloaded: tuple[Violation, ...] = ()
    broken: tuple[Violation, ...] = ()
    if found.relaxed and check(instance, plan):
        method = "least-violation"
        overloaded = diagnosis.overload(instance, plan, task.order)
        broken = tuple(diagnosis.clashes(instance, plan, overloaded))
    elif termination is Termination.INFEASIBLE:
        # Only the solver's tolerance, a hundred times stricter than the check, stood in the way.
        termination = Termination.OPTIMAL
    return Result(
        termination=termination,
        method=method,
        fallback_reason=task.fallback_reason,
        plan=plan,
        values=values(instance, plan),
        phases=_phases(found.ends, task.named),
        phases_not_reached=task.named[len(found.ends) :],
        binding=binding_limits(instance, found.ends, task.named, plan),
        diagnosis=tuple(violation.diagnosis() for violation in broken),
        overload=tuple(violation.diagnosis() for violation in overloaded),
        seconds=seconds_since(task.begun),
        finishing_seconds=found.finishing_seconds or 0.0,
    )


def _phases(ends: Sequence[PhaseEnd], objectives: tuple[Objective, ...]) -> tuple[Phase, ...]:
    phases = []
    for number, (objective, end) in enumerate(zip(objectives, ends, strict=False)):
        size = max(abs(end.optimum), end.scale_or_1 * 1e-9)
        budget = end.budget if number < len(objectives) - 1 else None
        gap = max(0.0, end.optimum - end.lower_bound) / size
        phases.append(Phase(objective, end.optimum, budget, end.lower_bound, gap, end.first_slot, end.seconds))
    return tuple(phases)


def _least_violation(task: _Task) -> Result:
    """The plan that breaks as little as can be, with the reasons.

    Raises:
        TimeUpError: time was up before it was found.
    """
    form = task.session.form(task.instance, relaxed=True)
    stages = [*diagnosis.violation_stages(form, task.scales[Objective.WATER]), *task.stages(form)]
    ended = run(form, stages, task.session, task.deadline, task.progress)
    if ended.ending is Ending.OPTIMAL:
        return _finish(task, form, ended, Termination.INFEASIBLE)
    if len(ended.done) >= len(stages) - len(task.stages(form)):
        return _result(task, _Found.of_whole(task, form, ended, ended.last.columns, Termination.INFEASIBLE))
    if ended.ending is Ending.INFEASIBLE:
        raise NoPlanError(
            f"instance {task.instance.name}: shares that are fixed exceed a capacity or grid limit, so not even serving "
            "nothing else keeps it; release a fixed pair or raise the limit"
        )
    raise _unclear(task)


def _unclear(task: _Task) -> TimeUpError:
    """What it means that a least violation was not found in time."""
    return TimeUpError(
        f"instance {task.instance.name}: no plan keeps every limit, and time was up before it was clear which clash; "
        "allow more time"
    )


def _simple_plan(task: _Task) -> Result:
    """Out of time in the first phase: the best simple plan that keeps every limit.

    Raises:
        TimeUpError: there is none.
    """
    instance = task.instance
    candidates = {"nearest": nearest_shares(instance), "uniform": uniform_shares(instance)}
    if task.previous is not None and task.previous.shares.shape == candidates["nearest"].shape:
        candidates["previous"] = task.previous.shares
    plans = {name: with_shares(instance, shares, task.order) for name, shares in candidates.items()}
    sound = {name: plan for name, plan in plans.items() if not check(instance, plan)}
    if not sound:
        raise TimeUpError(
            f"instance {instance.name}: time was up in the first phase, and neither the previous plan nor the nearest or "
            "uniform split keeps every limit; allow more time"
        )
    name = min(sound, key=lambda key: task.rank(values(instance, sound[key])))
    return Result(
        termination=Termination.TIME_LIMIT,
        method=name,
        fallback_reason=task.fallback_reason,
        plan=sound[name],
        values=values(instance, sound[name]),
        phases_not_reached=task.named,
        seconds=seconds_since(task.begun),
    )
