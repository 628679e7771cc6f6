"""The parts of one replica of the operator."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from green_llm.bootstrap.common import allowed_hosts, audit_of, page_of, recordings_of
from green_llm.demand.measured import MeasuredDemand
from green_llm.errors import StoreError
from green_llm.kube.accepted import AcceptedDemands
from green_llm.kube.all_weights import KubeAllWeights
from green_llm.kube.client import Cluster
from green_llm.kube.config_texts import ConfigMapTexts
from green_llm.kube.lease import Lease
from green_llm.kube.ledgers import KubeLedgers
from green_llm.kube.mirror import Mirror
from green_llm.kube.routes import KubeRoutes
from green_llm.kube.secrets import KubeSecrets
from green_llm.kube.statuses import KubeStatuses
from green_llm.observability.metrics import Recorder
from green_llm.page.app import Page
from green_llm.services.planning import Planning
from green_llm.settings import Settings
from green_llm.signals.collect import Collector
from green_llm.signals.http import HttpClient
from green_llm.signals.live import LiveHub
from green_llm.signals.registry import FEEDS
from green_llm.store.audit_files import AuditFiles

logger = logging.getLogger("green_llm.operator")


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

    def stands_by(self) -> str | None:
        """Which replica plans in place of this one, and how to reach its page; None where none does."""
        others = {
            name: lease.holder
            for name, lease in sorted(self.leases.items())
            if name and not lease.held and lease.holder not in ("", self.identity)
        }
        if not others:
            return None
        pods = sorted({holder.rpartition("-")[0] for holder in others.values()})
        return (
            f"this replica stands by; {', '.join(others)} is planned by {', '.join(pods)}: "
            f"kubectl port-forward -n {self.settings.namespace} pod/{pods[0]} {self.settings.metrics_port}"
        )


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
        audit=_audit_of(settings),
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
        page=page_of(settings, recorder, statuses.all_known, history),
        texts=texts,
        accepted=AcceptedDemands(cluster, settings.namespace),
        hub=hub,
        identity=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
    )
    parts.recorder.sources = lambda: hub.health
    parts.page.stands_by = parts.stands_by
    return parts


def _audit_of(settings: Settings) -> AuditFiles | None:
    """The audit that the settings name. One that cannot be kept is said at once, and stops no plan."""
    found = audit_of(settings)
    try:
        if found is not None:
            found.require_writable()
    except StoreError as error:
        logger.warning("GREEN_LLM_AUDIT_DIRECTORY: %s", error)
    return found
