"""Managed routes: made before they are steered, brought back to their template, deleted when no longer named."""

from __future__ import annotations

import logging

from green_llm.bootstrap.cluster import ClusterParts
from green_llm.domain.request import Kind, Mode
from green_llm.domain.routes import RouteKey
from green_llm.errors import StoreError
from green_llm.kube.kinds import OWN, ROUTES
from green_llm.routing.documents import key_of
from green_llm.routing.managed import LABELS, owner_of
from green_llm.services.admission import PolicyRequest

logger = logging.getLogger("green_llm.operator")
DEMANDS = OWN[Kind.DEMAND]


async def keep(parts: ClusterParts, request: PolicyRequest) -> None:
    """Bring the managed routes of a policy's demands to their templates. One that fails does not stop the others."""
    if request.policy.mode is Mode.SHADOW:
        return
    for managed in request.managed:
        namespace, _, name = managed.demand.partition("/")
        owner = parts.mirror.body(DEMANDS, namespace, name)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            continue
        try:
            await parts.routes.keep(managed, owner, request.policy.name)
        except StoreError as error:
            logger.warning("%s: %s", managed.key, error)
    for key in _left_over(parts, request):
        try:
            await parts.routes.drop(key, request.policy.name)
        except StoreError as error:
            logger.warning("%s: %s", key, error)


def _left_over(parts: ClusterParts, request: PolicyRequest) -> list[RouteKey]:
    """Managed routes of accepted demands that these no longer name."""
    resources = parts.mirror.resources()
    named = {
        target.key
        for key in request.accepted & resources.demands.keys()
        for area in resources.demands[key].areas
        for target in area.routes
        if target.template is not None
    }
    found = []
    for resource in ROUTES.values():
        for body in parts.mirror.bodies(resource):
            ours = LABELS.items() <= (body["metadata"].get("labels") or {}).items()
            if ours and owner_of(body) in request.accepted and key_of(body) not in named:
                found.append(key_of(body))
    return found
