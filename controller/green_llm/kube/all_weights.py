"""Weights that a demand's status has no room for, in a ConfigMap per policy of the operator's namespace."""

from __future__ import annotations

from collections.abc import Mapping

from green_llm.errors import StoreError
from green_llm.kube.client import ApiError, Body, Cluster
from green_llm.kube.kinds import CONFIG_MAPS

MOST_BYTES = 900_000
"""An object may have 1 MiB in all."""


class KubeAllWeights:
    """Writes a table per demand, where it differs from what is there."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._known: dict[str, Mapping[str, str] | None] = {}
        """What is there, by policy; None where nothing is."""

    async def write(self, policy: str, tables: Mapping[str, str]) -> None:
        """Replace the tables (CSV by key) of a policy; without any, nothing is made.

        Raises:
            StoreError: they are too large for one object, or the API server refused.
        """
        size = sum(len(key) + len(text.encode()) for key, text in tables.items())
        if size > MOST_BYTES:
            raise StoreError(
                f"ConfigMap {self._namespace}/{name_of(policy)}: {size} bytes of weights do not fit into one object; read them "
                "from /metrics, or split the policy"
            )
        if policy not in self._known:
            body = await self._cluster.get(CONFIG_MAPS.path(self._namespace, name_of(policy)))
            self._known[policy] = None if body is None else body.get("data") or {}
        known = self._known[policy]
        if known is None and tables:
            await self._send("POST", CONFIG_MAPS.path(self._namespace), policy, tables)
        elif known is not None and known != tables:
            await self._send("PUT", CONFIG_MAPS.path(self._namespace, name_of(policy)), policy, tables)

    async def _send(self, method: str, path: str, policy: str, tables: Mapping[str, str]) -> None:
        labels = {"app.kubernetes.io/managed-by": "green-llm"}
        metadata = {"name": name_of(policy), "namespace": self._namespace, "labels": labels}
        body: Body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(tables)}
        try:
            await self._cluster.call(method, path, body)
        except ApiError:
            self._known.pop(policy, None)  # read anew next time
            raise
        self._known[policy] = dict(tables)


def name_of(policy: str) -> str:
    """The ConfigMap of a policy's weights."""
    return f"green-llm-weights-{policy}"
