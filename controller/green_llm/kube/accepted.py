"""Demands as they were last accepted, in a ConfigMap per policy: one that is spoilt later still has its traffic."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

from green_llm.api.parse import parse
from green_llm.domain.request import Demand
from green_llm.kube.client import ApiError, Body, Cluster
from green_llm.kube.kinds import CONFIG_MAPS

KEY = "demands.json.gz"
MOST_BYTES = 700_000
"""Compressed; a ConfigMap holds 1 MiB, and base64 takes a third more."""
logger = logging.getLogger("green_llm.kube")


class AcceptedDemands:
    """Kept in the operator's namespace, where no tenant can claim to have been accepted."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._known: dict[str, Body | None] = {}
        self._bodies: dict[str, dict[str, Body]] = {}
        self._parsed: dict[str, Demand] = {}

    async def refresh(self, policies: Collection[str]) -> Mapping[str, Demand]:
        """The last accepted demands of these policies, ``namespace/name`` → demand.

        Raises:
            ApiError: the API server cannot be asked.
        """
        for policy in policies:
            if policy not in self._known:
                await self._load(policy)
        return self._parsed

    async def keep(self, policy: str, accepted: Mapping[str, Body], existing: Collection[str]) -> None:
        """Take over what is accepted now; forget what exists no more. Written only where something has changed.

        Raises:
            ApiError: the API server refused; it is read anew.
        """
        before = self._bodies.get(policy, {})
        kept = {key: body for key, body in before.items() if key in existing}
        wanted = kept | {key: _essential(body) for key, body in accepted.items()}
        if wanted == before:
            return
        packed = gzip.compress(json.dumps(wanted, sort_keys=True).encode(), mtime=0)
        self._bodies[policy] = wanted
        self._reparse()
        if len(packed) > MOST_BYTES:
            logger.warning(
                "policy %s: its accepted demands take %d bytes: not kept over a restart", policy, len(packed)
            )
            return
        await self._save(policy, base64.b64encode(packed).decode())

    async def _load(self, policy: str) -> None:
        body = await self._cluster.get(CONFIG_MAPS.path(self._namespace, name_of(policy)))
        self._known[policy] = body
        text = ((body or {}).get("binaryData") or {}).get(KEY)
        self._bodies[policy] = json.loads(gzip.decompress(base64.b64decode(text))) if text else {}
        self._reparse()

    async def _save(self, policy: str, packed: str) -> None:
        metadata: dict[str, Any] = {
            "name": name_of(policy),
            "namespace": self._namespace,
            "labels": {"app.kubernetes.io/managed-by": "green-llm"},
        }
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": {KEY: packed}}
        known = self._known.get(policy)
        try:
            if known is None:
                self._known[policy] = await self._cluster.call("POST", CONFIG_MAPS.path(self._namespace), body)
                return
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
            path = CONFIG_MAPS.path(self._namespace, name_of(policy))
            self._known[policy] = await self._cluster.call("PUT", path, body)
        except ApiError:
            del self._known[policy]
            raise

    def _reparse(self) -> None:
        """The domain's demands; a body that an older version kept and this one cannot read is left out."""
        found = [parse(body, strict=False) for bodies in self._bodies.values() for body in bodies.values()]
        self._parsed = {demand.key: demand for demand in found if isinstance(demand, Demand)}


def name_of(policy: str) -> str:
    """The ConfigMap of a policy's accepted demands."""
    return f"green-llm-accepted-{policy}"


def _essential(body: Body) -> Body:
    """What parsing needs; the generation would be one more reason to write."""
    metadata = {name: body["metadata"].get(name) for name in ("name", "namespace", "creationTimestamp")}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": body["spec"]}
