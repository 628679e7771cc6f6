"""Resources of the e2e tests, and what is read back."""

from __future__ import annotations

from typing import Any

from support.control_plane import ControlPlane

NS = "inference"
GATEWAY = "gateway.networking.k8s.io/v1"
BASIS = {"signal": "Average", "factors": "Lifecycle", "boundary": "Consumption"}


def ours(kind: str, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "greenllm.dev/v1alpha1", "kind": kind, "metadata": {"name": name} | metadata, "spec": spec}


def source(name: str, value: str, unit: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"provider": "Static", "static": {"value": value, "unit": unit}}
    return ours("SignalSource", name, spec | ({"carbonBasis": BASIS} if unit == "g/kWh" else {}))


def site(name: str, **changes: Any) -> dict[str, Any]:
    spec = {
        "location": {"latitude": "41.6", "longitude": "-93.6"}, "pue": "1.0",
        "water": {"wueLitersPerKWh": "1", "ewifLitersPerKWh": "0"}, "power": {"gridLimitKilowatts": 1000},
        "capacity": [{"name": "gpu", "amount": "10"}],
        "performance": [{
            "profile": "large", "throughputTokensPerSecond": 1000000000, "millijoulesPerInputToken": 3600,
            "millijoulesPerOutputToken": 3600, "resourceSecondsPerThousandTokens": [{"name": "gpu", "amount": "1"}],
        }],
        "signals": {"electricityPrice": [{"source": f"price-{name}", "basis": "DayAhead"}], "carbonIntensity": [{"source": "carbon"}]},
    }  # fmt: skip
    return ours("InferenceSite", name, spec | changes)


def policy(**changes: Any) -> dict[str, Any]:
    spec = {
        "mode": "Active", "periodSeconds": 60, "horizon": {"slotSeconds": 3600, "slots": 4},
        "objectives": [{"name": "Cost", "tolerancePercent": "0"}, {"name": "Delay"}],
        "sites": {}, "allowedNamespaces": {"matchLabels": {"greenllm.dev/inference": "true"}},
        "water": {"budgetLiters": 100000},
        "areas": [{
            "name": "iowa", "location": {"latitude": "41.6", "longitude": "-93.6"}, "timeZone": "America/Chicago",
            "network": [{"site": "near", "latencyMilliseconds": 10}, {"site": "cheap", "latencyMilliseconds": 50}],
        }],
    }  # fmt: skip
    return ours("GreenPolicy", "default", spec | changes)


def demand(name: str = "assistant", namespace: str = NS, route: str = "iowa", **changes: Any) -> dict[str, Any]:
    spec = {
        "policyRef": {"name": "default"},
        "classes": [{"name": "chat", "profile": "large", "inputTokens": 600, "outputTokens": 400}],
        "areas": [{
            "name": "iowa", "demand": [{"class": "chat", "profile": {"queriesPerHour": [1000] * 24}}],
            "routes": [{"targetRef": {"name": route}, "rules": [{"class": "chat", "rule": "chat"}]}],
        }],
        "backends": [{"site": s, "backendRef": {"name": f"llm-{s}", "port": 8000}} for s in ("near", "cheap")],
    }  # fmt: skip
    return ours("InferenceDemand", name, spec | changes, namespace=namespace)


def route(name: str = "iowa", near: int = 1000, cheap: int = 0, namespace: str = NS, **extra: Any) -> dict[str, Any]:
    rule = {
        "name": "chat",
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-site", "value": "kept"}]}}
        ],
        "backendRefs": [
            {"name": "llm-near", "port": 8000, "weight": near},
            {"name": "llm-cheap", "port": 8000, "weight": cheap},
        ],
    }
    return {
        "apiVersion": GATEWAY,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": [rule]} | extra,
    }


def slice_of(service: str, *, ready: bool) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "namespace": NS, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready}}],
        "ports": [{"port": 8000}],
    }


FLEET = [
    site("near"), site("cheap"), policy(), source("price-near", "100", "USD/MWh"),
    source("price-cheap", "50", "USD/MWh"), source("carbon", "400", "g/kWh"),
]  # fmt: skip


def weights(plane: ControlPlane, name: str = "iowa", namespace: str = NS) -> dict[str, int]:
    body = plane.get("httproute", name, "-n", namespace)
    return {ref["name"].removeprefix("llm-"): ref["weight"] for ref in body["spec"]["rules"][0]["backendRefs"]}


def condition(plane: ControlPlane, kind: str, name: str, type_: str, *where: str) -> tuple[str, str] | None:
    found = plane.get(kind, name, *where).get("status", {}).get("conditions", [])
    return next(((c["status"], c["reason"]) for c in found if c["type"] == type_), None)
