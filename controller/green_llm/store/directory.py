"""A directory of YAML files as the home of resources and routes: the embedded run, and GitOps.

Status goes beside each file (``NAME.status.yaml``), ledgers and the weights that were found at adoption into ``state/``; of a
route only the weights are changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from green_llm.api.parse import GROUP, key_of, parse
from green_llm.domain import ledger_file as ledger
from green_llm.domain.amounts import Ledger
from green_llm.domain.request import Demand, Kind, ObjectKey, Policy, Problem, Resources, Source
from green_llm.domain.routes import Route, RouteKey, RouteWrite
from green_llm.domain.topology import Site
from green_llm.errors import StoreError
from green_llm.routing import documents as routes
from green_llm.store import files
from green_llm.store.originals import Originals
from green_llm.store.yaml_files import Document, dump_documents, load_documents, repeated_keys, with_weights

STATUS_SUFFIX = ".status.yaml"
STATE = "state"


@dataclass(frozen=True)
class Origin:
    """Where an object is written."""

    path: Path
    document: Document

    def at(self, field_path: str) -> str:
        """``FILE:LINE`` of a field."""
        return f"{self.path}:{self.document.line_of(field_path)}"


@dataclass
class Loaded:
    """Everything in the directory at one moment."""

    policies: dict[str, Policy] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    demands: dict[str, Demand] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    namespace_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    origins: dict[ObjectKey, Origin] = field(default_factory=dict)
    routes: dict[RouteKey, Origin] = field(default_factory=dict)
    config_maps: dict[str, Mapping[str, str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    """Files that are no YAML, documents of no known kind: file, line, fault."""

    @property
    def resources(self) -> Resources:
        """As the domain's resources."""
        return Resources(
            policies=self.policies,
            sites=self.sites,
            demands=self.demands,
            sources=self.sources,
            namespace_labels=self.namespace_labels,
            problems=tuple(self.problems),
        )


