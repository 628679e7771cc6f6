"""Status, written only when something a reader needs has changed; events on transitions of Ready."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from green_llm.api.parse import key_of
from green_llm.domain.request import ObjectKey
from green_llm.errors import StoreError
from green_llm.kube.client import MERGE_PATCH, ApiError, Body, Cluster
from green_llm.kube.kinds import EVENTS, OWN
from green_llm.kube.mirror import Mirror, kind_of

ANNOUNCED = {"Ready": (), "WithinSLO": ("Settling",)}
"""Conditions whose changes are events, save for reasons of passing interest."""
QUIET = ("lastTransitionTime", "intervalStartTime", "issuedTime", "lastSuccessTime", "lastError")
"""Times alone are no reason to write, nor is an error of the same reason in other words."""


class KubeStatuses:
    """Compares with what the cluster shows, and patches the difference."""

    def __init__(self, cluster: Cluster, mirror: Mirror, namespace: str) -> None:
        self._cluster, self._mirror, self._namespace = cluster, mirror, namespace

    def known(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """The status the cluster shows; None where there is none."""
        body = self._mirror.body(kind_of(key), key.namespace, key.name)
        return None if body is None else body.get("status")

    def all_known(self) -> dict[ObjectKey, Mapping[str, Any]]:
        """Every status the cluster shows."""
        bodies = (body for resource in OWN.values() for body in self._mirror.bodies(resource))
        return {key_of(body): body["status"] for body in bodies if body.get("status")}

    async def write(self, key: ObjectKey, status: Mapping[str, Any], now: datetime) -> bool:
        """Write a status where it differs; whether it did. An object that is gone needs none.

        Raises:
            StoreError: the API server refused.
        """
        body = self._mirror.body(kind_of(key), key.namespace, key.name)
        if body is None:
            return False
        wanted = with_generation(status, int(body["metadata"].get("generation") or 0))
        before = body.get("status") or {}
        if _essence(before) == _essence(wanted):
            return False
        # A merge patch keeps what it does not name: what is gone must be said.
        patch = {"status": {**{name: None for name in before if name not in wanted}, **wanted}}
        try:
            after = await self._cluster.patch(kind_of(key).path(key.namespace, key.name, "status"), patch, MERGE_PATCH)
        except ApiError as error:
            if error.status == 404:
                return False
            raise StoreError(f"status of {key}: {error}") from error
        self._mirror.put(after, ours=True)
        await self._announce(body, before, wanted, now)
        return True

    async def _announce(self, body: Body, before: Mapping[str, Any], after: Mapping[str, Any], now: datetime) -> None:
        """An event where Ready or WithinSLO has changed; of the latter also where it says something else."""
        for kind, quiet in ANNOUNCED.items():
            old, new = _condition(before, kind), _condition(after, kind)
            if new is None or new["reason"] in quiet:
                continue
            told = ("status", "reason", *(("message",) if new["reason"] == "SiteCapped" else ()))
            if old is None or any(old[name] != new[name] for name in told):
                await self._event(body, new, now)

    async def _event(self, body: Body, new: Mapping[str, Any], now: datetime) -> None:
        metadata = body["metadata"]
        namespace = metadata.get("namespace") or "default"
        moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name'][:40]}-", "namespace": namespace},
            "type": "Normal" if new["status"] == "True" else "Warning",
            "reason": new["reason"],
            "message": new["message"][:1000],
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
            "source": {"component": "green-llm"},
            "reportingComponent": "greenllm.dev/operator",
            "involvedObject": {
                "apiVersion": body["apiVersion"],
                "kind": body["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace"),
                "uid": metadata.get("uid"),
            },
        }
        try:
            await self._cluster.call("POST", EVENTS.path(namespace), event)
        except ApiError:
            return  # An event is a courtesy; the status says the same.


def with_generation(status: Mapping[str, Any], generation: int) -> dict[str, Any]:
    """The status, saying which generation of the spec it is about."""
    found = copy.deepcopy(dict(status)) | {"observedGeneration": generation}
    for condition in found.get("conditions", []):
        condition["observedGeneration"] = generation
    return found


def _essence(value: Any) -> Any:
    """The status without its quiet times, and without the age of a plan that says the same."""
    if isinstance(value, Mapping):
        return {name: _essence(entry) for name, entry in value.items() if name not in QUIET}
    if isinstance(value, list):
        return [_essence(entry) for entry in value]
    return value


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    return next((entry for entry in status.get("conditions") or [] if entry["type"] == kind), None)
