"""Wiring: the only module that names concrete classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from green_llm.api import status
from green_llm.demand.profile import ProfileDemand
from green_llm.domain.amounts import Ledger
from green_llm.domain.request import Kind, ObjectKey, Problem, Resources
from green_llm.errors import StoreError
from green_llm.observability.decisions import log_decision, log_to_stderr
from green_llm.observability.metrics import Recorder
from green_llm.services.admission import Admission, PolicyRequest, admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.services.ports import LedgerStore
from green_llm.settings import Settings
from green_llm.signals.collect import Collector
from green_llm.signals.span import common_span
from green_llm.store.directory import DirectoryStore, Loaded


class DirectoryLedgers:
    """Ledgers in the directory's ``state/``."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store

    async def load(self, policy: str) -> Ledger | None:
        """The ledger as last saved."""
        return self._store.load_ledger(policy)

    async def save(self, policy: str, ledger: Ledger) -> None:
        """Keep the ledger."""
        self._store.save_ledger(policy, ledger)


class MemoryLedgers:
    """Ledgers of a replay: recorded days must not be charged to the real budget."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}

    async def load(self, policy: str) -> Ledger | None:
        """The ledger as last saved."""
        return self._ledgers.get(policy)

    async def save(self, policy: str, ledger: Ledger) -> None:
        """Keep the ledger."""
        self._ledgers[policy] = ledger


@dataclass(frozen=True)
class Reading:
    """The directory at one moment, and the verdict on it."""

    loaded: Loaded
    admission: Admission

    @property
    def requests(self) -> Mapping[str, PolicyRequest]:
        """By policy."""
        return self.admission.requests


class EmbeddedRun:
    """Green-LLM on a directory of YAML files."""

    def __init__(self, root: Path, settings: Settings, *, replay: bool = False) -> None:
        """``replay`` keeps ledgers in memory.

        Raises:
            StoreError: ``root`` is no directory.
        """
        self.store = DirectoryStore(root)
        if settings.decision_log:
            log_to_stderr()
        self.recorder = Recorder(route_matrix=settings.route_matrix)
        ledgers: LedgerStore = MemoryLedgers() if replay else DirectoryLedgers(self.store)
        collector = Collector(self.store.read_text)
        self._planning = Planning(
            collector, ProfileDemand(), self.store, ledgers, time_limit_s=settings.solver_time_limit_seconds
        )

    async def read(self) -> Reading:
        """Read the directory and say who takes part."""
        loaded = self.store.load()
        resources = loaded.resources
        routes = await self.store.read(wanted_routes(resources))
        return Reading(loaded, admit(resources, routes))

    async def reconcile(self, request: PolicyRequest, now: datetime) -> Outcome:
        """One interval of one policy: plan, write, record, and say so in the log."""
        routes = await self.store.read(request.routes)
        outcome = await self._planning.reconcile(request, routes, now)
        self.recorder.record(outcome)
        log_decision(outcome)
        return outcome

    def write_status(self, reading: Reading, outcomes: list[Outcome], now: datetime) -> None:
        """Write the status of every resource beside its file."""
        try:
            previous = self.store.read_status()
        except StoreError:
            previous = {}
        found: dict[ObjectKey, Mapping[str, object]] = {}
        by_key: dict[ObjectKey, list[Problem]] = {}
        for problem in reading.admission.problems:
            by_key.setdefault(problem.key, []).append(problem)
        for key, problems in by_key.items():
            found[key] = status.rejected_status(problems, now, previous.get(key))
        for outcome in outcomes:
            key = ObjectKey(Kind.POLICY, "", outcome.policy.name)
            found[key] = status.policy_status(outcome, previous.get(key))
            found |= status.site_statuses(outcome, previous)
            found |= status.demand_statuses(outcome, previous)
        self.store.write_status(found)

    def recorded_span(self, resources: Resources) -> tuple[datetime, datetime] | None:
        """The time that the recorded signals cover."""
        return common_span(list(resources.sites.values()), resources.sources, self.store.read_text)
