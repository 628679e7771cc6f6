"""What the operator knows of the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from green_llm.domain.routes import BackendKey
from green_llm.kube.client import Body, Resource
from green_llm.kube.kinds import ENDPOINT_SLICES, ROUTES, WATCHED
from green_llm.kube.mirror import Mirror

HTTP_ROUTES = ROUTES["gateway.networking.k8s.io", "HTTPRoute"]
NEAR, CHEAP = (BackendKey("", "Service", "inference", name, 80) for name in ("near", "cheap"))


def route(version: int = 1, uid: str = "u", **spec: Any) -> Body:
    references = [{"name": name, "port": 80, "weight": 500} for name in ("near", "cheap")]
    references.append({"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool", "weight": 0})
    return {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "iowa", "namespace": "inference", "uid": uid, "resourceVersion": str(version)},
        "spec": {"rules": [{"name": "chat", "backendRefs": references}]} | spec,
    }  # fmt: skip


def endpoints(service: str, *ready: bool | None, number: int = 1) -> Body:
    conditions = [{} if state is None else {"ready": state} for state in ready]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-{number}", "namespace": "inference", "resourceVersion": "1",
                     "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"conditions": entry} for entry in conditions],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slices", "unhealthy"),
    [
        ([], set()),  # a Service without a slice is unknown, and so is every other kind
        ([endpoints("near", True)], set()),
        ([endpoints("near", None)], set()),  # not said counts as ready
        ([endpoints("near", False, True)], set()),
        ([endpoints("near", False)], {NEAR}),
        ([endpoints("near")], {NEAR}),
        ([endpoints("near", False), endpoints("near", True, number=2)], set()),
        ([endpoints("near", False), endpoints("cheap", False)], {NEAR, CHEAP}),
        ([endpoints("pool", False)], set()),
    ],
)
def test_health(slices: list[Body], unhealthy: set[BackendKey]) -> None:
    mirror = Mirror()
    for body in [route(), *slices]:
        mirror.put(body)
    assert mirror.unhealthy() == unhealthy


def test_only_what_a_plan_depends_on_is_news() -> None:
    mirror = Mirror()
    mirror.put(route())
    assert mirror.changed.is_set()
    mirror.changed.clear()
    mirror.put(route(2) | {"status": {"parents": []}})
    assert not mirror.changed.is_set(), "a status of the same verdict"
    mirror.put(route(3, hostnames=["a"]))
    assert mirror.changed.is_set()
    mirror.changed.clear()
    mirror.put(route(4, hostnames=["b"]), ours=True)
    assert not mirror.changed.is_set(), "what we wrote ourselves"


def test_an_older_version_does_not_come_back() -> None:
    mirror = Mirror()
    mirror.put(route(5, hostnames=["new"]))
    mirror.put(route(4, hostnames=["old"]))
    (body,) = mirror.bodies(next(r for r in WATCHED if r.kind == "HTTPRoute"))
    assert body["spec"]["hostnames"] == ["new"]
    mirror.put(route(3, uid="another", hostnames=["made again"]))
    (body,) = mirror.bodies(next(r for r in WATCHED if r.kind == "HTTPRoute"))
    assert body["spec"]["hostnames"] == ["made again"]


class Lists:
    """A cluster that has these objects and nothing else."""

    def __init__(self, *bodies: Body, meanwhile: Callable[[], None] | None = None) -> None:
        self.bodies, self.meanwhile = bodies, meanwhile

    async def pages(self, resource: Resource, field_selector: str | None = None) -> AsyncIterator[list[Body]]:
        del field_selector
        yield [body for body in self.bodies if body["kind"] == resource.kind]
        if self.meanwhile is not None:
            self.meanwhile()


async def test_what_vanished_unseen_is_forgotten() -> None:
    mirror = Mirror()
    assert not mirror.synced
    await mirror.relist(Lists(route(), endpoints("near", False)))  # type: ignore[arg-type]
    assert mirror.synced
    assert mirror.unhealthy() == {NEAR}
    mirror.health_changed.clear()
    await mirror.relist(Lists(route()))  # type: ignore[arg-type]
    assert not mirror.bodies(ENDPOINT_SLICES)
    assert mirror.health_changed.is_set()
    assert not mirror.unhealthy()


async def test_what_appears_while_lists_are_on_their_way_stays() -> None:
    mirror = Mirror()
    await mirror.relist(Lists(meanwhile=lambda: mirror.put(route())))  # type: ignore[arg-type]
    assert mirror.bodies(next(r for r in WATCHED if r.kind == "HTTPRoute"))


def test_our_own_write_is_no_news_however_early_the_watch_shows_it() -> None:
    mirror = Mirror()
    mirror.put(route())
    mirror.changed.clear()
    with mirror.writing(HTTP_ROUTES, "inference", "iowa") as answered:
        mirror.put(route(2, hostnames=["a"]))
        answered(route(2, hostnames=["a"]))
    assert not mirror.changed.is_set()


@pytest.mark.parametrize("answer", [2, 4, None])
def test_what_others_write_meanwhile_is_news(answer: int | None) -> None:
    """Before ours, after ours, or while ours is refused."""
    mirror = Mirror()
    mirror.put(route())
    mirror.changed.clear()
    with contextlib.suppress(RuntimeError), mirror.writing(HTTP_ROUTES, "inference", "iowa") as answered:
        mirror.put(route(3, hostnames=["theirs"]))
        if answer is None:
            raise RuntimeError
        answered(route(answer, hostnames=["theirs"]))
    assert mirror.changed.is_set()
    mirror.changed.clear()
    mirror.put(route(5, hostnames=["later"]))
    assert mirror.changed.is_set()
