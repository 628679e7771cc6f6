"""Everything a back-test needs of a directory, at rest: it can be sent to another process or machine."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from green_llm.domain.request import CsvSettings, LiveSettings, Mode, ObjectKey, Resources
from green_llm.domain.routes import Route, RouteKey, RouteWrite
from green_llm.domain.series import Measure
from green_llm.errors import GreenLLMError, InvalidInputError, StoreError
from green_llm.services.admission import PolicyRequest, admit, wanted_routes
from green_llm.signals.collect import place_of
from green_llm.signals.providers.csv import file_of
from green_llm.signals.recordings import Question, Recordings
from green_llm.signals.span import common_span
from green_llm.signals.table import Table
from green_llm.store.directory import STATE, STATUS_SUFFIX, DirectoryStore

RECORDINGS = "recordings"


class FrozenRecordings:
    """Recordings of live sources, in memory."""

    def __init__(self, tables: Mapping[tuple[str, str, str, str], Table]) -> None:
        self._tables = tables

    def table(self, question: Question) -> Table | None:
        """Everything recorded of a question; None where there is nothing."""
        return self._tables.get(question.key)


class MemoryRoutes:
    """Routes that only a replay sees."""

    def __init__(self, routes: Mapping[RouteKey, Route]) -> None:
        self.routes = dict(routes)

    async def read(self, keys: Collection[RouteKey]) -> Mapping[RouteKey, Route]:
        """The routes that exist."""
        return {key: self.routes[key] for key in keys if key in self.routes}

    async def write(self, change: RouteWrite) -> Route:
        """Take over new weights."""
        self.routes[change.route.key] = change.expected
        return change.expected


@dataclass(frozen=True)
class World:
    """A directory at rest."""

    name: str
    resources: Resources
    routes: Mapping[RouteKey, Route]
    texts: Mapping[str, str] = field(repr=False)
    """CSV recordings by file name."""
    tables: Mapping[tuple[str, str, str, str], Table] = field(repr=False)
    """Recordings of live sources by question."""
    annotations: Mapping[ObjectKey, Mapping[str, str]] = field(default_factory=dict)
    """Of every resource: where its values are from."""
    digest: str = ""
    """Of every file that it was read from."""
    demand_factor: float = 1.0
    """What all arrivals are multiplied by."""

    def read_text(self, name: str) -> tuple[str, str]:
        """(version, text) of a recording.

        Raises:
            StoreError: it is not there.
        """
        if name not in self.texts:
            raise StoreError(f"{name}: does not exist below {self.name}")
        return name, self.texts[name]

    def requests(self) -> Mapping[str, PolicyRequest]:
        """By policy, all as if ``Active``: what shadow mode would have written is what is to be seen."""
        active = replace(
            self.resources,
            policies={n: replace(p, mode=Mode.ACTIVE) for n, p in self.resources.policies.items()},
            demands={n: replace(d, mode=Mode.ACTIVE) for n, d in self.resources.demands.items()},
        )
        return admit(active, self.routes).requests

    def request(self, policy: str | None) -> PolicyRequest:
        """The policy to test; the only one where none is named.

        Raises:
            InvalidInputError: there is no such policy, or several and none is named, or nothing takes part in it.
        """
        found = self.requests()
        known = ", ".join(sorted(found)) or "none"
        if policy is None and len(found) != 1:
            raise InvalidInputError(f"{self.name}: name one policy with --policy (known: {known})")
        name = next(iter(found)) if policy is None else policy
        if name not in found:
            raise InvalidInputError(f'{self.name}: there is no GreenPolicy "{name}" (known: {known})')
        if not found[name].pairs or not found[name].sites:
            raise InvalidInputError(f"{self.name}: no demand or no site takes part in {name}; see green-llm validate")
        return found[name]

    def span(self) -> tuple[datetime, datetime] | None:
        """The time that the recordings of all sites cover."""
        sites, sources = list(self.resources.sites.values()), self.resources.sources
        return common_span(sites, sources, self.read_text, FrozenRecordings(self.tables))


def read_world(root: Path, recordings: Recordings | None = None) -> World:
    """Read a directory of resources, routes and recordings.

    Raises:
        InvalidInputError: it is none, or a file in it is no YAML.
    """
    try:
        store = DirectoryStore(root)
        loaded = store.load()
        if loaded.unreadable:
            raise InvalidInputError(loaded.unreadable[0])
        resources = loaded.resources
        routes = asyncio.run(store.read(wanted_routes(resources)))
        texts = {}
        for name in sorted(set(_files(resources))):
            try:
                texts[name] = store.read_text(name)[1]
            except StoreError:
                continue  # the chain says so when it asks
        tables = dict(_tables(resources, recordings or Recordings(root / RECORDINGS)))
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    annotations = {
        key: {
            str(name): str(text) for name, text in (origin.document.value["metadata"].get("annotations") or {}).items()
        }
        for key, origin in loaded.origins.items()
    }
    return World(str(root), resources, routes, texts, tables, annotations, _digest(root))


def _digest(root: Path) -> str:
    """Of every file below a directory that a run has not written itself."""
    found = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root)
        if name.parts[0] != STATE and not name.name.endswith(STATUS_SUFFIX):
            found.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


def _files(resources: Resources) -> Iterator[str]:
    """Every CSV file that a site's chain or a demand names."""
    for site in resources.sites.values():
        for chain in site.signals.values():
            for reference in chain:
                source = resources.sources.get(reference.source)
                if source is not None and isinstance(source.settings, CsvSettings):
                    yield file_of(source.settings, reference.params)
    for demand in resources.demands.values():
        for entry in (entry for area in demand.areas for entry in area.entries if entry.source is not None):
            wanted = entry.source
            source = None if wanted is None else resources.sources.get(wanted.source)
            if wanted is not None and source is not None and isinstance(source.settings, CsvSettings):
                yield file_of(source.settings, wanted.params)


def _tables(resources: Resources, recordings: Recordings) -> Iterator[tuple[tuple[str, str, str, str], Table]]:
    """What was recorded of every live question."""
    for question in _questions(resources):
        try:
            table = recordings.table(question)
        except GreenLLMError:
            continue
        if table is not None:
            yield question.key, table


def _questions(resources: Resources) -> Iterator[Question]:
    for site in resources.sites.values():
        for kind, chain in site.signals.items():
            for reference in chain:
                source = resources.sources.get(reference.source)
                if source is not None and isinstance(source.settings, LiveSettings):
                    yield Question(source.name, kind, reference.params, place_of(site, kind))
    for demand in resources.demands.values():
        for entry in (entry for area in demand.areas for entry in area.entries if entry.source is not None):
            wanted = entry.source
            source = None if wanted is None else resources.sources.get(wanted.source)
            if wanted is not None and source is not None and isinstance(source.settings, LiveSettings):
                yield Question(source.name, Measure.DEMAND, {**wanted.params, "namespace": demand.namespace})