class DirectoryStore:
    """Implements the ports ``Routes`` and ``LedgerStore`` of ``services.ports`` for one directory."""

    def __init__(self, root: Path) -> None:
        """``root`` must be a directory.

        Raises:
            StoreError: it is none.
        """
        if not root.is_dir():
            raise StoreError(f"{root}: is no directory; name one that holds the resources")
        self._root = root.resolve()
        self._shown = root
        self._loaded = Loaded()
        self._originals = Originals(self._root / STATE / "originals.json")
        self._stamps: dict[Path, files.Stamp] = {}
        self._csv: dict[Path, files.Stamp | None] = {}
        self._statuses: dict[Path, list[Mapping[str, Any]]] = {}

    def require_writable(self) -> None:
        """See that ledgers, weights and statuses can be kept, before anything is planned.

        Raises:
            StoreError: a directory cannot be written to.
        """
        for directory in (self._root / STATE, *sorted({path.parent for path in self._paths()})):
            files.require_writable(self._shown / directory.relative_to(self._root))

    def load(self) -> Loaded:
        """Read every YAML file; what is wrong is in ``problems`` and ``unreadable`` and does not stop the rest."""
        paths = self._paths()
        self._stamps = files.stamps(paths)
        loaded = Loaded()
        for path in paths:
            shown = self._shown / path.relative_to(self._root)
            try:
                found = load_documents(files.read(path), shown)
            except StoreError as error:
                loaded.unreadable.append(str(error))
                continue
            for document in found:
                _place(loaded, document, shown)
        self._loaded = loaded
        return loaded

    def changed(self) -> bool:
        """Whether somebody else has edited a file since ``load``."""
        read = {path: files.stamp(path) for path in self._csv}
        return files.stamps(self._paths()) != self._stamps or read != self._csv

    async def read(self, keys: Collection[RouteKey]) -> Mapping[RouteKey, Route]:
        """The routes that exist, read now."""
        found: dict[RouteKey, Route] = {}
        for key in keys:
            document = self._route_document(key)
            if document is not None:
                found[key] = self._originals.on(_route(document, key))
        return found

    async def write(self, change: RouteWrite) -> Route:
        """Change weights in the route's file and nothing else, byte for byte.

        Raises:
            StoreError: the route has changed since it was read, or its file cannot be written.
        """
        key = change.route.key
        path = self._route_path(key)
        text = files.read(path)
        document = _document(load_documents(text, path), key)
        if document is None or _route(document, key) != change.route:
            raise StoreError(f"{key}: has changed in {path} since it was read; it is planned anew")
        edits = routes.edits(document.value, change)
        if not edits:
            return change.route
        self._originals.note(change)
        text = with_weights(text, document, edits, path)
        found = load_documents(text, path)
        after = _document(found, key)
        if after is None or _route(after, key) != change.expected:
            raise StoreError(
                f"{path}: the weights of {key} cannot be written alone (a YAML alias?); write them as plain numbers"
            )
        files.write_atomically(path, text)
        self._note(path)
        for document in found:
            self._remember(document, path)
        return change.expected

    def write_status(self, statuses: Mapping[ObjectKey, Mapping[str, Any]]) -> None:
        """Write each object's status beside its file, where it differs from what is there."""
        by_path: dict[Path, list[Mapping[str, Any]]] = {}
        for key, status in sorted(statuses.items()):
            origin = self._loaded.origins.get(key)
            if origin is not None:
                metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
                document = {"kind": key.kind.value, "metadata": metadata, "status": status}
                by_path.setdefault(_status_path(self._absolute(origin.path)), []).append(document)
        for path, found in by_path.items():
            if self._statuses.get(path) != found or not path.exists():
                files.write_atomically(path, dump_documents(found))
                self._statuses[path] = found

    def read_status(self) -> dict[ObjectKey, dict[str, Any]]:
        """The statuses written before, by object; a file that cannot be read counts as not there."""
        found: dict[ObjectKey, dict[str, Any]] = {}
        for path in {_status_path(self._absolute(origin.path)) for origin in self._loaded.origins.values()}:
            if path not in self._statuses and path.exists():
                with contextlib.suppress(StoreError):
                    self._statuses[path] = [document.value for document in load_documents(files.read(path), path)]
            for document in self._statuses.get(path, []):
                metadata = document["metadata"]
                key = ObjectKey(Kind(document["kind"]), str(metadata.get("namespace", "")), str(metadata["name"]))
                found[key] = document["status"]
        return found

    def load_ledger(self, policy: str) -> Ledger | None:
        """The ledger of a policy; None where there is none yet. StoreError where it is damaged."""
        path = self._ledger_path(policy)
        return ledger.load(files.read(path), str(path)) if path.exists() else None

    def save_ledger(self, policy: str, content: Ledger) -> None:
        """Keep the ledger of a policy, all or nothing."""
        files.write_atomically(self._ledger_path(policy), ledger.dump(content))

    def read_text(self, name: str) -> tuple[str, str]:
        """(version, text) of a file below the directory, or of ``configmap:NAME/KEY``.

        Raises:
            StoreError: it is not there, or outside the directory.
        """
        if name.startswith("configmap:"):
            config_map, _, key = name.removeprefix("configmap:").partition("/")
            text = self._loaded.config_maps.get(config_map, {}).get(key)
            if text is None:
                raise StoreError(f'there is no ConfigMap "{config_map}" with the key "{key}"; create it')
            return str(hash(text)), text
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root):
            raise StoreError(f"{name}: is outside {self._shown}; keep signals below it")
        stamp = self._csv[path] = files.stamp(path)
        if stamp is None:
            raise StoreError(f"{self._shown / name}: does not exist; create it or correct the source's file")
        return str(stamp), files.read(path)

    def _paths(self) -> list[Path]:
        """The YAML files that hold resources, in order."""
        found = []
        for path in sorted(self._root.rglob("*.y*ml")):
            parts = path.relative_to(self._root).parts
            hidden = any(part.startswith(".") for part in parts)
            if (
                path.suffix in (".yaml", ".yml")
                and not hidden
                and parts[0] != STATE
                and not path.name.endswith(STATUS_SUFFIX)
            ):
                found.append(path)
        return found

    def _note(self, path: Path) -> None:
        """An edit of ours is no edit."""
        self._stamps |= files.stamps([path])

    def _absolute(self, shown: Path) -> Path:
        return self._root / shown.relative_to(self._shown)

    def _ledger_path(self, policy: str) -> Path:
        return self._root / STATE / f"ledger-{policy}.json"

    def _route_path(self, key: RouteKey) -> Path:
        origin = self._loaded.routes.get(key)
        if origin is None:
            raise StoreError(f"{key}: is in no file of {self._shown}")
        path = self._absolute(origin.path)
        if not path.resolve().is_relative_to(self._root):
            raise StoreError(f"{origin.path}: leads outside {self._shown}; it is not written")
        return path

    def _route_document(self, key: RouteKey) -> Document | None:
        origin = self._loaded.routes.get(key)
        if origin is None:
            return None
        path = self._absolute(origin.path)
        if files.stamp(path) == self._stamps.get(path):
            return origin.document
        try:
            return _document(load_documents(files.read(path), origin.path), key)
        except StoreError:
            return None

    def _remember(self, document: Document, path: Path) -> None:
        """Take over a document of a file that was just written."""
        if isinstance(document.value, Mapping) and routes.adapter_of(document.value) is not None:
            key = routes.key_of(document.value)
            if key in self._loaded.routes and self._absolute(self._loaded.routes[key].path) == path:
                self._loaded.routes[key] = Origin(self._loaded.routes[key].path, document)


