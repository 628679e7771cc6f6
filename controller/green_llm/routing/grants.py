"""ReferenceGrants: which back-ends of other namespaces a route may refer to. Pure.

https://gateway-api.sigs.k8s.io/api-types/referencegrant/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from green_llm.domain.routes import BackendKey, Route, RouteKey


def forbidden(route: Route, grants: Iterable[Mapping[str, Any]]) -> frozenset[BackendKey]:
    """The back-ends of a route that it may not refer to: in another namespace, and no grant there names them."""
    foreign = {key for rule in route.rules for key in rule.weights if key.namespace != route.key.namespace}
    if not foreign:
        return frozenset()
    known = list(grants)
    return frozenset(key for key in foreign if not any(_allows(grant, route.key, key) for grant in known))


def _allows(grant: Mapping[str, Any], route: RouteKey, backend: BackendKey) -> bool:
    spec = grant.get("spec") or {}
    if grant["metadata"].get("namespace") != backend.namespace:
        return False
    source = (route.group, route.kind, route.namespace)
    comes = any((f.get("group"), f.get("kind"), f.get("namespace")) == source for f in spec.get("from") or [])
    return comes and any(
        (t.get("group") or "", t.get("kind")) == (backend.group, backend.kind)
        and t.get("name") in (None, "", backend.name)
        for t in spec.get("to") or []
    )
