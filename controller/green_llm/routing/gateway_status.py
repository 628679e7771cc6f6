"""What gateways say of a route: ``status.parents`` of Gateway API. Pure.

https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from green_llm.domain.routes import Rung, Verified

IMPAIRING = ("PartiallyInvalid", "RouteRulesOverlap")
"""Conditions of an accepted route that are bad news: Gateway API's, and Envoy Gateway's for two routes that match the same."""
Parent = tuple[str, str, str, str, str, str]
"""Group, kind, namespace, name, section, port: a parent reference with its defaults filled in."""


def verified(document: Mapping[str, Any]) -> Verified:
    """The rung of a route: every parent must have accepted this generation, with all references resolved."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    generation, namespace = int(metadata.get("generation") or 0), str(metadata.get("namespace") or "")
    entries = (document.get("status") or {}).get("parents") or []
    found: list[Verified] = []
    for reference in spec.get("parentRefs") or []:
        parent = _parent(reference, namespace)
        said = [entry for entry in entries if _parent(entry.get("parentRef") or {}, namespace) == parent]
        found += [_of_entry(entry, generation, parent) for entry in said]
        if not said:
            found.append(Verified(Rung.WRITTEN, f"{_name(parent)} has not said anything"))
    for rung in (Rung.REFUSED, Rung.IMPAIRED, Rung.WRITTEN):
        first = next((entry for entry in found if entry.rung is rung), None)
        if first is not None:
            return first
    return Verified(Rung.ACCEPTED) if found else Verified(Rung.WRITTEN, "it names no Gateway")


def _of_entry(entry: Mapping[str, Any], generation: int, parent: Parent) -> Verified:
    """What one controller says of one parent."""
    conditions = {str(condition.get("type")): condition for condition in entry.get("conditions") or []}
    for kind in ("Accepted", "ResolvedRefs"):
        condition = conditions.get(kind)
        if condition is None or int(condition.get("observedGeneration") or 0) < generation:
            return Verified(Rung.WRITTEN, f"{_name(parent)} has not judged this generation")
        if condition.get("status") != "True":
            text = f"{_name(parent)}: {kind}={condition.get('status')}, {condition.get('reason')}: {condition.get('message')}"
            refused = Rung.REFUSED if kind == "Accepted" else Rung.IMPAIRED
            return Verified(refused if condition.get("status") == "False" else Rung.WRITTEN, text)
    for kind in IMPAIRING:
        condition = conditions.get(kind)
        if condition is not None and condition.get("status") == "True":
            return Verified(Rung.IMPAIRED, f"{_name(parent)}: {kind}: {condition.get('message')}")
    return Verified(Rung.ACCEPTED)


def _parent(reference: Mapping[str, Any], namespace: str) -> Parent:
    return (
        str(reference.get("group") or "gateway.networking.k8s.io"),
        str(reference.get("kind") or "Gateway"),
        str(reference.get("namespace") or namespace),
        str(reference.get("name") or ""),
        str(reference.get("sectionName") or ""),
        str(reference.get("port") or ""),
    )


def _name(parent: Parent) -> str:
    return f"{parent[1]} {parent[2]}/{parent[3]}"
