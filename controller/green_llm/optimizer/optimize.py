"""``optimize``: from an instance to a finished, verified plan. Pure and synchronous."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import LimitKind, Objective, Order, Phase, Plan, Result, Termination, Tolerance
from green_llm.errors import NoPlanError, TimeUpError
from green_llm.optimizer import diagnosis
from green_llm.optimizer.baselines import nearest_shares
from green_llm.optimizer.coefficients import may_serve, scales, uniform_shares
from green_llm.optimizer.evaluate import values
from green_llm.optimizer.extract import extract, with_shares
from green_llm.optimizer.finishing import remove_slack, stay_close
from green_llm.optimizer.lexicographic import Done, Progress, Run, Session, Stage, run, seconds_since
from green_llm.optimizer.prices import binding_limits
from green_llm.optimizer.solver import Ending, Method, Solver
from green_llm.optimizer.standard_form import StandardForm, compile_model, refill
from green_llm.optimizer.verify import LIMITS, UNSERVED, check, require_valid


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
        seed: HiGHS's random seed; without influence on the result (tested).
        progress: called with a few words at every phase.
        session: a live solver kept from the last interval; solving starts warm.

    Returns:
        The result: OPTIMAL; INFEASIBLE with the least violation and its diagnosis; or TIME_LIMIT with the plan of the
        last phase that was reached.

    Raises:
        TimeUpError: time was up before any plan was known that keeps every limit.
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
) -> Result:
    """The finished optimum of a weighted sum of objectives in their raw units. As ``optimize`` otherwise."""
    return _solve(instance, Order(tuple(weights)), "weighted", weights, time_limit_s, None, seed, progress, None)


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
    task = _Task(
        instance=instance, order=order, method=method, weights=weights, session=session or Session(Solver(seed)),
        scales=scales(instance), begun=begun, deadline=None if time_limit_s is None else begun + time_limit_s,
        previous=previous, progress=progress,
    )  # fmt: skip
    demanded = (instance.demand > 0).any(axis=2)
    if (demanded & ~may_serve(instance).any(axis=1)).any():
        return _least_violation(task)
    # The model is stated in Pyomo once per session; later intervals refill the same arrays.
    form = refill(instance) if task.session.layout is not None else compile_model(instance)
    ended = run(form, task.stages(form), task.session, task.deadline, progress)
    if ended.ending is Ending.INFEASIBLE:
        return _least_violation(task)
    if ended.ending is Ending.TIME_LIMIT:
        return _out_of_time(task, form, ended)
    return _finish(task, form, ended, Termination.OPTIMAL)


def _finish(task: _Task, form: StandardForm, ended: Run, termination: Termination) -> Result:
    """Remove ties, extract, verify, price."""
    begun = time.perf_counter()
    finished = remove_slack(form, ended.done[-1], task.scales, task.session, task.deadline)
    in_time = finished.ending is Ending.OPTIMAL
    columns = finished.columns if in_time else ended.last.columns
    if in_time and not form.relaxed:
        columns = stay_close(form, ended.done, columns, task.scales, task.deadline)
    seconds = seconds_since(begun)
    if not in_time and termination is Termination.OPTIMAL:
        termination = Termination.TIME_LIMIT
    return _result(task, form, ended, columns, termination, seconds)


def _result(
    task: _Task, form: StandardForm, ended: Run, columns: FloatArray, termination: Termination, finishing_seconds: float
) -> Result:
    """A result whose plan has passed the check."""
    instance, plan = task.instance, extract(form, columns)
    expected = {o: float(coefficients @ columns) for o, coefficients in form.objectives.items()}
    overloaded = diagnosis.overload(instance, plan, task.order) if form.relaxed else ()
    broken = tuple(diagnosis.clashes(instance, plan, overloaded)) if form.relaxed else ()
    may_break = (UNSERVED, *LIMITS - {LimitKind.CAPACITY, LimitKind.GRID_LIMIT}) if form.relaxed else ()
    require_valid(instance, plan, expected, may_break)
    own = _own_phases(task, ended)
    named = task.order.objectives if task.weights is None else ()
    prices = binding_limits(form, own, named, plan) if not form.relaxed else ()
    return Result(
        termination=termination,
        method="least-violation" if form.relaxed else task.method,
        plan=plan,
        values=values(instance, plan),
        phases=_phases(own, named),
        phases_not_reached=named[len(own) :],
        binding=prices,
        diagnosis=tuple(violation.diagnosis() for violation in broken),
        overload=tuple(violation.diagnosis() for violation in overloaded),
        seconds=seconds_since(task.begun),
        finishing_seconds=finishing_seconds,
    )


def _own_phases(task: _Task, ended: Run) -> tuple[Done, ...]:
    """The phases of the user's order, without those of the least violation."""
    names = {"weighted", *(objective.value for objective in task.order.objectives)}
    return tuple(done for done in ended.done if done.stage.name in names)


def _phases(done: tuple[Done, ...], objectives: tuple[Objective, ...]) -> tuple[Phase, ...]:
    phases = []
    for number, (objective, phase) in enumerate(zip(objectives, done, strict=False)):
        optimum, bound = phase.solution.objective, phase.solution.lower_bound
        size = max(abs(optimum), (phase.stage.scale or 1.0) * 1e-9)
        budget = phase.budget if number < len(objectives) - 1 else None
        phases.append(
            Phase(objective, optimum, budget, bound, max(0.0, optimum - bound) / size, phase.solution.seconds)
        )
    return tuple(phases)


def _least_violation(task: _Task) -> Result:
    """The plan that breaks as little as can be, with the reasons.

    Raises:
        TimeUpError: time was up before it was found.
    """
    form = compile_model(task.instance, relaxed=True)
    stages = [*diagnosis.violation_stages(form, task.scales[Objective.WATER]), *task.stages(form)]
    ended = run(form, stages, task.session, task.deadline, task.progress)
    if ended.ending is Ending.OPTIMAL:
        return _finish(task, form, ended, Termination.INFEASIBLE)
    if len(ended.done) >= len(stages) - len(task.stages(form)):
        return _result(task, form, ended, ended.last.columns, Termination.INFEASIBLE, 0.0)
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
        NoPlanError: there is none.
    """
    if ended.done:
        return _result(task, form, ended, ended.last.columns, Termination.TIME_LIMIT, 0.0)
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
    name = min(sound, key=lambda key: [values(instance, sound[key]).of(o) for o in task.order.objectives])
    return Result(
        termination=Termination.TIME_LIMIT,
        method=name,
        plan=sound[name],
        values=values(instance, sound[name]),
        phases_not_reached=task.order.objectives,
        seconds=seconds_since(task.begun),
    )
