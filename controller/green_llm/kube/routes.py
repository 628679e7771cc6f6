"""Routes in the cluster: only weights are patched, guarded by what was read; originals are kept to be restored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteWrite
from green_llm.errors import StoreError
from green_llm.kube.client import JSON_PATCH, ApiError, Body, Cluster
from green_llm.kube.kinds import ROUTES
from green_llm.kube.mirror import ANNOTATION, Mirror, Record, record_of, with_written
from green_llm.routing import documents

_POINTER = "/metadata/annotations/greenllm.dev~1weights"


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
            operations = build_patch(body, change)
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

    def _body(self, key: RouteKey) -> Body | None:
        return self._mirror.body(ROUTES[key.group, key.kind], key.namespace, key.name)

    async def _send(self, key: RouteKey, operations: list[Body], policy: str) -> Route:
        if not self._may_write(policy):
            raise StoreError(f"{key}: not written: another replica is the writer")
        path = ROUTES[key.group, key.kind].path(key.namespace, key.name)
        try:
            after = await self._cluster.patch(path, operations, JSON_PATCH)
        except ApiError as error:
            if error.status in (404, 409, 422):
                self._mirror.changed.set()
                raise StoreError(
                    f"{key}: has changed since it was read ({error.status}); it is planned anew"
                ) from error
            raise
        self._mirror.put(after, ours=True)
        return with_written(documents.read_route(after, documents.ADAPTERS[key.group, key.kind]), after)


def build_patch(body: Mapping[str, Any], change: RouteWrite) -> list[Body]:
    """JSON Patch operations for new weights; pure. None where all is so already."""
    edits = documents.edits(body, change)
    if not edits:
        return []
    operations: list[Body] = [_test("/metadata/uid", body["metadata"]["uid"])]
    for edit in edits:
        pointer = "/" + "/".join(str(step) for step in edit.path)
        reference: Any = body
        for step in edit.path:
            reference = reference[step]
        operations.append(_test(f"{pointer}/name", reference["name"]))
        if "weight" in reference:
            operations.append(_test(f"{pointer}/weight", reference["weight"]))
        operations.append({"op": "add", "path": f"{pointer}/weight", "value": edit.weight})
    for name in change.weights:
        number = next(n for n, rule in enumerate(body["spec"]["rules"]) if rule.get("name") == name)
        operations.insert(1, _test(f"/spec/rules/{number}/name", name))
    return operations + _annotate(body, _recorded(body, change))


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
    operations = [] if not weights else build_patch(body, RouteWrite(route, weights))
    operations = [entry for entry in operations if entry["path"] != _POINTER]
    last = {"op": "replace", "path": _POINTER, "value": _dump(left)} if left else {"op": "remove", "path": _POINTER}
    return [*(operations or [_test("/metadata/uid", body["metadata"]["uid"])]), last]


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


def _annotate(body: Mapping[str, Any], record: Record) -> list[Body]:
    if body["metadata"].get("annotations") is None:
        return [{"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: _dump(record)}}]
    return [{"op": "add", "path": _POINTER, "value": _dump(record)}]


def _dump(record: Record) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def _test(path: str, value: Any) -> Body:
    return {"op": "test", "path": path, "value": value}
