"""Routes as documents: where each kind keeps its rules, back-ends and weights. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteRule, RouteWrite, WeightEdit

GATEWAY = "gateway.networking.k8s.io"
DEFAULT_WEIGHT = 1
"""A back-end without a weight has this one (Gateway API, HTTPBackendRef.weight)."""


@dataclass(frozen=True)
class Adapter:
    """How one kind of route is laid out."""

    group: str
    kind: str
    scale: int
    """What the weights of a rule are made to sum to: 0.1 % steps, far finer than traffic can be split."""


ADAPTERS = {
    (GATEWAY, "HTTPRoute"): Adapter(GATEWAY, "HTTPRoute", 1000),
    (GATEWAY, "GRPCRoute"): Adapter(GATEWAY, "GRPCRoute", 1000),
}
"""By (API group, kind). A kind with another layout brings its own functions."""


def adapter_of(document: Mapping[str, Any]) -> Adapter | None:
    """The adapter of a document; None where it is no route we know."""
    group = str(document.get("apiVersion", "")).partition("/")[0]
    return ADAPTERS.get((group, str(document.get("kind", ""))))


def key_of(document: Mapping[str, Any]) -> RouteKey:
    """Which route a document is; without a namespace it is in ``default``."""
    group = str(document.get("apiVersion", "")).partition("/")[0]
    metadata = document.get("metadata") or {}
    return RouteKey(
        group,
        str(document.get("kind", "")),
        str(metadata.get("namespace") or "default"),
        str(metadata.get("name") or ""),
    )


def read_route(document: Mapping[str, Any], adapter: Adapter) -> Route:
    """The weights of a route document. A back-end that is there twice counts once, with both weights."""
    key = key_of(document)
    rules = []
    for rule in _rules(document):
        weights: dict[BackendKey, int] = {}
        for backend, reference in backends(rule, key.namespace):
            weights[backend] = weights.get(backend, 0) + weight_of(reference)
        rules.append(RouteRule(str(rule.get("name") or ""), weights))
    metadata = document.get("metadata") or {}
    return Route(key, str(metadata.get("uid") or ""), tuple(rules), adapter.scale)


def backends(rule: Mapping[str, Any], namespace: str) -> Iterator[tuple[BackendKey, Any]]:
    """Each back-end of a rule with its reference, in order."""
    for reference in rule.get("backendRefs") or []:
        yield (
            BackendKey(
                str(reference.get("group") or ""),
                str(reference.get("kind") or "Service"),
                str(reference.get("namespace") or namespace),
                str(reference.get("name") or ""),
                int(reference.get("port") or 0),
            ),
            reference,
        )


def weight_of(reference: Mapping[str, Any]) -> int:
    """The weight of a back-end reference."""
    weight = reference.get("weight")
    return DEFAULT_WEIGHT if weight is None else int(weight)


def edits(document: Mapping[str, Any], change: RouteWrite) -> list[WeightEdit]:
    """The back-end references whose weight must change; nothing for what is so already.

    Of a back-end that is there twice the first reference takes it all.
    """
    found = []
    for number, rule in enumerate(_rules(document)):
        weights = change.weights.get(str(rule.get("name") or ""), {})
        seen: set[BackendKey] = set()
        for place, (backend, reference) in enumerate(backends(rule, change.route.key.namespace)):
            if backend not in weights:
                continue
            wanted = 0 if backend in seen else weights[backend]
            seen.add(backend)
            if weight_of(reference) != wanted:
                found.append(WeightEdit(("spec", "rules", number, "backendRefs", place), wanted))
    return found


def _rules(document: Mapping[str, Any]) -> list[Any]:
    return list((document.get("spec") or {}).get("rules") or [])
