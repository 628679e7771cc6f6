"""A whole back-test: every method and every bound, and what there is to say about them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from green_llm.backtest import checkpoint, parallel
from green_llm.backtest.actuals import period_of
from green_llm.backtest.bounds import BOUNDED, Bound, bound
from green_llm.backtest.inputs import NOT_SEEN, SAID, basis, inputs_of
from green_llm.backtest.methods import Method, Settings
from green_llm.backtest.replay import Span, Task, degraded
from green_llm.backtest.run import Ran, run
from green_llm.backtest.savings import MEASURES, Measure, Saving, by_day, savings
from green_llm.backtest.tally import Broken
from green_llm.backtest.world import World
from green_llm.domain.plan import LimitKind, Objective
from green_llm.domain.request import Policy
from green_llm.domain.time import floor_to_slot
from green_llm.domain.weights import NOTICED
from green_llm.errors import InvalidInputError
from green_llm.services import tolerances

WARM_UP = timedelta(days=1)
"""The first recorded day is there for persistence and forecasts of demand to learn from."""
EVERYTHING = tuple(method for method in Method if method is not Method.OURS)


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What is to be compared."""

    world: World
    policy: str
    span: Span
    against: tuple[Method, ...] = EVERYTHING
    bounds: tuple[Objective, ...] = BOUNDED
    settings: Settings = field(default_factory=Settings)
    work: Path | None = None
    """Where checkpoints are kept."""

    def task(self, method: Method) -> Task:
        """One method's part."""
        task = Task(world=self.world, policy=self.policy, method=method, span=self.span, settings=self.settings)
        return task if method.splits else self._kept(task, method.value)

    def bound_task(self, objective: Objective) -> Task:
        """One bound's part; the rule of its task is not asked."""
        task = Task(world=self.world, policy=self.policy, method=Method.NEAREST, span=self.span, settings=self.settings)
        return self._kept(task, f"bound of {objective}")

    def _kept(self, task: Task, part: str) -> Task:
        # A worker's working directory is not this one's.
        return (
            task if self.work is None else replace(task, checkpoint=self.work.resolve() / f"{_digest(task, part)}.json")
        )

    def jobs(self) -> dict[str, parallel.Job]:
        """The longest first."""
        methods = [Method.OURS, *self.against]
        found = {method.value: parallel.Job(run, (self.task(method),)) for method in methods}
        return found | {f"bound of {o.value}": parallel.Job(bound, (self.bound_task(o), o)) for o in self.bounds}


def _digest(task: Task, part: str) -> str:
    """What makes two replays, or two bounds, the same."""
    said = (version("green-llm"), task.world.digest, task.world.demand_factor, task.policy, part, task.span)
    return hashlib.sha256(repr((said, sorted(task.settings.weights.items()))).encode()).hexdigest()[:24]


def span_of(
    world: World, policy: Policy, start: datetime | None, end: datetime | None, step_seconds: int | None
) -> Span:
    """The intervals to test: the recorded time after its first day, unless told otherwise.

    Raises:
        InvalidInputError: nothing was recorded, the times leave no interval, or intervals and slots do not fit.
    """
    step = step_seconds or policy.period_seconds
    if policy.slot_seconds % step and step % policy.slot_seconds:
        raise InvalidInputError(
            f"--interval: {step} s neither divides the slot of {policy.slot_seconds} s nor is a multiple of it"
        )
    if 86400 % step:
        raise InvalidInputError(f"--interval: {step} s does not divide a day")
    recorded = world.span()
    begin = start or (recorded and recorded[0] + WARM_UP)
    last = end or (recorded and recorded[1])
    if begin is None or last is None:
        raise InvalidInputError(f"{world.name}: there are no recordings that overlap; give --from and --to")
    found = Span(start=floor_to_slot(begin, step), end=floor_to_slot(last, step), step_seconds=step)
    if found.count < 1:
        raise InvalidInputError(f"--from {begin.isoformat()} and --to {last.isoformat()} leave no interval")
    return found


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a back-test came to."""

    backtest: Backtest
    ran: Mapping[Method, Ran]
    bounds: Mapping[Objective, Bound]

    @property
    def policy(self) -> Policy:
        """As it was tested."""
        return self.backtest.world.request(self.backtest.policy).policy

    def broken(self, method: Method) -> dict[LimitKind, Broken]:
        """The limits that a method has exceeded, with the water budget."""
        found = dict(self.ran[method].tally.broken)
        policy, span = self.policy, self.backtest.span
        budget = policy.water
        if budget is not None:
            series = self.ran[method].tally.series
            liters = series["water_on_site_l"] + series["water_off_site_l"]
            periods = np.array([period_of(n, span, policy) for n in range(span.count)])
            used = np.bincount(periods, liters) / budget.liters - 1.0
            if (used > NOTICED).any():
                found[LimitKind.WATER_CAP] = Broken(int((used > NOTICED).sum()), 100.0 * float(used.max()))
        return found

    def savings(self, baseline: Method) -> tuple[Saving, ...]:
        """Of ours against a baseline."""
        return savings(self.ran[Method.OURS].tally, self.ran[baseline].tally, self.backtest.span)


def compare(
    backtest: Backtest, report: parallel.Report, *, processes: int = 1, scheduler: str | None = None
) -> Compared:
    """Run everything. What is kept on the way stays until ``forget``: a page that cannot be written costs no second run.

    Raises:
        StoreError: what is done cannot be kept on the way.
        InvalidInputError, WorkerError: as in ``run_jobs``.
    """
    results = run_kept(backtest.jobs(), backtest.work, report, processes=processes, scheduler=scheduler)
    return Compared(
        backtest=backtest,
        ran={Method(name): result for name, result in results.items() if isinstance(result, Ran)},
        bounds={result.objective: result for result in results.values() if isinstance(result, Bound)},
    )


def run_kept(
    jobs: Mapping[str, parallel.Job],
    work: Path | None,
    report: parallel.Report,
    *,
    processes: int = 1,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """The result of every job; what they keep on the way is in ``work``."""
    if work is not None:
        checkpoint.prepare(work)
    return parallel.run_jobs(jobs, report, processes=processes, scheduler=scheduler)


def forget(jobs: Mapping[str, parallel.Job]) -> None:
    """Remove what jobs, whose first argument is their task, have kept on the way: what they came to has been said."""
    for job in jobs.values():
        kept = job.arguments[0].checkpoint
        if kept is not None:
            checkpoint.remove(kept)


def document(compared: Compared) -> dict[str, Any]:
    """What `green-llm backtest --json` prints."""
    span, policy = compared.backtest.span, compared.policy
    methods = [method for method in Method if method in compared.ran]
    inputs = inputs_of(compared.backtest.world.request(policy.name), compared.backtest.world.annotations)
    found = basis(inputs)
    return {
        "format": "green-llm-backtest/1",
        "directory": compared.backtest.world.name,
        "policy": policy.name,
        "currency": policy.currency,
        "start": span.start.isoformat(),
        "end": span.end.isoformat(),
        "interval_seconds": span.step_seconds,
        "intervals": span.count,
        "basis": found.value,
        "basis_said": SAID[found],
        "order": _tolerances(compared),
        "methods": {method.value: _method(compared, method) for method in methods},
        "savings": {method.value: _savings(compared, method) for method in methods if method is not Method.OURS},
        "inputs": [asdict(entry) for entry in inputs],
        "not_seen": list(NOT_SEEN),
        "bounds": {objective.value: _bound(compared, entry) for objective, entry in compared.bounds.items()},
    }


def _tolerances(compared: Compared) -> list[dict[str, Any]]:
    """The order, with what its tolerances were used for over all executed slots: E / M beside the tolerance."""
    order, decisions = compared.policy.order, compared.ran[Method.OURS].decisions
    spent = {} if decisions is None or decisions.ledger is None else decisions.ledger.spent
    found = []
    for name, objective, tolerance in zip(tolerances.names(order), order.objectives, order.tolerances, strict=True):
        used = spent.get(name)
        found.append(
            {
                "objective": objective.value,
                "tolerance_percent": 100.0 * tolerance.relative,
                "realised_excess_percent": 100.0 * used.excess / used.optimum if used and used.optimum else None,
            }
        )
    return found


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Measures that are given only as differences: marginal emissions mean nothing as a total, or in per cent of one."""
    return () if policy.takes_inventory else ("emissions_kg", "carbon_cost")


