"""``optimize``: from an instance to a finished, verified plan. Pure and synchronous."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import LimitKind, Objective, Order, Phase, Plan, Result, Termination, Tolerance, Values
from green_llm.errors import InvalidInputError, NoPlanError, TimeUpError
from green_llm.optimizer import diagnosis
from green_llm.optimizer.baselines import nearest_shares
from green_llm.optimizer.coefficients import has_demand, may_serve, scales, uniform_shares
from green_llm.optimizer.evaluate import slot_values, values
from green_llm.optimizer.extract import extract, with_shares
from green_llm.optimizer.finishing import remove_slack, stay_close
from green_llm.optimizer.lexicographic import Done, Progress, Run, Session, Stage, run, seconds_since
from green_llm.optimizer.prices import binding_limits
from green_llm.optimizer.solver import Ending, Method, Solver
from green_llm.optimizer.standard_form import StandardForm
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
    if (has_demand(instance) & ~may_serve(instance).any(axis=1)).any():
        return _least_violation(task)
    form = task.session.form(instance)
    ended = run(form, task.stages(form), task.session, task.deadline, progress)
    if ended.ending is Ending.INFEASIBLE:
        return _least_violation(task)
    if ended.ending is Ending.TIME_LIMIT:
        return _out_of_time(task, form, ended)
    return _finish(task, form, ended, Termination.OPTIMAL)


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
        return _result(task, form, ended, ended.last.columns, late, None)
    columns = stay_close(form, ended.done, finished.columns, task.scales, task.deadline)
    return _result(task, form, ended, columns, termination, seconds_since(begun))


def _result(
    task: _Task,
    form: StandardForm,
    ended: Run,
    columns: FloatArray,
    termination: Termination,
    finishing_seconds: float | None,
) -> Result:
    """A result whose plan has passed the check; ``finishing_seconds`` is None where it is not finished."""
    instance, plan = task.instance, extract(form, columns)
    own = _own_phases(task, ended)
    expected = {o: float(coefficients @ columns) for o, coefficients in form.objectives.items()}
    require_valid(
        instance,
        plan,
        expected if finishing_seconds is not None else {},
        MAY_BREAK if form.relaxed else (),
        {o: phase.budget for o, phase in zip(task.named, own, strict=False)},
    )
    method = task.method
    overloaded: tuple[Violation, ...] = ()
    broken: tuple[Violation, ...] = ()
    if form.relaxed and check(instance, plan):
        method = "least-violation"
        overloaded = diagnosis.overload(instance, plan, task.order)
        broken = tuple(diagnosis.clashes(instance, plan, overloaded))
    elif termination is Termination.INFEASIBLE:
        # Only the solver's tolerance, a hundred times stricter than the check, stood in the way.
        termination = Termination.OPTIMAL
    return Result(
        termination=termination,
        method=method,
        plan=plan,
        values=values(instance, plan),
        phases=_phases(form, own, task.named),
        phases_not_reached=task.named[len(own) :],
        binding=binding_limits(form, own, task.named, plan),
        diagnosis=tuple(violation.diagnosis() for violation in broken),
        overload=tuple(violation.diagnosis() for violation in overloaded),
        seconds=seconds_since(task.begun),
        finishing_seconds=finishing_seconds or 0.0,
    )


def _own_phases(task: _Task, ended: Run) -> tuple[Done, ...]:
    """The phases of the user's order, without those of the least violation."""
    names = {"weighted", *(objective.value for objective in task.order.objectives)}
    return tuple(done for done in ended.done if done.stage.name in names)


def _phases(form: StandardForm, done: tuple[Done, ...], objectives: tuple[Objective, ...]) -> tuple[Phase, ...]:
    phases = []
    for number, (objective, phase) in enumerate(zip(objectives, done, strict=False)):
        optimum, bound = phase.solution.objective, phase.solution.lower_bound
        size = max(abs(optimum), phase.stage.scale_or_1 * 1e-9)
        budget = phase.budget if number < len(objectives) - 1 else None
        gap = max(0.0, optimum - bound) / size
        first = float(slot_values(form.instance, extract(form, phase.solution.columns), objective)[0])
        phases.append(Phase(objective, optimum, budget, bound, gap, first, phase.solution.seconds))
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
        return _result(task, form, ended, ended.last.columns, Termination.INFEASIBLE, None)
    if ended.ending is Ending.INFEASIBLE:
        raise NoPlanError(
            f"instance {task.instance.name}: shares that are fixed exceed a capacity or grid limit, so not even serving "
            "nothing else keeps it; release a fixed pair or raise the limit"
        )
    raise TimeUpError(
        f"instance {task.instance.name}: no plan keeps every limit, and time was up before it was clear which clash; "
        "allow more time"
    )


def _out_of_time(task: _Task, form: StandardForm, ended: Run) -> Result:
    """The plan of the last phase reached, or the best simple plan that keeps every limit.

    Raises:
        TimeUpError: there is none.
    """
    if ended.done:
        return _result(task, form, ended, ended.last.columns, Termination.TIME_LIMIT, None)
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
        plan=sound[name],
        values=values(instance, sound[name]),
        phases_not_reached=task.named,
        seconds=seconds_since(task.begun),
    )