def _status_path(path: Path) -> Path:
    return path.with_name(path.stem + STATUS_SUFFIX)


def _route(document: Document, key: RouteKey) -> Route:
    return routes.read_route(document.value, routes.ADAPTERS[key.group, key.kind])


def _document(found: list[Document], key: RouteKey) -> Document | None:
    """The document of a route."""
    return next((d for d in found if isinstance(d.value, Mapping) and routes.key_of(d.value) == key), None)


def _place(loaded: Loaded, entry: Document, path: Path) -> None:
    """Sort one document into what was loaded."""
    document, line = entry.value, entry.node.start_mark.line + 1
    if not isinstance(document, Mapping):
        loaded.unreadable.append(f"{path}:{line}: is no mapping; write a manifest with apiVersion and kind")
        return
    for number, name in repeated_keys(entry):
        loaded.unreadable.append(f'{path}:{number}: the key "{name}" is there twice; keep one')
    kind, version = str(document.get("kind", "")), str(document.get("apiVersion", ""))
    adapter = routes.adapter_of(document)
    metadata = document.get("metadata") or {}
    if version.partition("/")[0] == GROUP:
        _place_resource(loaded, entry, path, kind)
    elif adapter is not None:
        key = routes.key_of(document)
        if key in loaded.routes:
            loaded.unreadable.append(f"{path}:{line}: {key} is also in {loaded.routes[key].path}; keep one")
        else:
            loaded.routes[key] = Origin(path, entry)
    elif kind == "Namespace":
        loaded.namespace_labels[str(metadata.get("name"))] = dict(metadata.get("labels") or {})
    elif kind == "ConfigMap":
        loaded.config_maps[str(metadata.get("name"))] = dict(document.get("data") or {})
    elif not kind or not version:
        loaded.unreadable.append(f"{path}:{line}: a document has no apiVersion and kind; add them")


def _place_resource(loaded: Loaded, entry: Document, path: Path, kind: str) -> None:
    document = entry.value
    if kind not in list(Kind):
        known = ", ".join(Kind)
        loaded.unreadable.append(
            f'{path}:{entry.line_of("kind")}: kind: "{kind}" is unknown in {GROUP} (known: {known})'
        )
        return
    key = key_of(document)
    if key in loaded.origins:
        message = f"is also in {loaded.origins[key].at('metadata.name')}; keep one"
        loaded.problems.append(Problem(key, "metadata.name", message, "Duplicate"))
        return
    loaded.origins[key] = Origin(path, entry)
    match parse(document):
        case Policy() as policy:
            loaded.policies[policy.name] = policy
        case Site() as site:
            loaded.sites[site.name] = site
        case Demand() as demand:
            loaded.demands[demand.key] = demand
        case Source() as source:
            loaded.sources[source.name] = source
        case problems:
            loaded.problems += problems
