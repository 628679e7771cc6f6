"""Wiring: the only module that names concrete classes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from green_llm.api import status
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.amounts import Ledger
from green_llm.domain.audit import Rows
from green_llm.domain.request import CsvSettings, Kind, LiveSettings, ObjectKey, Problem, Resources, Source
from green_llm.domain.series import SlotValue
from green_llm.domain.services import SERVICES
from green_llm.domain.time import slots_from
from green_llm.errors import SignalError, StoreError
from green_llm.kube.accepted import AcceptedDemands
from green_llm.kube.all_weights import KubeAllWeights
from green_llm.kube.client import Cluster
from green_llm.kube.kinds import CONFIG_MAPS
from green_llm.kube.lease import Lease
from green_llm.kube.ledgers import KubeLedgers
from green_llm.kube.mirror import Mirror
from green_llm.kube.routes import KubeRoutes
from green_llm.kube.secrets import KubeSecrets
from green_llm.kube.statuses import KubeStatuses
from green_llm.observability.decisions import log_decision, log_to_stderr
from green_llm.observability.metrics import Recorder
from green_llm.observability.server import application, served
from green_llm.page.app import Page
from green_llm.page.history import History
from green_llm.page.what_if import WhatIfs
from green_llm.services.admission import Admission, PolicyRequest, admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.services.ports import LedgerStore
from green_llm.services.restating import KnownKey, covering, known_of
from green_llm.settings import Settings
from green_llm.signals.calibrate import Calibrated, calibrate
from green_llm.signals.check import SourceCheck, check_measures, check_sources
from green_llm.signals.collect import Collector
from green_llm.signals.http import HttpClient
from green_llm.signals.importing import Imported, import_history, live_questions
from green_llm.signals.live import LiveHub
from green_llm.signals.recordings import Question, Recordings
from green_llm.signals.registry import FEEDS
from green_llm.signals.shapes import missing_keys
from green_llm.signals.span import common_span
from green_llm.store.audit_files import AuditFiles
from green_llm.store.directory import DirectoryStore, Loaded

CONFIG_MAP = "configmap:"
RECORDINGS, AUDIT = "recordings", "audit"
"""Beside the resources of a directory."""
HISTORY = "state/history.sqlite3"
"""The same, of the live page."""


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


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """The services' own hosts, and those the settings name."""
    named = {host.strip() for host in settings.signal_hosts.split(",")} - {""}
    return frozenset({urlsplit(service.base_url).netloc for service in SERVICES.values()} | named)


def recordings_of(settings: Settings) -> Recordings | None:
    """The recordings that the settings name."""
    if not settings.record_directory:
        return None
    return Recordings(Path(settings.record_directory), settings.record_largest_bytes)


def audit_of(settings: Settings, root: Path | None = None) -> AuditFiles | None:
    """The audit that the settings name, else the one beside the resources of ``root``."""
    directory = Path(settings.audit_directory) if settings.audit_directory else root and root / AUDIT
    return AuditFiles(directory, settings.audit_largest_bytes) if directory else None


async def environment_secret(name: str, key: str) -> str:
    """A secret of a directory run: from the environment, so that none is in a file beside the resources.

    Raises:
        SignalError: it is not set.
    """
    variable = "GREEN_LLM_SECRET_" + re.sub("[^A-Z0-9]", "_", f"{name}_{key}".upper())
    if variable not in os.environ:
        raise SignalError(f"there is no Secret {name} with the key {key} here; set {variable}")
    return os.environ[variable]


def page_of(
    settings: Settings,
    outcomes: Callable[[], Mapping[str, Outcome]],
    statuses: Callable[[], Mapping[ObjectKey, Mapping[str, Any]]],
    history: Path | None,
) -> Page:
    """The live page of a process; its history is in ``history``, or in memory."""
    return Page(
        outcomes,
        statuses,
        History(history, days=settings.history_days, largest_bytes=settings.history_largest_bytes),
        WhatIfs(settings.what_if_seconds, settings.what_if_memory_bytes),
    )


@contextmanager
def web_server(settings: Settings, recorder: Recorder, page: Page, port: int) -> Iterator[int]:
    """``/metrics`` and the live page while the context lasts; gives the port (0 picks a free one).

    Raises:
        InvalidInputError: the port is taken, or the token file cannot be read.
    """
    app = application(recorder.registry, settings.metrics_address, settings.token_file)
    if settings.page:
        page.mount(app)
    try:
        with served(app, port, settings.metrics_address) as found:
            yield found
    finally:
        page.history.close()


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
        self.page = page_of(
            settings, lambda: self.recorder.outcomes, lambda: self._statuses, None if replay else history
        )
        self._collector = collector = Collector(self.store.read_text, self.hub, self.recordings if replay else None)
        self._demand = MeasuredDemand(collector.series)
        self._planning = Planning(
            collector,
            self._demand,
            self.store,
            ledgers,
            time_limit_s=settings.solver_time_limit_seconds,
            solver_threads=settings.solver_threads,
            audit=None if replay else audit_of(settings, root),
        )

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

    async def check_sources(self, now: datetime) -> list[SourceCheck]:
        """Ask every source of every policy's sites once."""
        self._missing_keys = {}
        reading = await self.read()
        missing, found = self._missing_keys, list[SourceCheck]()
        try:
            for request in reading.requests.values():
                found += await check_sources(
                    request.policy, request.sites, request.sources, self._collector, self.hub, missing, now
                )
                found += await check_measures(request, self._collector, self.hub, missing, now)
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
        questions = {
            Question(source.name, query.kind, query.params, query.place).key: (source, query)
            for request in reading.requests.values()
            for source, query in live_questions(request, start, end)
            if only is None or source.name == only
        }
        try:
            return await import_history(questions.values(), self.hub, self.recordings, datetime.now(UTC), progress)
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
        try:
            return await calibrate(sites, resources.sources, self.hub, start, end, step_seconds)
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


