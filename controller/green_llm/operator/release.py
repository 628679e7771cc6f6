"""Letting go of everything: originals restored, finalizers gone, no custom resource deleted. For uninstalling.

Works whether an operator runs or not. A running one is kept from writing first: its Leases are taken, and what it may still
write on the ground of its last renewal is waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from green_llm.api.parse import parse
from green_llm.bootstrap.cluster import ClusterParts
from green_llm.domain.request import Demand
from green_llm.domain.routes import RouteKey
from green_llm.errors import StoreError
from green_llm.kube.kinds import ROUTES
from green_llm.kube.lease import DURATION_SECONDS, MARGIN_SECONDS
from green_llm.kube.mirror import record_of
from green_llm.kube.routes import KubeRoutes
from green_llm.operator.deletion import DEMANDS, FINALIZER, drop_finalizer

TRIES = 5
SEIZED_SECONDS = 150
"""How long nobody else may write afterwards, an operator installed anew too: the one there is has ended by then, or the release
was given up."""


@dataclass
class Released:
    """What was let go of."""

    restored: int = 0
    """Routes whose originals were restored."""
    kept: int = 0
    """Routes that keep their weights, as their demands say (deletionPolicy: Retain)."""
    demands: int = 0
    """Demands whose finalizer was removed."""


async def release(parts: ClusterParts, seconds: float) -> Released:
    """Restore every route and remove every finalizer.

    Raises:
        StoreError: not everything was let go of in time; it may be tried again.
    """
    found, last = Released(), ""
    try:
        async with asyncio.timeout(seconds):
            await parts.mirror.relist(parts.cluster)
            await _seize(parts)
            for _ in range(TRIES):
                await parts.mirror.relist(parts.cluster)
                try:
                    if not await _let_go(parts, found):
                        return found
                except StoreError as error:
                    last = f": {error}"
    except TimeoutError:
        last = f" within {seconds:g} s"
    raise StoreError(f"not everything was released{last}; try again")


async def _seize(parts: ClusterParts) -> None:
    """Take every Lease, and wait until whoever had one writes no more."""
    leases = [parts.lease(name) for name in ("", *sorted(parts.mirror.resources().policies))]
    taken = await asyncio.gather(*(lease.seize(SEIZED_SECONDS) for lease in leases))
    if any(taken):
        await asyncio.sleep(DURATION_SECONDS - MARGIN_SECONDS)


async def _let_go(parts: ClusterParts, found: Released) -> bool:
    """Restore and remove what there is; whether there was anything."""
    before = (found.restored, found.demands)
    found.kept = 0
    routes = KubeRoutes(parts.cluster, parts.mirror, lambda _policy: True)
    retained = _retained(parts)
    for resource in ROUTES.values():
        for body in parts.mirror.bodies(resource):
            metadata = body["metadata"]
            key = RouteKey(resource.group, resource.kind, metadata["namespace"], metadata["name"])
            noted = set(record_of(body))
            rules = noted - retained.get(key, set())
            if rules:
                await routes.restore(key, rules, "")
                found.restored += 1
            elif noted:
                found.kept += 1
    for body in parts.mirror.bodies(DEMANDS):
        if FINALIZER in (body["metadata"].get("finalizers") or []):
            await drop_finalizer(parts, body)
            found.demands += 1
    return before != (found.restored, found.demands)


def _retained(parts: ClusterParts) -> dict[RouteKey, set[str]]:
    """Rules whose weights stay, as their demand says."""
    found: dict[RouteKey, set[str]] = {}
    for body in parts.mirror.bodies(DEMANDS):
        demand = parse(body, strict=False)
        if isinstance(demand, Demand) and not demand.restore_on_delete:
            for target in (target for area in demand.areas for target in area.routes):
                found.setdefault(target.key, set()).update(target.rules.values())
    return found
