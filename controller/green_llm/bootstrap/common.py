"""What a directory run and the operator are both made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from green_llm.domain.request import ObjectKey
from green_llm.domain.services import SERVICES
from green_llm.observability.metrics import Recorder
from green_llm.observability.server import application, served
from green_llm.page.app import Page
from green_llm.page.history import History
from green_llm.page.what_if import WhatIfs
from green_llm.settings import Settings
from green_llm.signals.recordings import Recordings
from green_llm.store.audit_files import AuditFiles

AUDIT = "audit"
"""Beside the resources of a directory."""


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


def page_of(
    settings: Settings,
    recorder: Recorder,
    statuses: Callable[[], Mapping[ObjectKey, Mapping[str, Any]]],
    history: Path | None,
) -> Page:
    """The live page of a process; its history is in ``history``, or in memory."""
    return Page(
        lambda: recorder.outcomes,
        statuses,
        History(history, days=settings.history_days, largest_bytes=settings.history_largest_bytes),
        WhatIfs(settings.what_if_seconds, settings.what_if_memory_bytes),
        recorded=lambda: recorder.recorded,
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