class ConfigMapTexts:
    """Recordings in ConfigMaps of the operator's namespace: read before a pass, given out during it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._found: dict[str, Mapping[str, str] | None] = {}

    async def refresh(self, sources: Iterable[Source]) -> None:
        """Read every ConfigMap that a source names.

        Raises:
            StoreError: the API server cannot be asked.
        """
        files = [source.settings.file for source in sources if isinstance(source.settings, CsvSettings)]
        names = {file.removeprefix(CONFIG_MAP).partition("/")[0] for file in files if file.startswith(CONFIG_MAP)}
        found: dict[str, Mapping[str, str] | None] = {}
        for name in sorted(names):
            body = await self._cluster.get(CONFIG_MAPS.path(self._namespace, name))
            found[name] = None if body is None else body.get("data") or {}
        self._found = found

    def read_text(self, name: str) -> tuple[str, str]:
        """(version, text) of ``configmap:NAME/KEY``.

        Raises:
            StoreError: it is not there; files are for directory runs.
        """
        if not name.startswith(CONFIG_MAP):
            raise StoreError(f"{name}: an operator has no files; use csv.configMapRef")
        config_map, _, key = name.removeprefix(CONFIG_MAP).partition("/")
        text = (self._found.get(config_map) or {}).get(key)
        if text is None:
            raise StoreError(
                f'there is no ConfigMap "{config_map}" with the key "{key}" in {self._namespace}; create it'
            )
        return str(hash(text)), text


@dataclass
class ClusterParts:
    """What one replica of the operator is made of."""

    settings: Settings
    cluster: Cluster
    mirror: Mirror
    routes: KubeRoutes
    planning: Planning
    statuses: KubeStatuses
    all_weights: KubeAllWeights
    recorder: Recorder
    page: Page
    texts: ConfigMapTexts
    accepted: AcceptedDemands
    hub: LiveHub
    identity: str
    leases: dict[str, Lease] = field(default_factory=dict)
    """By policy; of the empty name: of what belongs to no policy."""
    lease_added: asyncio.Event = field(default_factory=asyncio.Event)

    def lease(self, policy: str) -> Lease:
        """The lease of a policy, known from now on and renewed by the loop."""
        if policy not in self.leases:
            name = f"green-llm-{policy}" if policy else "green-llm"
            self.leases[policy] = Lease(self.cluster, self.settings.namespace, name, self.identity)
            self.lease_added.set()
        return self.leases[policy]


def cluster_parts(settings: Settings) -> ClusterParts:
    """Everything for a cluster, logged in.

    Raises:
        ApiError: there is no cluster to log in to.
    """
    cluster, mirror = Cluster.connect(), Mirror()
    texts = ConfigMapTexts(cluster, settings.namespace)
    parts: ClusterParts
    routes = KubeRoutes(cluster, mirror, lambda policy: parts.lease(policy).held)
    ledgers = KubeLedgers(cluster, settings.namespace)
    hub = LiveHub(
        HttpClient(allowed_hosts(settings)),
        FEEDS,
        KubeSecrets(cluster, settings.namespace).read,
        changed=mirror.changed.set,
        recordings=recordings_of(settings),
        enabled=lambda: any(lease.held for lease in parts.leases.values()),
    )
    collector = Collector(texts.read_text, hub)
    planning = Planning(
        collector,
        MeasuredDemand(collector.series),
        routes,
        ledgers,
        time_limit_s=settings.solver_time_limit_seconds,
        solver_threads=settings.solver_threads,
        audit=audit_of(settings),
    )
    statuses, recorder = KubeStatuses(cluster, mirror, settings.namespace), Recorder(route_matrix=settings.route_matrix)
    history = Path(settings.history_file) if settings.history_file else None
    parts = ClusterParts(
        settings=settings,
        cluster=cluster,
        mirror=mirror,
        routes=routes,
        planning=planning,
        statuses=statuses,
        all_weights=KubeAllWeights(cluster, settings.namespace),
        recorder=recorder,
        page=page_of(settings, lambda: recorder.outcomes, statuses.all_known, history),
        texts=texts,
        accepted=AcceptedDemands(cluster, settings.namespace),
        hub=hub,
        identity=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
    )
    parts.recorder.sources = lambda: hub.health
    return parts
