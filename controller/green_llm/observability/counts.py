"""What is counted and timed from interval to interval."""

from __future__ import annotations

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric

from green_llm.domain.plan import Termination
from green_llm.services.outcome import Outcome

SOLVE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
ENDINGS = (*(ending.value for ending in Termination), "none")
"""How an interval can end; "none" is without a plan."""


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"greenllm_{name}", text, ["policy", *labels], registry=None)


def _seconds(name: str, text: str, label: str) -> Histogram:
    return Histogram(f"greenllm_{name}", text, ["policy", label], buckets=SOLVE_BUCKETS, registry=None)


class Counts:
    """Counters and histograms of all policies. In no registry: the recorder gives them out with its snapshot."""

    def __init__(self) -> None:
        self._endings = _counter("plans", "Plans by how they ended", "termination")
        self._solves = _counter("solves", "Solves by method, and why not by decomposition", "method", "fallback_reason")
        self._phases = _seconds("solve_phase_seconds", "Solver time of a phase", "objective")
        self._steps = _seconds("interval_step_seconds", "Wall time of a step of an interval", "step")
        self._writes = _counter("route_writes", "Writes of routes by result", "result")
        self._audits = _counter("audit_write_failures", "Intervals whose audit could not be written at once")
        self._problems = _counter("signal_problems", "Sources without a usable value", "site", "kind")
        self._fallbacks = _counter(
            "signal_fallbacks", "Intervals whose current value is not the first source's", "site", "kind", "source"
        )

    def add(self, outcome: Outcome) -> None:
        """Count an interval."""
        policy = outcome.policy.name
        for ending in ENDINGS:  # a counter that begins with its first event hides that event from rate()
            self._endings.labels(policy, ending)
        self._endings.labels(policy, outcome.result.termination.value if outcome.result else "none").inc()
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

    def forget(self, policy: str) -> None:
        """Count no more for a policy that is gone."""
        for metric in self._all():
            metric.remove_by_labels({"policy": policy})

    def collect(self) -> list[Metric]:
        """Everything counted so far."""
        return [family for metric in self._all() for family in metric.collect()]

    def _all(self) -> tuple[Counter | Histogram, ...]:
        return (
            self._endings, self._solves, self._phases, self._steps, self._writes, self._audits, self._problems, self._fallbacks
        )  # fmt: skip
