"""Routes as documents: where each kind keeps its rules, back-ends and weights. Pure.

One table; a kind with another layout brings a row, and a function where its layout has a quirk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteRule, RouteWrite, Verified, WeightEdit
from green_llm.routing.gateway_status import verified

GATEWAY, ISTIO = "gateway.networking.k8s.io", "networking.istio.io"
EXPORT = "green-llm-weights"
"""The only ConfigMap that is a route: the role grants this name and no other."""
DEFAULT_WEIGHT = 1
"""A Gateway API back-end without a weight has this one (HTTPBackendRef.weight)."""
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class RuleDocument:
    """One rule as it stands in a document."""

    name: str
    path: Path
    """Of the list of back-end references; of the text that holds it, where ``text``."""
    references: list[Any]
    name_path: Path | None = None
    """Of its name; None where the path says it."""
    text: bool = False


@dataclass(frozen=True)
class Adapter:
    """How one kind of route is laid out."""

    group: str
    version: str
    plural: str
    kind: str
    scale: int
    """What the weights of a rule are made to sum to: 0.1 % steps are far finer than traffic can be split."""
    rules: Callable[[Mapping[str, Any]], Iterable[RuleDocument]]
    backend: Callable[[Mapping[str, Any], str], BackendKey]
    """(reference, the route's namespace) → which back-end it is."""
    identity: Path
    """Where in a reference its name stands: a patch makes sure that it is still there."""
    missing_weight: int
    verified: Callable[[Mapping[str, Any]], Verified]
    refers_by_grant: bool = False
    """Whether other namespaces' back-ends need a ReferenceGrant."""

    def weight(self, reference: Mapping[str, Any], rule: RuleDocument) -> int:
        """The weight in force of a back-end reference."""
        weight = reference.get("weight")
        if weight is not None:
            return int(weight)
        # A lone destination of a VirtualService gets everything, whatever its weight (Istio, HTTPRouteDestination).
        return self.scale if not self.missing_weight and len(rule.references) == 1 else self.missing_weight


def _gateway_rules(document: Mapping[str, Any]) -> Iterable[RuleDocument]:
    for number, rule in enumerate((document.get("spec") or {}).get("rules") or []):
        base: Path = ("spec", "rules", number)
        references = list(rule.get("backendRefs") or [])
        yield RuleDocument(str(rule.get("name") or ""), (*base, "backendRefs"), references, (*base, "name"))


def _gateway_backend(reference: Mapping[str, Any], namespace: str) -> BackendKey:
    return BackendKey(
        str(reference.get("group") or ""),
        str(reference.get("kind") or "Service"),
        str(reference.get("namespace") or namespace),
        str(reference.get("name") or ""),
        int(reference.get("port") or 0),
    )


def _istio_rules(document: Mapping[str, Any]) -> Iterable[RuleDocument]:
    for number, rule in enumerate((document.get("spec") or {}).get("http") or []):
        base: Path = ("spec", "http", number)
        yield RuleDocument(
            str(rule.get("name") or ""), (*base, "route"), list(rule.get("route") or []), (*base, "name")
        )


def _istio_backend(reference: Mapping[str, Any], namespace: str) -> BackendKey:
    """A cluster-local host is a Service; any other is a host of its own, and so is each subset."""
    destination = reference.get("destination") or {}
    host, subset = str(destination.get("host") or ""), str(destination.get("subset") or "")
    port = int((destination.get("port") or {}).get("number") or 0)
    name, _, rest = host.partition(".")
    where, _, domain = rest.partition(".")
    if subset:
        return BackendKey(ISTIO, "Subset", namespace, f"{host}/{subset}", port)
    if not rest or (where and domain in ("svc", "svc.cluster.local")):
        return BackendKey("", "Service", where or namespace, name, port)
    return BackendKey(ISTIO, "Host", namespace, host, port)


def _export_rules(document: Mapping[str, Any]) -> Iterable[RuleDocument]:
    for name, text in sorted((document.get("data") or {}).items()):
        try:
            references = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if isinstance(references, list) and all(isinstance(reference, Mapping) for reference in references):
            yield RuleDocument(name, ("data", name), references, text=True)


def _no_verdict(_document: Mapping[str, Any]) -> Verified:
    return Verified(message="nobody says whether it is in use")


def _gateway(kind: str, plural: str) -> Adapter:
    return Adapter(
        GATEWAY, "v1", plural, kind, 1000, _gateway_rules, _gateway_backend, ("name",), DEFAULT_WEIGHT, verified,
        refers_by_grant=True,
    )  # fmt: skip


_TABLE = (
    _gateway("HTTPRoute", "httproutes"),
    _gateway("GRPCRoute", "grpcroutes"),
    Adapter(
        ISTIO, "v1", "virtualservices", "VirtualService", 100, _istio_rules, _istio_backend, ("destination", "host"), 0,
        _no_verdict,
    ),
    Adapter("", "v1", "configmaps", "ConfigMap", 1000, _export_rules, _gateway_backend, ("name",), 0, _no_verdict),
)  # fmt: skip
ADAPTERS = {(adapter.group, adapter.kind): adapter for adapter in _TABLE}
"""By (API group, kind)."""


def adapter_of(document: Mapping[str, Any]) -> Adapter | None:
    """The adapter of a document; None where it is no route we know."""
    key = key_of(document)
    if key.kind == "ConfigMap" and key.name != EXPORT:
        return None
    return ADAPTERS.get((key.group, key.kind))


def key_of(document: Mapping[str, Any]) -> RouteKey:
    """Which route a document is; without a namespace it is in ``default``."""
    group, slash, _ = str(document.get("apiVersion", "")).partition("/")
    metadata = document.get("metadata") or {}
    return RouteKey(
        group if slash else "",
        str(document.get("kind", "")),
        str(metadata.get("namespace") or "default"),
        str(metadata.get("name") or ""),
    )


def read_route(document: Mapping[str, Any], adapter: Adapter) -> Route:
    """The weights of a route document. A back-end that is there twice counts once, with both weights."""
    key = key_of(document)
    rules = []
    for rule in adapter.rules(document):
        weights: dict[BackendKey, int] = {}
        for reference in rule.references:
            backend = adapter.backend(reference, key.namespace)
            weights[backend] = weights.get(backend, 0) + adapter.weight(reference, rule)
        rules.append(RouteRule(rule.name, weights))
    metadata = document.get("metadata") or {}
    return Route(key, str(metadata.get("uid") or ""), tuple(rules), adapter.scale, verified=_verdict(document, adapter))


def edits(document: Mapping[str, Any], change: RouteWrite) -> list[WeightEdit]:
    """The back-end references whose weight must change; nothing for what is so already.

    Of a back-end that is there twice the first reference takes it all.
    """
    adapter = ADAPTERS[change.route.key.group, change.route.key.kind]
    found = []
    for rule in adapter.rules(document):
        changed = _changed(rule, adapter, change)
        if not rule.text:
            found += [WeightEdit((*rule.path, place), weight) for place, weight in changed.items()]
        elif changed:
            references = [
                {**entry, "weight": changed.get(place, entry.get("weight", 0))}
                for place, entry in enumerate(rule.references)
            ]
            found.append(WeightEdit(rule.path, json.dumps(references)))
    return found


def _changed(rule: RuleDocument, adapter: Adapter, change: RouteWrite) -> dict[int, int]:
    """New weights by place in a rule's list of references."""
    weights = change.weights.get(rule.name, {})
    changed: dict[int, int] = {}
    seen: set[BackendKey] = set()
    for place, reference in enumerate(rule.references):
        backend = adapter.backend(reference, change.route.key.namespace)
        if backend not in weights:
            continue
        wanted = 0 if backend in seen else weights[backend]
        seen.add(backend)
        if adapter.weight(reference, rule) != wanted:
            changed[place] = wanted
    return changed


def _verdict(document: Mapping[str, Any], adapter: Adapter) -> Verified:
    """A document without a status is a file: nobody has judged it."""
    return adapter.verified(document) if "uid" in (document.get("metadata") or {}) else Verified()
