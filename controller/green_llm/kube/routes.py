"""Routes in the cluster: only weights are patched, guarded by what was read; originals are kept to be restored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteWrite
from green_llm.errors import StoreError
from green_llm.kube.client import APPLY_PATCH, JSON_PATCH, MANAGER, ApiError, Body, Cluster
from green_llm.kube.kinds import ROUTES
from green_llm.kube.mirror import ANNOTATION, OVERWRITTEN, Mirror, Record, overwritten, record_of
from green_llm.routing import documents
from green_llm.routing.managed import document_of, is_kept
from green_llm.services.pairing import ManagedRoute

_ANNOTATIONS_PATH = ("metadata", "annotations")
_ANNOTATIONS, _POINTER = "/metadata/annotations", "/metadata/annotations/greenllm.dev~1weights"
MOST_OVERWRITES = 8
"""How many times of overwrites are kept on a route."""
EARLIEST = datetime.min.replace(tzinfo=UTC)


class KubeRoutes:
    """Implements ``services.ports.Routes``. Nobody writes who may not (``may_write``)."""

    def __init__(self, cluster: Cluster, mirror: Mirror, may_write: Callable[[str], bool]) -> None:
        self._cluster, self._mirror, self._may_write = cluster, mirror, may_write
        self._locks: dict[RouteKey, asyncio.Lock] = {}

    async def read(self, keys: Collection[RouteKey]) -> Mapping[RouteKey, Route]:
        """The routes that exist, as the watch last showed them."""
        found = {key: self._mirror.route(key) for key in keys}
        return {key: route for key, route in found.items() if route is not None}

    async def write(self, change: RouteWrite) -> Route:
        """Patch the weights, guarded by uid, names and the weights that were read; nothing else is touched.

        Raises:
            StoreError: we are not the writer, the route has changed since it was read, or the API server refused.
        """
        key = change.route.key
        async with self._locks.setdefault(key, asyncio.Lock()):
            body = self._body(key)
            if body is None or self._mirror.route(key) != change.route:
                self._mirror.changed.set()
                raise StoreError(f"{key}: has changed since it was read; it is planned anew")
            operations = build_patch(body, change, datetime.now(UTC))
            return await self._send(key, operations, change.policy) if operations else change.route

    async def restore(self, key: RouteKey, rules: Collection[str], policy: str) -> None:
        """Give rules their original weights back, where the weights are still ours.

        Raises:
            StoreError: as ``write``. A route that is gone needs nothing.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            body = self._body(key)
            operations = [] if body is None else restoring_patch(body, rules)
            if operations:
                await self._send(key, operations, policy)

    async def keep(self, managed: ManagedRoute, owner: Body, policy: str) -> None:
        """Make a managed route, or bring it back to its template; the weights in force stay.

        Raises:
            StoreError: we are not the writer, or the API server refused it.
        """
        key = managed.key
        async with self._locks.setdefault(key, asyncio.Lock()):
            live, body = self._mirror.route(key), self._body(key)
            wanted = document_of(managed, owner, live)
            if body is not None and is_kept(wanted, body):
                return
            resource = ROUTES[key.group, key.kind]
            self._check(key, policy)
            if body is None:
                query = {"fieldManager": MANAGER}
                after = await self._cluster.call("POST", resource.path(key.namespace), wanted, query=query)
            else:
                after = await self._cluster.patch(resource.path(key.namespace, key.name), wanted, APPLY_PATCH)
            self._mirror.put(after)

    async def drop(self, key: RouteKey, policy: str) -> None:
        """Delete a managed route that its demand no longer names.

        Raises:
            StoreError: as ``keep``. A route that is gone needs nothing.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            body = self._body(key)
            if body is None:
                return
            self._check(key, policy)
            path = ROUTES[key.group, key.kind].path(key.namespace, key.name)
            try:
                await self._cluster.call("DELETE", path, {"preconditions": {"uid": body["metadata"]["uid"]}})
            except ApiError as error:
                if error.status != 404:
                    raise
            self._mirror.drop(key.kind, (key.namespace, key.name))

    def _check(self, key: RouteKey, policy: str) -> None:
        if not self._may_write(policy):
            raise StoreError(f"{key}: not written: another replica is the writer")

    def _body(self, key: RouteKey) -> Body | None:
        return self._mirror.body(ROUTES[key.group, key.kind], key.namespace, key.name)

    async def _send(self, key: RouteKey, operations: list[Body], policy: str) -> Route:
        self._check(key, policy)
        resource = ROUTES[key.group, key.kind]
        try:
            with self._mirror.writing(resource, key.namespace, key.name) as answered:
                answered(await self._cluster.patch(resource.path(key.namespace, key.name), operations, JSON_PATCH))
        except ApiError as error:
            if error.status in (404, 409, 422):
                self._mirror.changed.set()
                raise StoreError(
                    f"{key}: has changed since it was read ({error.status}); it is planned anew"
                ) from error
            raise
        found = self._mirror.route(key)
        if found is None:
            raise StoreError(f"{key}: is gone; it is planned anew")
        if found.contended:
            self._mirror.changed.set()  # this was the last write for some time: the next plan knows
        return found


def build_patch(body: Mapping[str, Any], change: RouteWrite, now: datetime) -> list[Body]:
    """JSON Patch operations for new weights; pure. None where all is so already."""
    edits = documents.edits(body, change)
    if not edits:
        return []
    adapter = documents.ADAPTERS[change.route.key.group, change.route.key.kind]
    guards: list[Body] = [_test("/metadata/uid", body["metadata"]["uid"])]
    guards += [
        _test(_pointer(rule.name_path), rule.name)
        for rule in adapter.rules(body)
        if rule.name in change.weights and rule.name_path is not None
    ]
    operations: list[Body] = []
    for edit in edits:
        before = _at(body, edit.path)
        if isinstance(edit.weight, str):
            operations += [_test(_pointer(edit.path), before), _add(_pointer(edit.path), edit.weight)]
            continue
        operations.append(_test(_pointer((*edit.path, *adapter.identity)), _at(before, adapter.identity)))
        weight = _pointer((*edit.path, "weight"))
        operations += [_test(weight, before["weight"])] if "weight" in before else []
        operations.append(_add(weight, edit.weight))
    times = overwritten(body) if not _is_overwritten(body, change) else [*overwritten(body), _moment(now)]
    return guards + operations + _annotate(body, _recorded(body, change), times[-MOST_OVERWRITES:])


def restoring_patch(body: Mapping[str, Any], rules: Collection[str]) -> list[Body]:
    """JSON Patch operations that give rules their originals back and forget them; pure."""
    record = record_of(body)
    mine = {name: entry for name, entry in record.items() if name in rules}
    if not mine:
        return []
    adapter = documents.adapter_of(body)
    if adapter is None:
        return []
    route = documents.read_route(body, adapter)
    weights: dict[str, dict[BackendKey, int]] = {}
    for rule in route.rules:
        entry = mine.get(rule.name)
        now = {str(key): weight for key, weight in rule.weights.items()}
        if entry is not None and now == entry["written"]:
            weights[rule.name] = {key: entry["original"].get(str(key), 0) for key in rule.weights}
    left = {name: entry for name, entry in record.items() if name not in rules}
    operations = [] if not weights else build_patch(body, RouteWrite(route, weights), EARLIEST)
    operations = [entry for entry in operations if not entry["path"].startswith(_ANNOTATIONS)]
    last: list[Body] = [_add(_POINTER, _dump(left))] if left else [{"op": "remove", "path": _POINTER}]
    if not left and OVERWRITTEN in body["metadata"]["annotations"]:
        last.append({"op": "remove", "path": _pointer((*_ANNOTATIONS_PATH, OVERWRITTEN))})
    return [*(operations or [_test("/metadata/uid", body["metadata"]["uid"])]), *last]


def _is_overwritten(body: Mapping[str, Any], change: RouteWrite) -> bool:
    """Whether somebody else has changed weights of these rules since we wrote them."""
    record = record_of(body)
    known = {name: record[name]["written"] for name in change.weights if name in record}
    now = {name: {str(key): weight for key, weight in change.route.rule(name).weights.items()} for name in known}
    return any(now[name] != written for name, written in known.items())


def _recorded(body: Mapping[str, Any], change: RouteWrite) -> Record:
    """The record after a write: originals of rules and back-ends that were not ours before, and what we write."""
    record = record_of(body)
    expected = change.expected
    for name in change.weights:
        before = {str(key): weight for key, weight in change.route.rule(name).weights.items()}
        known = record.get(name, {"original": {}, "written": {}})
        # A back-end that the user has added since has its weight as a new original.
        original = {key: known["original"].get(key, weight) for key, weight in before.items()}
        written = {str(key): weight for key, weight in expected.rule(name).weights.items()}
        record[name] = {"original": original, "written": written}
    return record


def _annotate(body: Mapping[str, Any], record: Record, times: list[str]) -> list[Body]:
    notes = {ANNOTATION: _dump(record)} | ({OVERWRITTEN: ",".join(times)} if times else {})
    if body["metadata"].get("annotations") is None:
        return [_add(_ANNOTATIONS, notes)]
    return [_add(_pointer((*_ANNOTATIONS_PATH, name)), value) for name, value in notes.items()]


def _pointer(path: tuple[str | int, ...]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _at(body: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        body = body[step]
    return body


def _add(path: str, value: Any) -> Body:
    return {"op": "add", "path": path, "value": value}


def _moment(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _dump(record: Record) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def _test(path: str, value: Any) -> Body:
    return {"op": "test", "path": path, "value": value}
