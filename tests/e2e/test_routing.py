"""Routes on a real API server: every kind, who may own them, and who else writes them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster_objects import NS, condition, demand, policy, route, site, source, weights
from support.control_plane import ControlPlane, module_folder
from support.operator_process import Operator, until

ISTIO = "istio.io/api@v1.31.1"


def steering(target: dict[str, str], name: str = "assistant", **changes: Any) -> dict[str, Any]:
    """A demand that steers another kind of route."""
    body = demand(name, **changes)
    body["spec"]["areas"][0]["routes"][0]["targetRef"] = target
    return body


def test_a_virtual_service_whose_kind_is_installed_later(cluster: ControlPlane, operator: Operator) -> None:
    body = steering({"group": "networking.istio.io", "kind": "VirtualService", "name": "iowa"})
    for backend in body["spec"]["backends"]:
        del backend["backendRef"]["port"]
    cluster.apply(body)
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "RouteNotFound"),
        40, "no such route yet", operator,
    )  # fmt: skip
    crds = module_folder(ISTIO) / "kubernetes" / "customresourcedefinitions.gen.yaml"
    try:
        cluster.kubectl("apply", "--server-side", "-f", crds)
        cluster.kubectl("wait", "--for=condition=Established", "crd/virtualservices.networking.istio.io")
        destinations = [{"destination": {"host": f"llm-{name}"}, "weight": 50} for name in ("near", "cheap")]
        other = {"name": "other", "route": [{"destination": {"host": "elsewhere.example.com"}}]}
        service = {
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "iowa", "namespace": NS},
            "spec": {"hosts": ["llm"], "http": [other, {"name": "chat", "timeout": "30s", "route": destinations}]},
        }  # fmt: skip
        until(lambda: "created" in cluster.apply(service), 20, "the kind is served")

        def shares() -> list[Any]:
            return [entry.get("weight", 0) for entry in rules()[1]["route"]]

        def rules() -> Any:
            return cluster.get("virtualservice", "iowa", "-n", NS)["spec"]["http"]

        until(lambda: shares() == [0, 100], 60, "weights of 100", operator)
        assert rules()[0] == other
        assert rules()[1]["timeout"] == "30s"
        cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")
        assert shares() == [50, 50]
        assert operator.healthy()
    finally:
        cluster.kubectl("delete", "-f", crds, "--wait=false", check=False)


def test_an_export_for_other_load_balancers(cluster: ControlPlane, operator: Operator) -> None:
    references = [{"name": "llm-near", "port": 8000}, {"name": "llm-cheap", "port": 8000, "address": "192.0.2.1"}]
    export = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "green-llm-weights", "namespace": NS},
        "data": {"chat": json.dumps(references), "note": "kept"},
    }  # fmt: skip
    cluster.apply(export, steering({"group": "", "kind": "ConfigMap", "name": "green-llm-weights"}))

    def data() -> Any:
        return cluster.get("configmap", "green-llm-weights", "-n", NS)["data"]

    until(lambda: [r.get("weight") for r in json.loads(data()["chat"])] == [0, 1000], 40, "weights", operator)
    assert json.loads(data()["chat"])[1]["address"] == "192.0.2.1"
    assert data()["note"] == "kept"
    cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")
    cluster.kubectl("delete", "configmap", "green-llm-weights", "-n", NS)


def managed(gateway: str = "edge") -> dict[str, Any]:
    body = demand()
    body["spec"]["areas"][0]["routes"][0] |= {
        "targetRef": {"name": "owned"},
        "management": "Managed",
        "template": {
            "parentRefs": [{"name": gateway, "namespace": "gateways"}],
            "hostnames": ["llm.example.com"],
            "rules": [{"name": "chat", "matches": [{"path": {"type": "PathPrefix", "value": "/chat"}}]}],
        },
    }
    return body


def test_a_managed_route_is_made_kept_and_goes_with_its_demand(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(limits={"allowManaged": ["gateways/edge"]}), managed())
    until(lambda: "owned" in cluster.kubectl("get", "httproutes", "-n", NS, "-o", "name"), 40, "made", operator)
    until(lambda: weights(cluster, "owned") == {"near": 0, "cheap": 1000}, 20, "steered", operator)
    body = cluster.get("httproute", "owned", "-n", NS)
    assert body["spec"]["hostnames"] == ["llm.example.com"]
    assert body["metadata"]["ownerReferences"][0]["name"] == "assistant"
    # What somebody takes out comes back, and the weights stay.
    cluster.kubectl(
        "patch", "httproute", "owned", "-n", NS, "--type=merge", "-p", '{"spec":{"hostnames":["other.example.com"]}}'
    )
    until(
        lambda: cluster.get("httproute", "owned", "-n", NS)["spec"]["hostnames"] == ["llm.example.com"], 20, "kept",
        operator,
    )  # fmt: skip
    assert weights(cluster, "owned") == {"near": 0, "cheap": 1000}
    generation = cluster.get("httproute", "owned", "-n", NS)["metadata"]["generation"]
    time.sleep(3.0)
    assert cluster.get("httproute", "owned", "-n", NS)["metadata"]["generation"] == generation, "and is left in peace"
    # Another route instead: the first one is not left behind.
    renamed = managed()
    renamed["spec"]["areas"][0]["routes"][0]["targetRef"]["name"] = "renamed"
    cluster.apply(renamed)
    until(
        lambda: cluster.kubectl("get", "httproutes", "-n", NS, "-o", "name").split()
        == ["httproute.gateway.networking.k8s.io/renamed"],
        20, "only the other", operator,
    )  # fmt: skip
    cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")
    until(
        lambda: "renamed" not in cluster.kubectl("get", "httproutes", "-n", NS, "-o", "name"), 30, "collected", operator
    )


def test_a_managed_grpc_route(cluster: ControlPlane, operator: Operator) -> None:
    body = managed()
    target = body["spec"]["areas"][0]["routes"][0]
    target["targetRef"] = {"kind": "GRPCRoute", "name": "calls"}
    target["template"]["rules"] = [{"name": "chat", "matches": [{"method": {"service": "llm.Chat"}}]}]
    cluster.apply(policy(limits={"allowManaged": ["gateways/edge"]}), body)

    def shares() -> list[int]:
        return [ref["weight"] for ref in cluster.get("grpcroute", "calls", "-n", NS)["spec"]["rules"][0]["backendRefs"]]

    until(lambda: "calls" in cluster.kubectl("get", "grpcroutes", "-n", NS, "-o", "name"), 40, "made", operator)
    until(lambda: shares() == [0, 1000], 20, "steered", operator)
    other = managed()
    cluster.apply(other)
    until(lambda: not cluster.kubectl("get", "grpcroutes", "-n", NS, "-o", "name"), 20, "not named any more", operator)


def test_a_managed_route_needs_the_policys_leave(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(limits={"allowManaged": ["gateways/edge"]}), managed(gateway="private"))
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "GatewayNotAllowed"),
        40, "refused", operator,
    )  # fmt: skip
    # A route of somebody else is not taken over.
    cluster.apply(route("owned", near=600, cheap=400), managed())
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "RouteNotOurs"),
        20, "refused too", operator,
    )  # fmt: skip
    assert weights(cluster, "owned") == {"near": 600, "cheap": 400}


def test_back_ends_elsewhere_need_a_grant(cluster: ControlPlane, operator: Operator) -> None:
    cluster.kubectl("create", "namespace", "sites", check=False)
    body, spec = route(), demand()
    body["spec"]["rules"][0]["backendRefs"][1]["namespace"] = "sites"
    spec["spec"]["backends"][1]["backendRef"]["namespace"] = "sites"
    cluster.apply(body, spec)
    until(
        lambda: condition(cluster, "idem", "assistant", "Degraded", "-n", NS) == ("True", "SitesUnavailable"), 40,
        "said", operator,
    )  # fmt: skip
    assert weights(cluster) == {"near": 1000, "cheap": 0}
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "inference", "namespace": "sites"},
        "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": NS}],
                 "to": [{"group": "", "kind": "Service", "name": "llm-cheap"}]},
    }  # fmt: skip
    cluster.apply(grant)
    until(lambda: weights(cluster) == {"near": 0, "cheap": 1000}, 10, "granted", operator)
    cluster.kubectl("delete", "referencegrant", "inference", "-n", "sites")
    until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 10, "taken back", operator)


def judge(cluster: ControlPlane, status: str, reason: str) -> None:
    """Say what a gateway says of the current generation of the route."""
    generation = cluster.get("httproute", "iowa", "-n", NS)["metadata"]["generation"]
    common = {"observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "said"}
    conditions = [
        {"type": "Accepted", "status": status, "reason": reason} | common,
        {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs"} | common,
    ]
    parent = {"parentRef": {"name": "gateway"}, "controllerName": "example.com/gateway", "conditions": conditions}
    cluster.kubectl(
        "patch", "httproute", "iowa", "-n", NS, "--subresource=status", "--type=merge", "-p",
        json.dumps({"status": {"parents": [parent]}}),
    )  # fmt: skip


def test_what_the_gateway_says_is_reported_and_obeyed(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    until(
        lambda: condition(cluster, "idem", "assistant", "Routed", "-n", NS) == ("True", "Written"), 10, "written",
        operator,
    )  # fmt: skip
    judge(cluster, "True", "Accepted")
    until(
        lambda: condition(cluster, "idem", "assistant", "Routed", "-n", NS) == ("True", "Accepted"), 10, "accepted",
        operator,
    )  # fmt: skip
    assert cluster.get("idem", "assistant", "-n", NS)["status"]["routes"] == [
        {"kind": "HTTPRoute", "name": "iowa", "rung": "Accepted"}
    ]
    judge(cluster, "False", "NotAllowedByListeners")
    until(
        lambda: condition(cluster, "idem", "assistant", "Ready", "-n", NS) == ("False", "RouteNotAccepted"), 10,
        "refused", operator,
    )  # fmt: skip
    # Its traffic stays in the model with the weights in force; nothing is written while it is refused.
    cluster.apply(source("price-near", "20", "USD/MWh"))
    time.sleep(2.0)
    assert weights(cluster)["cheap"] == 1000


def test_a_fight_over_weights_is_left(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    theirs = {"near": 1000, "cheap": 0}
    for _ in range(3):
        until(lambda: weights(cluster)["cheap"] == 1000, 40, "ours", operator)
        assert condition(cluster, "idem", "assistant", "Contended", "-n", NS) != ("True", "Overwritten")
        until(lambda: condition(cluster, "idem", "assistant", "Contended", "-n", NS) is not None, 10, "a status")
        patch = [
            {"op": "add", "path": f"/spec/rules/0/backendRefs/{n}/weight", "value": w}
            for n, w in enumerate(theirs.values())
        ]
        cluster.kubectl("patch", "httproute", "iowa", "-n", NS, "--type=json", "-p", json.dumps(patch))
    until(
        lambda: condition(cluster, "idem", "assistant", "Contended", "-n", NS) == ("True", "Overwritten"), 10,
        "contended", operator,
    )  # fmt: skip
    until(lambda: "Contended" in cluster.kubectl("get", "events", "-n", NS), 10, "one event", operator)
    cluster.kubectl("patch", "httproute", "iowa", "-n", NS, "--type=json", "-p", json.dumps(patch))
    time.sleep(3.0)
    assert weights(cluster) == theirs, "we have stopped"
    assert condition(cluster, "idem", "assistant", "Ready", "-n", NS) == ("False", "Contended")
    assert cluster.get("idem", "assistant", "-n", NS)["status"]["perHour"]["cost"] == "0.1", "what is in force"


def test_a_demand_that_is_refused_later_keeps_its_traffic(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(periodSeconds=10), route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    cluster.kubectl("label", "namespace", NS, "greenllm.dev/inference-")
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "NamespaceNotAllowed"),
        20, "refused", operator,
    )  # fmt: skip
    time.sleep(1.0)
    assert weights(cluster)["cheap"] == 1000
    until(lambda: cluster.get("greenpol", "default")["status"]["perHour"]["cost"] == "0.05", 20, "still counted")
    # Also after a restart: what was accepted is in the cluster.
    operator.stop()
    again = Operator(cluster, 1)
    try:
        solved = cluster.get("greenpol", "default")["status"]["plan"]["solvedTime"]
        until(lambda: cluster.get("greenpol", "default")["status"]["plan"]["solvedTime"] != solved, 40, "again", again)
        assert cluster.get("greenpol", "default")["status"]["perHour"]["cost"] == "0.05"
    finally:
        again.stop()


def test_an_upgrade_of_the_chart_that_made_the_route(cluster: ControlPlane, operator: Operator, tmp_path: Path) -> None:
    """Its owner upgrades it with Helm: what is new comes, the weights return, and the ramp goes on from where it was."""
    helm = cluster.programs / "helm"
    if not helm.exists():
        pytest.skip("no helm here: run `just e2e-tools`")
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: llm\nversion: 1.0.0\n")
    template = yaml.safe_dump(route()).replace("kept", "{{ .Values.header }}")
    (tmp_path / "templates" / "route.yaml").write_text(template)

    def upgrade(header: str) -> None:
        command = [helm, "--kubeconfig", cluster.kubeconfig, "upgrade", "--install", "llm", tmp_path, "-n", NS]
        subprocess.run([*map(str, command), "--set", f"header={header}"], check=True, capture_output=True)

    upgrade("one")
    cluster.apply(policy(guardrails={"maxShiftPercent": 30}, periodSeconds=3600), demand())
    until(lambda: weights(cluster)["cheap"] == 300, 40, "the first step", operator)
    upgrade("two")
    until(lambda: weights(cluster)["cheap"] >= 300, 10, "reasserted", operator)
    filters = cluster.get("httproute", "iowa", "-n", NS)["spec"]["rules"][0]["filters"]
    assert filters[0]["requestHeaderModifier"]["set"][0]["value"] == "two"


def test_a_draining_site_is_left_by_the_ramp_of_the_policy(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    cluster.apply(site("cheap", state="Draining"))
    until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 10, "drained", operator)
