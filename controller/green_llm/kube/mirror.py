"""What the operator knows of the cluster: a mirror filled by watch events, and compared with fresh lists."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from green_llm.api.parse import key_of, parse
from green_llm.domain.request import Demand, Kind, ObjectKey, Policy, Problem, Resources, Source
from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteRule
from green_llm.domain.topology import Site
from green_llm.kube.client import Body, Cluster, Resource
from green_llm.kube.kinds import ENDPOINT_SLICES, FIELD_SELECTORS, GRANTS, NAMESPACES, OWN, ROUTES, WATCHED
from green_llm.routing import documents
from green_llm.routing.grants import forbidden
from green_llm.routing.managed import owner_of

Place = tuple[str, str]
"""Namespace and name."""
ANNOTATION = "greenllm.dev/weights"
"""On an adopted route: per rule the weights before us and the ones we wrote last, as JSON."""
OVERWRITTEN = "greenllm.dev/overwritten"
"""On an adopted route: when somebody else's weights were replaced by ours, the last few times."""
FIGHT, FIGHT_WITHIN = 3, timedelta(minutes=10)
"""So many overwrites within that time are a fight; we then leave the route alone until fewer are."""
Record = dict[str, dict[str, dict[str, int]]]
SERVICE_LABEL = "kubernetes.io/service-name"


class Mirror:
    """Bodies by kind. Used from one event loop only."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Something a plan depends on has changed."""
        self.health_changed = asyncio.Event()
        self.relist_wanted = asyncio.Event()
        """Watching had a gap: something may have vanished unseen."""
        self.synced = False
        """Whether every kind was listed once."""
        self._bodies: dict[str, dict[Place, Body]] = {resource.kind: {} for resource in WATCHED}
        self._parsed: dict[ObjectKey, tuple[str, Any]] = {}
        self._writing: dict[tuple[str, Place], set[int]] = {}
        """What we are writing now, and the versions of it that the watch has shown meanwhile."""

    async def relist(self, cluster: Cluster) -> None:
        """Take over fresh lists: what vanished unseen is forgotten.

        Raises:
            ApiError: the API server cannot be asked.
        """
        for resource in WATCHED:
            bodies = self._bodies[resource.kind]
            # What appears while the lists are on their way is not in them.
            missing = {place: _uid(body) for place, body in bodies.items()}
            async for page in cluster.pages(resource, FIELD_SELECTORS.get(resource)):
                for body in page:
                    missing.pop(_place(body), None)
                    self.put(body)
            for place, uid in missing.items():
                if place in bodies and _uid(bodies[place]) == uid:
                    self.drop(resource.kind, place)
        self.synced = True

    def put(self, body: Mapping[str, Any], *, ours: bool = False) -> None:
        """Take over an object, unless what is known is newer; what we wrote ourselves is no news."""
        kind, place = str(body["kind"]), _place(body)
        known = self._bodies[kind].get(place)
        if known is not None and _version(known) >= _version(body) and _uid(known) == _uid(body):
            return
        # Who manages which field is half of a large object, and nothing here asks.
        metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        self._bodies[kind][place] = {**body, "metadata": metadata}
        if not ours and (known is None or essence(known) != essence(body)):
            if (kind, place) in self._writing:
                self._writing[kind, place].add(_version(body))
            else:
                self._announce(kind)

    @contextlib.contextmanager
    def writing(self, resource: Resource, namespace: str, name: str) -> Iterator[Callable[[Body], None]]:
        """While we write an object: yields what takes the API server's answer.

        The watch may show our write before the answer comes; it is no news, and what others write meanwhile is.
        """
        place = (namespace, name)
        shown = self._writing[resource.kind, place] = set()

        def answered(body: Body) -> None:
            shown.discard(_version(body))
            self.put(body, ours=True)

        try:
            yield answered
        finally:
            del self._writing[resource.kind, place]
            if shown:
                self._announce(resource.kind)

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

    def by_key(self, resource: Resource) -> dict[str, Body]:
        """All objects of a kind by ``namespace/name``."""
        return {"/".join(place): body for place, body in self._bodies[resource.kind].items()}

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
        """A route as last seen, with what we noted on it, and what it may refer to."""
        resource = ROUTES.get((key.group, key.kind))
        body = None if resource is None else self.body(resource, key.namespace, key.name)
        if body is None:
            return None
        adapter = documents.ADAPTERS[key.group, key.kind]
        route = documents.read_route(body, adapter)
        return replace(
            route,
            rules=_with_written(route, body),
            contended=is_contended(body, datetime.now(UTC)),
            owner=owner_of(body),
            forbidden=forbidden(route, self.bodies(GRANTS)) if adapter.refers_by_grant else frozenset(),
        )

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


def _with_written(route: Route, body: Mapping[str, Any]) -> tuple[RouteRule, ...]:
    """The rules with what we wrote last, as noted on the route."""
    record = record_of(body)
    rules = []
    for rule in route.rules:
        noted = record.get(rule.name, {}).get("written")
        written = None if noted is None else {key: noted.get(str(key), 0) for key in rule.weights}
        before = record.get(rule.name, {}).get("original")
        original = None if before is None else {key: before.get(str(key), 0) for key in rule.weights}
        rules.append(replace(rule, written=written, original=original))
    return tuple(rules)


def overwritten(body: Mapping[str, Any]) -> list[str]:
    """When others' weights were replaced by ours, as noted on a route."""
    text = (body["metadata"].get("annotations") or {}).get(OVERWRITTEN) or ""
    return [part for part in text.split(",") if part]


def is_contended(body: Mapping[str, Any], now: datetime) -> bool:
    """Whether somebody else keeps writing a route's weights: one overwrite is not a fight, several within minutes are."""
    recent = 0
    for text in overwritten(body):
        with contextlib.suppress(ValueError):
            recent += timedelta(0) <= now - datetime.fromisoformat(text) < FIGHT_WITHIN
    return recent >= FIGHT


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
    adapter = documents.adapter_of(body)
    return (*common, body.get("spec"), body.get("data"), None if adapter is None else adapter.verified(body).rung)


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