def _method(compared: Compared, method: Method) -> dict[str, Any]:
    ran = compared.ran[method]
    tally, amounts = ran.tally, ran.tally.amounts()
    found: dict[str, Any] = {m.name: float(m.of(tally.series).sum()) for m in MEASURES}
    found |= dict.fromkeys(unsaid(compared.policy))
    broken = compared.broken(method)
    return found | {
        "queries": amounts.queries,
        "mean_delay_s": amounts.mean_delay_s,
        "median_delay_s": tally.percentile_s(0.5),
        "p95_delay_s": tally.percentile_s(0.95),
        "late_queries": float(tally.late_queries.sum()),
        "keeps_limits": not broken,
        "broken": broken_limits(broken),
        "by_day": {name: by_day(m.of(tally.series), compared.backtest.span).tolist() for name, m in _by_day(compared)},
        "uncharged_intervals": int(tally.uncharged.sum()),
        "unknown_pairs": ran.unknown_pairs,
        "degraded_intervals": None if ran.decisions is None else degraded(ran.decisions),
        "median_seconds_per_interval": None if ran.decisions is None else float(np.median(ran.decisions.seconds)),
    }


def broken_limits(found: Mapping[LimitKind, Broken]) -> list[dict[str, Any]]:
    """As JSON."""
    return [
        {"limit": kind.value, "intervals": entry.intervals, "worst_percent": _finite(entry.worst_percent)}
        for kind, entry in found.items()
    ]


def _by_day(compared: Compared) -> list[tuple[str, Measure]]:
    """What is given day by day (whole days, UTC)."""
    names = ("cost", "emissions_kg", "water_l") if compared.policy.takes_inventory else ("cost", "water_l")
    return [(m.name, m) for m in MEASURES if m.name in names]


def _savings(compared: Compared, baseline: Method) -> dict[str, Any]:
    infeasible = bool(compared.broken(baseline))
    hidden = unsaid(compared.policy)
    found = {}
    for saving in compared.savings(baseline):
        entry = asdict(saving) | {"enough_days": saving.enough_days, "against_infeasible": infeasible}
        if saving.measure in hidden:
            entry |= {"percent": None, "low_percent": None, "high_percent": None}
        found[entry.pop("measure")] = entry
    return found


VALUE_OF = {Objective.COST: "cost", Objective.EMISSIONS: "emissions_kg", Objective.WATER: "water_l",
            Objective.DELAY: "delay_penalty"}  # fmt: skip


def _bound(compared: Compared, entry: Bound) -> dict[str, Any]:
    measure = next(m for m in MEASURES if m.name == VALUE_OF[entry.objective])
    ours = float(measure.of(compared.ran[Method.OURS].tally.series).sum())
    above = 100.0 * (ours - entry.value) / abs(entry.value) if entry.value and not entry.days_left_out else None
    unit = compared.policy.currency if measure.unit == "money" else measure.unit
    return {"value": entry.value, "unit": unit, "ours_above_percent": above, "water_prices": list(entry.water_prices),
            "days_left_out": entry.days_left_out}  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
