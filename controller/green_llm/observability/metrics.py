"""The recorder: every metric is exported from here, from one immutable snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from green_llm.domain.series import SourceHealth
from green_llm.observability import families
from green_llm.services.outcome import Outcome

disable_created_metrics()  # type: ignore[no-untyped-call]
SOLVE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)


class Recorder(Collector):
    """Holds the last outcome of every policy; a scrape renders whatever is held at that moment.

    The mapping is replaced, never changed, so that a scrape in another thread sees all of an outcome or nothing of it.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, route_matrix: bool = True) -> None:
        """``route_matrix`` exports weights by rule and site: areas × classes × sites series."""
        self.registry = registry or CollectorRegistry()
        self._route_matrix = route_matrix
        self._outcomes: Mapping[str, Outcome] = {}
        self.sources: Callable[[], Mapping[str, SourceHealth]] = dict
        """How the live sources do."""
        self._lock = threading.Lock()
        self.registry.register(self)
        self._terminations = Counter(
            "greenllm_plans", "Plans by how they ended", ["policy", "termination"], registry=self.registry
        )
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

    def record(self, outcome: Outcome) -> None:
        """Take over the outcome of an interval."""
        policy = outcome.policy.name
        self._terminations.labels(policy, outcome.result.termination.value if outcome.result else "none").inc()
        for phase in outcome.result.phases if outcome.result else ():
            self._phases.labels(policy, phase.objective.value).observe(phase.seconds)
        for step, seconds in outcome.seconds.items():
            self._steps.labels(policy, step).observe(seconds)
        written = {row.route for row in outcome.weights if row.written}
        self._writes.labels(policy, "written").inc(len(written))
        self._writes.labels(policy, "failed").inc(len(outcome.writes_failed))
        for problem in outcome.book.problems:
            self._problems.labels(policy, problem.site, problem.kind.value).inc()
        for (site, kind), value in outcome.current_signals().items():
            if value.rank:
                self._fallbacks.labels(policy, site, kind.value, value.source).inc()
        with self._lock:
            self._outcomes = {**self._outcomes, policy: outcome}

    def keep_only(self, policies: Iterable[str]) -> None:
        """Stop exporting policies that are gone."""
        names = set(policies)
        with self._lock:
            self._outcomes = {name: outcome for name, outcome in self._outcomes.items() if name in names}

    def collect(self) -> Iterator[Metric]:
        """Render the snapshot."""
        outcomes = list(self._outcomes.values())
        yield from families.rates(outcomes)
        yield from families.totals(outcomes)
        yield from families.avoided(outcomes)
        if self._route_matrix:
            yield from families.weights(outcomes)
        yield from families.signals(outcomes)
        yield from families.traffic(outcomes)
        yield from families.plans(outcomes)
        yield from families.ledgers(outcomes)
        yield from families.sources(dict(self.sources()))
