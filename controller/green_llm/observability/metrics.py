"""The recorder: every metric is exported from here, from one snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from green_llm.domain.series import SourceHealth
from green_llm.observability import comparison_families, families, plan_families
from green_llm.observability.counts import Counts
from green_llm.services.outcome import Outcome

disable_created_metrics()  # type: ignore[no-untyped-call]


class Recorder(Collector):
    """Holds the last outcome of every policy and what is counted; a scrape renders what is held at that moment.

    Under one lock, so that a scrape in another thread sees all of an outcome or nothing of it. The mappings are replaced,
    never changed: rendering them needs no lock.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, route_matrix: bool = True) -> None:
        """``route_matrix`` exports weights by rule and site: areas × classes × sites series."""
        self.registry = registry or CollectorRegistry()
        self._route_matrix = route_matrix
        self._lock = threading.Lock()
        self._outcomes: Mapping[str, Outcome] = {}
        self._recorded: Mapping[str, float] = {}
        self._plans: Mapping[str, plan_families.Lifetime] = {}
        """Of the last plan of each policy."""
        self._counts = Counts()
        self._turned: float | None = None
        self.sources: Callable[[], Mapping[str, SourceHealth]] = dict
        """How the live sources do."""
        self.registry.register(self)

    def turn(self) -> None:
        """Say that the planning loop turns."""
        self._turned = time.time()

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The last outcome by policy; replaced, never changed."""
        return self._outcomes

    @property
    def recorded(self) -> Mapping[str, float]:
        """When the last outcome of each policy came, by ``time.monotonic()``; replaced, never changed."""
        return self._recorded

    def record(self, outcome: Outcome) -> None:
        """Take over the outcome of an interval."""
        policy = outcome.policy.name
        with self._lock:
            self._counts.add(outcome)
            self._outcomes = {**self._outcomes, policy: outcome}
            self._recorded = {**self._recorded, policy: time.monotonic()}
            if outcome.result is not None:
                self._plans = {**self._plans, policy: (outcome.now, outcome.valid_until)}

    def keep_only(self, policies: Iterable[str]) -> None:
        """Stop exporting policies that are gone."""
        names = set(policies)
        with self._lock:
            for policy in self._outcomes.keys() - names:
                self._counts.forget(policy)
            self._outcomes = {name: outcome for name, outcome in self._outcomes.items() if name in names}
            self._plans = {name: lifetime for name, lifetime in self._plans.items() if name in names}

    def collect(self) -> Iterator[Metric]:
        """Render the snapshot."""
        with self._lock:
            outcomes, plans, counted = list(self._outcomes.values()), self._plans, self._counts.collect()
        yield from families.rates(outcomes)
        yield from families.totals(outcomes)
        yield from families.avoided(outcomes)
        if self._route_matrix:
            yield from families.weights(outcomes)
        yield from families.signals(outcomes)
        yield from families.traffic(outcomes)
        yield from comparison_families.comparison(outcomes)
        yield from plan_families.lifetimes(plans, self._turned)
        yield from plan_families.plans(outcomes)
        yield from plan_families.demands(outcomes)
        yield from plan_families.ledgers(outcomes)
        yield from plan_families.slo(outcomes)
        yield from families.sources(dict(self.sources()))
        yield from counted
