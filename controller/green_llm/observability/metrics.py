"""The recorder: every metric is exported from here, from one immutable snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from green_llm.domain.plan import Termination
from green_llm.domain.series import SourceHealth
from green_llm.observability import comparison_families, families, plan_families
from green_llm.services.outcome import Outcome

disable_created_metrics()  # type: ignore[no-untyped-call]
SOLVE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
ENDINGS = (*(ending.value for ending in Termination), "none")
"""How an interval can end; "none" is without a plan."""


class Recorder(Collector):
    """Holds the last outcome of every policy; a scrape renders whatever is held at that moment.

    The mappings are replaced, never changed, so that a scrape in another thread sees all of an outcome or nothing of it.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, route_matrix: bool = True) -> None:
        """``route_matrix`` exports weights by rule and site: areas × classes × sites series."""
        self.registry = registry or CollectorRegistry()
        self._route_matrix = route_matrix
        self._held: tuple[Mapping[str, Outcome], Mapping[str, plan_families.Lifetime]] = ({}, {})
        """Last outcomes, and lifetimes of last plans, by policy."""
        self.sources: Callable[[], Mapping[str, SourceHealth]] = dict
        """How the live sources do."""
        self._lock = threading.Lock()
        self.registry.register(self)
        self._turned = Gauge(
            "greenllm_loop_turn_timestamp_seconds", "When the planning loop last turned", registry=self.registry
        )
        self._terminations = Counter(
            "greenllm_plans", "Plans by how they ended", ["policy", "termination"], registry=self.registry
        )
        self._solves = Counter(
            "greenllm_solves", "Solves by method, and why not by decomposition", ["policy", "method", "fallback_reason"],
            registry=self.registry,
        )  # fmt: skip
        self._phases = Histogram(
            "greenllm_solve_phase_seconds", "Solver time of a phase", ["policy", "objective"], buckets=SOLVE_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._steps = Histogram(
            "greenllm_interval_step_seconds", "Wall time of a step of an interval", ["policy", "step"],
            buckets=SOLVE_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._writes = Counter(
            "greenllm_route_writes", "Writes of routes by result", ["policy", "result"], registry=self.registry
        )
        self._audits = Counter(
            "greenllm_audit_write_failures", "Intervals whose audit could not be written at once", ["policy"],
            registry=self.registry,
        )  # fmt: skip
        self._problems = Counter(
            "greenllm_signal_problems",
            "Sources without a usable value",
            ["policy", "site", "kind"],
            registry=self.registry,
        )
        self._fallbacks = Counter(
            "greenllm_signal_fallbacks", "Intervals whose current value is not the first source's",
            ["policy", "site", "kind", "source"], registry=self.registry,
        )  # fmt: skip

    def turn(self) -> None:
        """Say that the planning loop turns."""
        self._turned.set(time.time())

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The last outcome by policy; replaced, never changed."""
        return self._held[0]

    def record(self, outcome: Outcome) -> None:
        """Take over the outcome of an interval."""
        policy = outcome.policy.name
        for ending in ENDINGS:  # a counter that begins with its first event hides that event from rate()
            self._terminations.labels(policy, ending)
        self._terminations.labels(policy, outcome.result.termination.value if outcome.result else "none").inc()
        if outcome.result is not None:
            # What stands behind the colon differs from case to case.
            reason = (outcome.result.fallback_reason or "").partition(":")[0]
            self._solves.labels(policy, outcome.result.method, reason).inc()
        for phase in outcome.result.phases if outcome.result else ():
            self._phases.labels(policy, phase.objective.value).observe(phase.seconds)
        for step, seconds in outcome.seconds.items():
            self._steps.labels(policy, step).observe(seconds)
        written = {row.route for row in outcome.weights if row.written}
        self._writes.labels(policy, "written").inc(len(written))
        self._writes.labels(policy, "failed").inc(len(outcome.writes_failed))
        self._audits.labels(policy).inc(outcome.audit_error is not None)
        for problem in outcome.book.problems:
            self._problems.labels(policy, problem.site, problem.kind.value).inc()
        for (site, kind), value in outcome.current_signals().items():
            if value.rank:
                self._fallbacks.labels(policy, site, kind.value, value.source).inc()
        with self._lock:
            outcomes, plans = self._held
            if outcome.result is not None:
                plans = {**plans, policy: (outcome.now, outcome.valid_until)}
            self._held = ({**outcomes, policy: outcome}, plans)

    def keep_only(self, policies: Iterable[str]) -> None:
        """Stop exporting policies that are gone."""
        names = set(policies)
        with self._lock:
            outcomes, plans = self._held
            gone = outcomes.keys() - names
            self._held = (
                {name: outcome for name, outcome in outcomes.items() if name in names},
                {name: lifetime for name, lifetime in plans.items() if name in names},
            )
        for policy in gone:
            for metric in (
                self._terminations, self._phases, self._steps, self._writes, self._audits, self._problems, self._fallbacks,
                self._solves,
            ):  # fmt: skip
                metric.remove_by_labels({"policy": policy})

    def collect(self) -> Iterator[Metric]:
        """Render the snapshot."""
        held, lifetimes = self._held
        outcomes = list(held.values())
        yield from families.rates(outcomes)
        yield from families.totals(outcomes)
        yield from families.avoided(outcomes)
        if self._route_matrix:
            yield from families.weights(outcomes)
        yield from families.signals(outcomes)
        yield from families.traffic(outcomes)
        yield from comparison_families.comparison(outcomes)
        yield from plan_families.lifetimes(lifetimes)
        yield from plan_families.plans(outcomes)
        yield from plan_families.demands(outcomes)
        yield from plan_families.ledgers(outcomes)
        yield from plan_families.slo(outcomes)
        yield from families.sources(dict(self.sources()))
