"""Finalizers of demands: original weights are restored when a demand goes, and the finalizer always ends."""

from __future__ import annotations

from green_llm.api.parse import parse
from green_llm.bootstrap.cluster import ClusterParts
from green_llm.domain.request import Demand, Kind, Mode
from green_llm.kube.client import JSON_PATCH, ApiError, Body
from green_llm.kube.kinds import OWN
from green_llm.services.admission import PolicyRequest

FINALIZER = "greenllm.dev/restore"
DEMANDS = OWN[Kind.DEMAND]


async def ensure_finalizers(parts: ClusterParts, request: PolicyRequest) -> None:
    """Before the first write: every demand whose routes we steer carries our finalizer. Shadow and suspend write none."""
    steering = {
        (pair.demand.namespace, pair.demand.name)
        for pair in request.pairs
        if pair.bindings and pair.fixed is None and Mode.SHADOW not in (request.policy.mode, pair.demand.mode)
    }
    for namespace, name in sorted(steering):
        body = parts.mirror.body(DEMANDS, namespace, name)
        if body is not None and FINALIZER not in _finalizers(body) and not body["metadata"].get("deletionTimestamp"):
            await _set_finalizers(parts, body, [*_finalizers(body), FINALIZER])


async def finish(parts: ClusterParts) -> None:
    """Restore the routes of demands that are being deleted, and let them go."""
    for body in parts.mirror.bodies(DEMANDS):
        metadata = body["metadata"]
        if not metadata.get("deletionTimestamp") or FINALIZER not in _finalizers(body):
            continue
        policy = (body["spec"].get("policyRef") or {}).get("name", "")
        writer = policy if policy in parts.mirror.resources().policies else ""
        if not parts.lease(writer).held:
            continue
        demand = parse(body, strict=False)
        if isinstance(demand, Demand) and demand.restore_on_delete:
            for target in (target for area in demand.areas for target in area.routes if target.template is None):
                await parts.routes.restore(target.key, set(target.rules.values()), writer)
        await drop_finalizer(parts, body)


async def drop_finalizer(parts: ClusterParts, body: Body) -> None:
    """Let a demand go, as far as we are concerned."""
    await _set_finalizers(parts, body, [name for name in _finalizers(body) if name != FINALIZER])


async def _set_finalizers(parts: ClusterParts, body: Body, names: list[str]) -> None:
    metadata = body["metadata"]
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/metadata/finalizers", "value": names},
    ]
    path = DEMANDS.path(metadata["namespace"], metadata["name"])
    try:
        after = await parts.cluster.patch(path, operations, JSON_PATCH)
    except ApiError as error:
        if error.status in (404, 409, 422):  # it has changed or gone; the next pass looks again
            parts.mirror.changed.set()
            return
        raise
    if after["metadata"].get("finalizers"):
        parts.mirror.put(after, ours=True)


def _finalizers(body: Body) -> list[str]:
    return list(body["metadata"].get("finalizers") or [])
