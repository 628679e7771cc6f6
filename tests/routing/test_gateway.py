"""What gateways say of a route, which references are granted, and managed routes."""

from __future__ import annotations

from typing import Any

import pytest

from green_llm.domain.request import ManagedTemplate
from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteRule, Rung
from green_llm.routing.documents import GATEWAY
from green_llm.routing.gateway_status import verified
from green_llm.routing.grants import forbidden
from green_llm.routing.managed import document_of, is_kept, owner_of
from green_llm.services.pairing import ManagedRoute

KEY = RouteKey(GATEWAY, "HTTPRoute", "inference", "iowa")


def said(kind: str, status: str, generation: int = 3, **more: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": "m"} | more


GOOD = [said("Accepted", "True"), said("ResolvedRefs", "True")]


def document(*parents: tuple[dict[str, Any], list[dict[str, Any]]], wanted: Any = None) -> dict[str, Any]:
    return {
        "metadata": {"name": "iowa", "namespace": "inference", "generation": 3, "uid": "u"},
        "spec": {"parentRefs": wanted or [{"name": "edge"}]},
        "status": {"parents": [{"parentRef": ref, "conditions": conditions} for ref, conditions in parents]},
    }


@pytest.mark.parametrize(
    ("body", "rung", "words"),
    [
        (document(({"name": "edge"}, GOOD)), Rung.ACCEPTED, ""),
        # The same parent with its defaults written out.
        (document(({"group": GATEWAY, "kind": "Gateway", "namespace": "inference", "name": "edge"}, GOOD)), Rung.ACCEPTED, ""),
        (document(), Rung.WRITTEN, "Gateway inference/edge has not said anything"),
        (document(({"name": "other"}, GOOD)), Rung.WRITTEN, "has not said anything"),
        (document(({"name": "edge"}, [said("Accepted", "True", 2), GOOD[1]])), Rung.WRITTEN, "has not judged this generation"),
        (document(({"name": "edge"}, GOOD[:1])), Rung.WRITTEN, "has not judged this generation"),
        (document(({"name": "edge"}, [said("Accepted", "False"), GOOD[1]])), Rung.REFUSED, "Accepted=False, R: m"),
        (document(({"name": "edge"}, [GOOD[0], said("ResolvedRefs", "False")])), Rung.IMPAIRED, "ResolvedRefs=False"),
        (document(({"name": "edge"}, [*GOOD, said("PartiallyInvalid", "True", message="Dropped Rule 1")])), Rung.IMPAIRED, "Dropped"),
        (document(({"name": "edge"}, [*GOOD, said("RouteRulesOverlap", "True")])), Rung.IMPAIRED, "RouteRulesOverlap: m"),
        (document(({"name": "edge"}, [GOOD[0], said("ResolvedRefs", "Unknown")])), Rung.WRITTEN, "ResolvedRefs=Unknown"),
        # All parents must accept; one that refuses is what is said.
        (document(({"name": "edge"}, GOOD), wanted=[{"name": "edge"}, {"name": "b"}]), Rung.WRITTEN, "inference/b"),
        (document(({"name": "edge"}, GOOD), ({"name": "b"}, [said("Accepted", "False"), GOOD[1]]),
                  wanted=[{"name": "edge"}, {"name": "b"}]), Rung.REFUSED, "inference/b"),
    ],
)  # fmt: skip
def test_the_rungs(body: dict[str, Any], rung: Rung, words: str) -> None:
    found = verified(body)
    assert found.rung is rung
    assert words in found.message


def grant(**to: str) -> dict[str, Any]:
    source = {"group": GATEWAY, "kind": "HTTPRoute", "namespace": "inference"}
    return {
        "metadata": {"namespace": "sites"},
        "spec": {"from": [source], "to": [{"group": "", "kind": "Service"} | to]},
    }


def test_back_ends_of_other_namespaces_need_a_grant() -> None:
    own, near, far = (
        BackendKey("", "Service", space, name)
        for space, name in (("inference", "own"), ("sites", "near"), ("sites", "far"))
    )
    route = Route(KEY, "u", (RouteRule("chat", {own: 1, near: 1, far: 1}),))
    assert forbidden(route, []) == {near, far}
    assert forbidden(route, [grant()]) == frozenset()
    assert forbidden(route, [grant(name="near")]) == {far}
    assert forbidden(route, [grant(kind="InferencePool")]) == {near, far}
    elsewhere = grant()
    elsewhere["metadata"]["namespace"] = "other"
    assert forbidden(route, [elsewhere]) == {near, far}
    stranger = grant()
    stranger["spec"]["from"][0]["namespace"] = "other"
    assert forbidden(route, [stranger]) == {near, far}


OWNER = {
    "apiVersion": "greenllm.dev/v1alpha1",
    "kind": "InferenceDemand",
    "metadata": {"name": "assistant", "uid": "d"},
}
NEAR, FAR = BackendKey("", "Service", "inference", "near", 80), BackendKey("", "Service", "sites", "far", 80)
TEMPLATE = ManagedTemplate(
    ("gateways/edge",), {"parentRefs": [{"name": "edge"}], "rules": [{"name": "chat", "filters": []}, {"name": "own"}]}
)
MANAGED = ManagedRoute("inference/assistant", KEY, TEMPLATE, {"chat": (NEAR, FAR)})


def weights(body: dict[str, Any]) -> list[int]:
    return [reference["weight"] for reference in body["spec"]["rules"][0]["backendRefs"]]


def test_a_managed_route_begins_with_equal_weights_and_keeps_those_in_force() -> None:
    new = document_of(MANAGED, OWNER, None)
    assert weights(new) == [1000, 1000]
    assert new["spec"]["rules"][0]["backendRefs"][1]["namespace"] == "sites"
    assert "namespace" not in new["spec"]["rules"][0]["backendRefs"][0]
    assert new["spec"]["rules"][1] == {"name": "own"}
    assert owner_of(new) == "inference/assistant"
    live = Route(KEY, "u", (RouteRule("chat", {NEAR: 300}),))
    assert weights(document_of(MANAGED, OWNER, live)) == [300, 0], "a new back-end begins with nothing"
    gone = Route(KEY, "u", (RouteRule("chat", {BackendKey("", "Service", "inference", "old"): 1000, NEAR: 0}),))
    assert weights(document_of(MANAGED, OWNER, gone)) == [1000, 1000], "never all zero"
    assert TEMPLATE.spec["rules"][0] == {"name": "chat", "filters": []}, "the template is not touched"


def test_a_live_route_may_have_more_than_is_wanted() -> None:
    wanted = {"spec": {"rules": [{"name": "chat", "backendRefs": [{"weight": 1}]}]}}
    live = {"spec": {"rules": [{"name": "chat", "matches": [], "backendRefs": [{"weight": 1, "kind": "Service"}]}]}}
    assert is_kept(wanted, live)
    assert not is_kept(wanted, {"spec": {"rules": []}})
    assert not is_kept({"a": 1}, {"a": 2})
    assert not is_kept({"a": 1}, {})
