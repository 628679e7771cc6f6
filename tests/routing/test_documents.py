"""Where each kind of route keeps its weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from green_llm.domain.routes import BackendKey, RouteWrite, WeightEdit
from green_llm.routing.documents import ADAPTERS, GATEWAY, ISTIO, adapter_of, edits, key_of, read_route


def service(name: str, port: int = 0, namespace: str = "inference") -> BackendKey:
    return BackendKey("", "Service", namespace, name, port)


def virtual_service(*routes: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "iowa", "namespace": "inference"},
        "spec": {"hosts": ["llm"], "http": [{"name": "chat", "route": list(routes)}]},
    }  # fmt: skip


def to(host: str, weight: int | None = None, **destination: Any) -> dict[str, Any]:
    return {"destination": {"host": host} | destination} | ({} if weight is None else {"weight": weight})


@pytest.mark.parametrize(
    ("destination", "key"),
    [
        (to("llm-a"), service("llm-a")),
        (to("llm-a", port={"number": 80}), service("llm-a", 80)),
        (to("llm-a.sites.svc.cluster.local"), service("llm-a", namespace="sites")),
        (to("llm-a.sites.svc"), service("llm-a", namespace="sites")),
        (to("llm.example.com"), BackendKey(ISTIO, "Host", "inference", "llm.example.com")),
        (to("llm-a", subset="v2"), BackendKey(ISTIO, "Subset", "inference", "llm-a/v2")),
    ],
)
def test_a_destination_is_a_back_end(destination: dict[str, Any], key: BackendKey) -> None:
    document = virtual_service(destination, to("other", 0))
    route = read_route(document, ADAPTERS[ISTIO, "VirtualService"])
    assert next(iter(route.rules[0].weights)) == key
    assert route.scale == 100


def test_a_destination_without_weight_has_none_unless_it_is_alone() -> None:
    adapter = ADAPTERS[ISTIO, "VirtualService"]
    alone = read_route(virtual_service(to("a")), adapter)
    beside = read_route(virtual_service(to("a"), to("b", 100)), adapter)
    assert alone.rules[0].weights == {service("a"): 100}
    assert beside.rules[0].weights == {service("a"): 0, service("b"): 100}


def test_edits_of_a_virtual_service() -> None:
    document = virtual_service(to("a"), to("b", 100))
    route = read_route(document, ADAPTERS[ISTIO, "VirtualService"])
    change = RouteWrite(route, {"chat": {service("a"): 40, service("b"): 60}})
    assert edits(document, change) == [
        WeightEdit(("spec", "http", 0, "route", 0), 40),
        WeightEdit(("spec", "http", 0, "route", 1), 60),
    ]


def export(text: str, name: str = "green-llm-weights") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "inference"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"chat": text, "note": "no list"}}


def test_an_export_is_a_route_whose_rule_is_a_text() -> None:
    document = export("[{name: a, port: 80, address: 192.0.2.1}, {name: b, weight: 1000}]")
    adapter = adapter_of(document)
    assert adapter is not None
    route = read_route(document, adapter)
    assert [rule.name for rule in route.rules] == ["chat"]
    assert route.rules[0].weights == {service("a", 80): 0, service("b"): 1000}
    (edit,) = edits(document, RouteWrite(route, {"chat": {service("a", 80): 250, service("b"): 750}}))
    assert edit.path == ("data", "chat")
    assert json.loads(str(edit.weight)) == [
        {"name": "a", "port": 80, "address": "192.0.2.1", "weight": 250}, {"name": "b", "weight": 750}
    ]  # fmt: skip
    assert not edits(document, RouteWrite(route, {"chat": route.rules[0].weights}))


def test_no_other_config_map_is_a_route() -> None:
    assert adapter_of(export("[]", "prices")) is None
    assert key_of(export("[]")).group == ""
    assert adapter_of({"apiVersion": f"{GATEWAY}/v1", "kind": "TCPRoute", "metadata": {"name": "x"}}) is None


@pytest.mark.parametrize("text", ["{", "a: b", "[1]", "text"])
def test_what_is_no_list_of_back_ends_is_no_rule(text: str) -> None:
    document = export(text)
    assert not read_route(document, ADAPTERS["", "ConfigMap"]).rules
