"""The parts of a run on a directory of YAML files. Knows no cluster, so that such a run need not load its client."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from green_llm.api import status
from green_llm.bootstrap.common import allowed_hosts, audit_of, page_of, recordings_of
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.audit import Rows
from green_llm.domain.request import Kind, LiveSettings, ObjectKey, Problem, Resources, Source
from green_llm.domain.series import SlotValue
from green_llm.domain.time import slots_from
from green_llm.errors import SignalError, StoreError
from green_llm.observability.decisions import log_decision, log_to_stderr
from green_llm.observability.metrics import Recorder
from green_llm.services.admission import Admission, PolicyRequest, admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.services.ports import LedgerStore
from green_llm.services.restating import KnownKey, covering, known_of
from green_llm.settings import Settings
from green_llm.signals.calibrate import Calibrated, Calibration
from green_llm.signals.check import SourceCheck, check_guards, check_measures, check_sources
from green_llm.signals.collect import Collector
from green_llm.signals.http import HttpClient
from green_llm.signals.importing import Imported, import_history, live_questions
from green_llm.signals.live import LiveHub
from green_llm.signals.recordings import Question, Recordings
from green_llm.signals.registry import FEEDS
from green_llm.signals.shapes import missing_keys
from green_llm.signals.span import common_span
from green_llm.store.directory import DirectoryStore, Loaded
from green_llm.store.ledgers import DirectoryLedgers, MemoryLedgers

RECORDINGS = "recordings"
"""Beside the resources of a directory."""
HISTORY = "state/history.sqlite3"
"""The same, of the live page."""


@dataclass(frozen=True)
class Reading:
    """The directory at one moment, and the verdict on it."""

    loaded: Loaded
    admission: Admission

    @property
    def requests(self) -> Mapping[str, PolicyRequest]:
        """By policy."""
        return self.admission.requests


async def environment_secret(name: str, key: str) -> str:
    """A secret of a directory run: from the environment, so that none is in a file beside the resources.

    Raises:
        SignalError: it is not set.
    """
    variable = "GREEN_LLM_SECRET_" + re.sub("[^A-Z0-9]", "_", f"{name}_{key}".upper())
    if variable not in os.environ:
        raise SignalError(f"there is no Secret {name} with the key {key} here; set {variable}")
    return os.environ[variable]


class EmbeddedRun:
    """Green-LLM on a directory of YAML files."""

    def __init__(
        self,
        root: Path,
        settings: Settings,
        *,
        replay: bool = False,
        record: bool = False,
        first_wait_seconds: float = 0.0,
    ) -> None:
        """``replay`` keeps ledgers in memory and takes live signals from recordings; ``record`` keeps what they say.

        Live signals are waited for ``first_wait_seconds`` at first.

        Raises:
            StoreError: ``root`` is no directory.
        """
        self.store = DirectoryStore(root)
        if settings.decision_log:
            log_to_stderr()
        self.recorder = Recorder(route_matrix=settings.route_matrix)
        ledgers: LedgerStore = MemoryLedgers() if replay else DirectoryLedgers(self.store)
        self._signals_changed = False
        self._missing_keys: dict[str, set[str]] | None = None
        """By source, while sources are checked."""
        self.recordings = recordings_of(settings) or Recordings(root / RECORDINGS, settings.record_largest_bytes)
        self.hub = LiveHub(
            HttpClient(allowed_hosts(settings)),
            FEEDS,
            environment_secret,
            first_wait_seconds=first_wait_seconds,
            changed=self._note_signals,
            recordings=self.recordings if record else recordings_of(settings),
            looked_at=self._look_at,
        )
        self.recorder.sources = lambda: self.hub.health
        self._statuses: Mapping[ObjectKey, Mapping[str, Any]] = {}
        history = Path(settings.history_file) if settings.history_file else root / HISTORY
        self.page = page_of(settings, self.recorder, lambda: self._statuses, None if replay else history)
        self.page.real_time = not replay
        self._collector = collector = Collector(self.store.read_text, self.hub, self.recordings if replay else None)
        self._demand = MeasuredDemand(collector.series)
        self._audit = None if replay else audit_of(settings, root)
        self._planning = Planning(
            collector,
            self._demand,
            self.store,
            ledgers,
            time_limit_s=settings.solver_time_limit_seconds,
            solver_threads=settings.solver_threads,
            audit=self._audit,
        )

    def require_writable(self) -> None:
        """See that what an interval keeps can be kept: weights, statuses, ledgers and the audit.

        Raises:
            StoreError: a directory cannot be written to.
        """
        self.store.require_writable()
        if self._audit is not None:
            self._audit.require_writable()

    def changed(self) -> bool:
        """Whether a file was edited or a live signal has moved since the last look."""
        moved, self._signals_changed = self._signals_changed, False
        return self.store.changed() or moved

    def _look_at(self, source: Source, bodies: Sequence[bytes]) -> None:
        """Note which keys answers lack; where a check has asked for it."""
        if self._missing_keys is not None and isinstance(source.settings, LiveSettings):
            found = [key for body in bodies for key in missing_keys(source.settings.service, body)]
            self._missing_keys.setdefault(source.name, set()).update(found)

    def _note_signals(self) -> None:
        self._signals_changed = True

    async def read(self) -> Reading:
        """Read the directory and say who takes part."""
        loaded = self.store.load()
        resources = loaded.resources
        routes = await self.store.read(wanted_routes(resources))
        return Reading(loaded, admit(resources, routes))

    async def check_sources(self, reading: Reading, now: datetime) -> list[SourceCheck]:
        """Ask every source of every policy once: of its sites, its demands and its SLOs."""
        self._missing_keys = {}
        missing, found = self._missing_keys, list[SourceCheck]()
        try:
            for request in reading.requests.values():
                found += await check_sources(
                    request.policy, request.sites, request.sources, self._collector, self.hub, missing, now
                )
                found += await check_measures(request, self._collector, self.hub, missing, now)
                found += await check_guards(request, self._collector, self.hub, missing, now)
            return found
        finally:
            await self.hub.close()

    async def look(self) -> list[PolicyRequest]:
        """Keep asking what the policies' sites and demands need, without planning anything."""
        reading = await self.read()
        now = datetime.now(UTC)
        for request in reading.requests.values():
            slots = slots_from(now, request.policy.slot_seconds, request.policy.slots)
            await self._collector.collect(request.policy, request.sites, request.sources, slots, now)
            for pair in request.pairs:
                with contextlib.suppress(SignalError):
                    await self._demand.collect(
                        pair.entry, pair.area, pair.demand.namespace, request.sources, slots, now
                    )
        return list(reading.requests.values())

    async def import_history(
        self, start: datetime, end: datetime, only: str | None, progress: Callable[[Question, datetime], None]
    ) -> list[Imported]:
        """Bring what live services know of the past into the recordings; ``only`` names a source."""
        reading = await self.read()
        asked = live_questions(reading.requests.values(), start, end)
        questions = [question for question in asked if only is None or question.source.name == only]
        try:
            return await import_history(questions, self.hub, self.recordings, datetime.now(UTC), progress)
        finally:
            await self.hub.close()

    async def reconcile(self, request: PolicyRequest, now: datetime) -> Outcome:
        """One interval of one policy: plan, write, record, and say so in the log."""
        routes = await self.store.read(request.routes)
        outcome = await self._planning.reconcile(request, routes, now)
        self.recorder.record(outcome)
        self.page.history.record(outcome)
        log_decision(outcome)
        return outcome

    async def calibrate(self, start: datetime, end: datetime, step_seconds: int, only: str | None) -> list[Calibrated]:
        """Fit sites to what their servers have measured; ``only`` names one."""
        resources = self.store.load().resources
        sites = [site for name, site in sorted(resources.sites.items()) if only in (None, name)]
        classes: dict[str, set[str]] = {}
        for demand in resources.demands.values():
            for query_class in demand.classes.values():
                classes.setdefault(query_class.profile, set()).add(query_class.name)
        by_profile = {profile: sorted(names) for profile, names in classes.items()}
        asking = Calibration(resources.sources, self.hub, start, end, step_seconds)
        try:
            return [entry for site in sites for entry in await asking.site(site, by_profile)]
        finally:
            await self.hub.close()

    async def slo_moved(self, request: PolicyRequest, now: datetime) -> bool:
        """Whether a site has come to break its limits, or to keep them."""
        return await self._planning.slo_moved(request, now)

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
        for name, health in self.hub.health.items():
            key = ObjectKey(Kind.SOURCE, "", name)
            found[key] = status.source_status(health, now, previous.get(key))
        for outcome in outcomes:
            key = ObjectKey(Kind.POLICY, "", outcome.policy.name)
            found[key] = status.policy_status(outcome, previous.get(key))
            found |= status.site_statuses(outcome, previous)
            found |= status.demand_statuses(outcome, previous)
        self.store.write_status(found)
        self._statuses = {**previous, **found}

    async def settled(self, request: PolicyRequest, rows: Rows, now: datetime) -> dict[KnownKey, SlotValue]:
        """What is known by now of the signals of audit rows, from files and recordings; a day at a time."""
        found: dict[KnownKey, SlotValue] = {}
        for slots in covering(rows):
            book = await self._collector.settled(request.policy, request.sites, request.sources, slots, now)
            found.update(known_of(book))
        return found

    def recorded_span(self, resources: Resources) -> tuple[datetime, datetime] | None:
        """The time that the recorded signals cover."""
        return common_span(list(resources.sites.values()), resources.sources, self.store.read_text, self.recordings)
