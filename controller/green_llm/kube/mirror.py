"""What the operator knows of the cluster: a mirror filled by watch events, and compared with fresh lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from green_llm.api.parse import key_of, parse
from green_llm.domain.request import Demand, Kind, ObjectKey, Policy, Problem, Resources, Source
from green_llm.domain.routes import BackendKey, Route, RouteKey
from green_llm.domain.topology import Site
from green_llm.kube.client import Body, Cluster, Resource
from green_llm.kube.kinds import ENDPOINT_SLICES, NAMESPACES, OWN, ROUTES, WATCHED
from green_llm.routing import documents

Place = tuple[str, str]
"""Namespace and name."""
ANNOTATION = "greenllm.dev/weights"
"""On an adopted route: per rule the weights before us and the ones we wrote last, as JSON."""
Record = dict[str, dict[str, dict[str, int]]]
SERVICE_LABEL = "kubernetes.io/service-name"


class Mirror:
    """Bodies by kind. Used from one event loop only."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Something a plan depends on has changed."""
        self.health_changed = asyncio.Event()
        self.synced = False
        """Whether every kind was listed once."""
        self._bodies: dict[str, dict[Place, Body]] = {resource.kind: {} for resource in WATCHED}
        self._parsed: dict[ObjectKey, tuple[str, Any]] = {}

    async def relist(self, cluster: Cluster) -> None:
        """Take over fresh lists: what vanished unseen is forgotten.

        Raises:
            ApiError: the API server cannot be asked.
        """
        for resource in WATCHED:
            listed = await cluster.list(resource) or []
            places = {_place(body) for body in listed}
            for body in listed:
                self.put(body)
            for place in set(self._bodies[resource.kind]) - places:
                self.drop(resource.kind, place)
        self.synced = True

    def put(self, body: Mapping[str, Any], *, ours: bool = False) -> None:
        """Take over an object, unless what is known is newer; what we wrote ourselves is no news."""
        kind, place = str(body["kind"]), _place(body)
        known = self._bodies[kind].get(place)
        if known is not None and _version(known) >= _version(body) and _uid(known) == _uid(body):
            return
        self._bodies[kind][place] = dict(body)
        if not ours and (known is None or essence(known) != essence(body)):
            self._announce(kind)

    def drop(self, kind: str, place: Place) -> None:
        """Forget an object."""
        if self._bodies[kind].pop(place, None) is not None:
            self._announce(kind)

    def body(self, resource: Resource, namespace: str, name: str) -> Body | None:
        """An object as last seen."""
        return self._bodies[resource.kind].get((namespace, name))

    def bodies(self, resource: Resource) -> list[Body]:
        """All objects of a kind."""
        return list(self._bodies[resource.kind].values())

    def resources(self) -> Resources:
        """Our kinds as the domain's resources; what is being deleted is gone."""
        policies, sites, demands, sources = {}, {}, {}, {}
        problems: list[Problem] = []
        for resource in OWN.values():
            for body in self.bodies(resource):
                if body["metadata"].get("deletionTimestamp"):
                    continue
                match self._parse(body):
                    case Policy() as policy:
                        policies[policy.name] = policy
                    case Site() as site:
                        sites[site.name] = site
                    case Demand() as demand:
                        demands[demand.key] = demand
                    case Source() as source:
                        sources[source.name] = source
                    case found:
                        problems += found
        labels = {place[1]: body["metadata"].get("labels") or {} for place, body in self._bodies["Namespace"].items()}
        return Resources(policies, sites, demands, sources, labels, tuple(problems))

    def route(self, key: RouteKey) -> Route | None:
        """A route as last seen."""
        adapter = documents.ADAPTERS.get((key.group, key.kind))
        resource = ROUTES.get((key.group, key.kind))
        body = None if resource is None else self.body(resource, key.namespace, key.name)
        return None if body is None or adapter is None else with_written(documents.read_route(body, adapter), body)

    def unhealthy(self) -> frozenset[BackendKey]:
        """Services whose EndpointSlices have no ready endpoint; a Service without any slice is unknown.

        A condition ``ready`` that is not said counts as ready (EndpointSlice API).
        """
        ready: dict[Place, bool] = {}
        for (namespace, _), body in self._bodies["EndpointSlice"].items():
            service = (body["metadata"].get("labels") or {}).get(SERVICE_LABEL)
            if service:
                here = any(_is_ready(endpoint) for endpoint in body.get("endpoints") or [])
                ready[namespace, service] = ready.get((namespace, service), False) or here
        gone = {place for place, is_ready in ready.items() if not is_ready}
        return frozenset(
            backend
            for route in self._routes()
            for rule in route.rules
            for backend in rule.weights
            if (backend.group, backend.kind) == ("", "Service") and (backend.namespace, backend.name) in gone
        )

    def _routes(self) -> Iterable[Route]:
        for (group, kind), resource in ROUTES.items():
            for body in self.bodies(resource):
                yield documents.read_route(body, documents.ADAPTERS[group, kind])

    def _parse(self, body: Body) -> Any:
        key, version = (
            key_of(body),
            f"{_uid(body)}/{body['metadata'].get('generation')}/{body['metadata'].get('labels')}",
        )
        known = self._parsed.get(key)
        if known is None or known[0] != version:
            known = (version, parse(body, strict=False))
            self._parsed[key] = known
        return known[1]

    def _announce(self, kind: str) -> None:
        self.changed.set()
        if kind == ENDPOINT_SLICES.kind:
            self.health_changed.set()


def with_written(route: Route, body: Mapping[str, Any]) -> Route:
    """The route with what we wrote last, as noted on it."""
    record = record_of(body)
    rules = []
    for rule in route.rules:
        noted = record.get(rule.name, {}).get("written")
        written = None if noted is None else {key: noted.get(str(key), 0) for key in rule.weights}
        rules.append(replace(rule, written=written))
    return replace(route, rules=tuple(rules))


def record_of(body: Mapping[str, Any]) -> Record:
    """What is noted on a route; nothing where it cannot be read."""
    text = (body["metadata"].get("annotations") or {}).get(ANNOTATION)
    try:
        found: Record = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found


def essence(body: Mapping[str, Any]) -> Any:
    """What a plan can depend on: not the status, and nothing that our own writes of status change."""
    metadata = body["metadata"]
    common = (metadata.get("uid"), metadata.get("labels"), metadata.get("deletionTimestamp"))
    if body["kind"] == ENDPOINT_SLICES.kind:
        return (*common, [_is_ready(endpoint) for endpoint in body.get("endpoints") or []])
    if body["kind"] == NAMESPACES.kind:
        return common
    return (*common, body.get("spec"))


def kind_of(key: ObjectKey) -> Resource:
    """Where one of our objects lives."""
    return OWN[Kind(key.kind)]


def _is_ready(endpoint: Mapping[str, Any]) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _place(body: Mapping[str, Any]) -> Place:
    return str(body["metadata"].get("namespace") or ""), str(body["metadata"]["name"])


def _version(body: Mapping[str, Any]) -> int:
    """Resource versions grow: etcd's revisions. A version that is no number counts as newer."""
    text = str(body["metadata"].get("resourceVersion") or "")
    return int(text) if text.isdigit() else -1


def _uid(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("uid") or "")
