"""One active writer per policy: a Lease, renewed while it is held, checked before each write.

Time is measured here only: a lease is taken over when its record has not changed for as long as it says, seen by this
process's own monotonic clock (as client-go does), so clocks that differ cause no trouble. A holder that was stopped finds its
own last renewal too old and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from green_llm.kube.client import ApiError, Body, Cluster
from green_llm.kube.kinds import LEASES

DURATION_SECONDS = 15
RENEW_SECONDS = 4.0
MARGIN_SECONDS = 4.0
"""A holder stops writing this long before others may take over."""


@dataclass
class Lease:
    """The lease of one policy, as one replica sees it."""

    cluster: Cluster
    namespace: str
    name: str
    identity: str
    clock: Callable[[], float] = time.monotonic
    asked: bool = False
    """Whether the API server was asked for it at least once."""
    holder: str = ""
    """Who held it when the API server was asked last."""
    _renewed: float = float("-inf")
    _seen: tuple[str, float] = ("", float("-inf"))

    @property
    def held(self) -> bool:
        """Whether this replica may write now."""
        return self.clock() - self._renewed < DURATION_SECONDS - MARGIN_SECONDS

    async def renew(self) -> bool:
        """Take or renew the lease; whether it is held. An API server that does not answer changes nothing."""
        asked = self.clock()
        try:
            if await self._take():
                self._renewed = asked
        except ApiError:
            return self.held
        self.asked = True
        return self.held

    async def seize(self, seconds: float) -> bool:
        """Take the lease whoever holds it, for so long; whether somebody did.

        Raises:
            ApiError: the API server does not answer, or refuses.
        """
        path = LEASES.path(self.namespace, self.name)
        while True:
            body = await self.cluster.get(path)
            holder = "" if body is None else body["spec"].get("holderIdentity") or ""
            wanted = self._body(body or {})
            wanted["spec"]["leaseDurationSeconds"] = round(seconds)
            try:
                if body is None:
                    await self.cluster.call("POST", LEASES.path(self.namespace), wanted)
                else:
                    await self.cluster.call("PUT", path, wanted)
            except ApiError as error:
                if error.status != 409:
                    raise
                continue  # its holder has just renewed it
            return holder not in ("", self.identity)

    async def release(self) -> None:
        """Give the lease up, so that another replica need not wait for it to run out."""
        held, self._renewed = self.held, float("-inf")
        path = LEASES.path(self.namespace, self.name)
        try:
            body = await self.cluster.get(path) if held else None
            if body is not None and body["spec"].get("holderIdentity") == self.identity:
                body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self.cluster.call("PUT", path, body)
        except ApiError:
            return

    async def _take(self) -> bool:
        """Write our name into the lease where it is free, ours or run out."""
        path = LEASES.path(self.namespace, self.name)
        body = await self.cluster.get(path)
        if body is None:
            await self.cluster.call("POST", LEASES.path(self.namespace), self._body({}))
            return True
        spec, version = body["spec"], str(body["metadata"]["resourceVersion"])
        if self._seen[0] != version:
            self._seen = (version, self.clock())
        holder = spec.get("holderIdentity")
        self.holder = str(holder or "")
        ours = holder == self.identity
        if holder and not ours and self.clock() - self._seen[1] < float(spec.get("leaseDurationSeconds") or 0):
            return False
        await self.cluster.call("PUT", path, self._body(body))
        return True

    def _body(self, known: Body) -> Body:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(known.get("spec") or {})
        if spec.get("holderIdentity") != self.identity:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {"holderIdentity": self.identity, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now}
        metadata = known.get("metadata") or {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
