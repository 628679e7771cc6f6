"""Managed routes: made from a demand's template, owned whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from green_llm.domain.routes import BackendKey, Route
from green_llm.routing.documents import ADAPTERS
from green_llm.services.pairing import ManagedRoute

Document = dict[str, Any]
OWNER_KIND = "InferenceDemand"
LABELS = {"app.kubernetes.io/managed-by": "green-llm"}


def owner_of(document: Mapping[str, Any]) -> str | None:
    """The demand that owns a managed route, ``namespace/name``."""
    metadata = document.get("metadata") or {}
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("kind") == OWNER_KIND and owner.get("controller"):
            return f"{metadata.get('namespace')}/{owner.get('name')}"
    return None


def document_of(managed: ManagedRoute, owner: Mapping[str, Any], live: Route | None) -> Document:
    """The whole route, with the weights in force; a new one begins with equal weights.

    ``owner`` is the demand as the API server shows it: the route goes with it.
    """
    adapter = ADAPTERS[managed.key.group, managed.key.kind]
    spec = dict(managed.template.spec)
    spec["rules"] = [_rule(rule, managed, live, adapter.scale) for rule in spec["rules"]]
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": OWNER_KIND, "name": metadata["name"], "controller": True}
    return {
        "apiVersion": f"{adapter.group}/{adapter.version}",
        "kind": adapter.kind,
        "metadata": {
            "name": managed.key.name,
            "namespace": managed.key.namespace,
            "labels": dict(LABELS),
            "ownerReferences": [reference | {"uid": metadata["uid"]}],
        },
        "spec": spec,
    }


def is_kept(wanted: Any, live: Any) -> bool:
    """Whether a live object has all that is wanted; the API server's defaults beside it do no harm."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(is_kept(value, live.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(is_kept, wanted, live))
    return bool(wanted == live)


def _rule(rule: Mapping[str, Any], managed: ManagedRoute, live: Route | None, scale: int) -> Document:
    keys = managed.backends.get(str(rule.get("name")))
    if keys is None:
        return dict(rule)
    known = next((found.weights for found in live.rules if found.name == rule["name"]), {}) if live else {}
    in_force = any(known.get(key) for key in keys)
    references = [_reference(key, managed, known.get(key, 0) if in_force else scale) for key in keys]
    return {**rule, "backendRefs": references}


def _reference(key: BackendKey, managed: ManagedRoute, weight: int) -> Document:
    found: Document = {"group": key.group, "kind": key.kind, "name": key.name, "weight": weight}
    found |= {"port": key.port} if key.port else {}
    return found | ({"namespace": key.namespace} if key.namespace != managed.key.namespace else {})
