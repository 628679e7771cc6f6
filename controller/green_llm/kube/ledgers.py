"""Ledgers in ConfigMaps of the operator's namespace, keyed by policy name: deleting a policy does not reset its budget."""

from __future__ import annotations

import base64
import gzip
import zlib

from green_llm.domain import ledger_file
from green_llm.domain.amounts import Ledger
from green_llm.errors import StoreError
from green_llm.kube.client import ApiError, Body, Cluster
from green_llm.kube.kinds import CONFIG_MAPS

KEY, PACKED = "ledger.json", "ledger.json.gz"
LARGEST_PLAIN = 400_000
"""Characters; beyond it a ledger is compressed, to a tenth."""


class KubeLedgers:
    """Implements ``services.ports.LedgerStore``. What was read must still be there when it is replaced."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._known: dict[str, Body | None] = {}

    async def load(self, policy: str) -> Ledger | None:
        """The ledger in the cluster, read anew; None where there is none yet."""
        name = name_of(policy)
        body = await self._cluster.get(CONFIG_MAPS.path(self._namespace, name))
        self._known[policy] = body
        if body is None:
            return None
        where = f"ConfigMap {self._namespace}/{name}"
        return ledger_file.load(text_of(body, where), where)

    async def save(self, policy: str, ledger: Ledger) -> None:
        """Replace the ledger, all or nothing; refused where somebody else has replaced it since ``load``."""
        known = self._known.get(policy)
        body: Body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name_of(policy),
                "namespace": self._namespace,
                "labels": {"app.kubernetes.io/managed-by": "green-llm"},
            },
            **content_of(ledger_file.dump(ledger)),
        }
        try:
            if known is None:
                self._known[policy] = await self._cluster.call("POST", CONFIG_MAPS.path(self._namespace), body)
                return
            body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
            path = CONFIG_MAPS.path(self._namespace, name_of(policy))
            self._known[policy] = await self._cluster.call("PUT", path, body)
        except ApiError as error:
            if error.status == 409:
                raise StoreError(f"ledger of {policy}: somebody else has charged it; it is read anew") from error
            raise


def content_of(text: str) -> Body:
    """A ledger's text as the data of a ConfigMap; a long one is compressed: an object may have no more than a MiB."""
    if len(text) <= LARGEST_PLAIN:
        return {"data": {KEY: text}}
    packed = gzip.compress(text.encode(), mtime=0)
    return {"binaryData": {PACKED: base64.b64encode(packed).decode()}}


def text_of(body: Body, where: str) -> str:
    """The ledger's text in a ConfigMap.

    Raises:
        StoreError: there is none.
    """
    text = (body.get("data") or {}).get(KEY)
    packed = (body.get("binaryData") or {}).get(PACKED)
    if text is None and packed is None:
        raise StoreError(f"{where}: has no {KEY}; restore it, or delete the ConfigMap")
    try:
        return str(text) if packed is None else gzip.decompress(base64.b64decode(packed)).decode()
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise StoreError(
            f"{where}: {PACKED} is damaged ({error}); restore it from a copy, or delete the ConfigMap"
        ) from error


def name_of(policy: str) -> str:
    """The ConfigMap of a policy's ledger."""
    return f"green-llm-ledger-{policy}"
