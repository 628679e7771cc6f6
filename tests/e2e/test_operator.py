"""The operator on a real API server: what users do, and what goes wrong."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.control_plane import ControlPlane
from support.fault_proxy import FaultProxy
from support.operator_process import NAMESPACE, Operator, until

ROOT = Path(__file__).parents[2]
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
        "signals": {"electricityPrice": [{"source": f"price-{name}"}], "carbonIntensity": [{"source": "carbon"}]},
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


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[ControlPlane]:
    """The namespaces, RBAC and fleet; everything of it gone afterwards."""
    labels = {"greenllm.dev/inference": "true"}
    plane.kubectl(
        "apply", "-f", ROOT / "deploy" / "base" / "namespace.yaml", "-f", ROOT / "deploy" / "base" / "rbac.yaml"
    )
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS, "labels": labels}}, *FLEET)
    yield plane
    for name in json.loads(plane.kubectl("get", "idem", "-A", "-o", "json"))["items"]:
        meta = name["metadata"]
        plane.kubectl(
            "patch",
            "idem",
            meta["name"],
            "-n",
            meta["namespace"],
            "--type=merge",
            "-p",
            '{"metadata":{"finalizers":null}}',
            check=False,
        )
    for kind in ("idem", "httproutes", "endpointslices"):
        plane.kubectl("delete", kind, "--all", "-n", NS, "--wait=false", check=False)
    plane.kubectl("delete", "isite,greenpol,sigsrc", "--all", check=False)
    plane.kubectl(
        "delete", "configmaps,leases", "-l", "!kubernetes.io/metadata.name", "-n", NAMESPACE, "--all", check=False
    )


@pytest.fixture
def operator(cluster: ControlPlane) -> Iterator[Operator]:
    found = Operator(cluster)
    yield found
    found.stop()


def weights(plane: ControlPlane, name: str = "iowa", namespace: str = NS) -> dict[str, int]:
    body = plane.get("httproute", name, "-n", namespace)
    return {ref["name"].removeprefix("llm-"): ref["weight"] for ref in body["spec"]["rules"][0]["backendRefs"]}


def condition(plane: ControlPlane, kind: str, name: str, type_: str, *where: str) -> tuple[str, str] | None:
    found = plane.get(kind, name, *where).get("status", {}).get("conditions", [])
    return next(((c["status"], c["reason"]) for c in found if c["type"] == type_), None)


def test_from_resources_to_weights(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster) == {"near": 0, "cheap": 1000}, 40, "planned weights", operator)
    assert operator.healthy()
    body = cluster.get("httproute", "iowa", "-n", NS)
    assert body["spec"]["rules"][0]["filters"], "everything else stays"
    until(
        lambda: condition(cluster, "idem", "assistant", "Ready", "-n", NS) == ("True", "Ready"), 10, "status", operator
    )
    assert condition(cluster, "greenpol", "default", "Ready") == ("True", "Planned")
    assert condition(cluster, "isite", "cheap", "Ready") == ("True", "SignalsFresh")
    status = cluster.get("greenpol", "default")["status"]
    assert status["perHour"]["cost"] == "0.05"
    assert status["plan"]["termination"] == "optimal"
    assert status["observedGeneration"] == 1
    assert "greenllm_in_force_cost_per_hour" in operator.scrape()
    assert "Ready" in cluster.kubectl("get", "events", "-n", NS)
    # A price changes: the other site is cheaper now.
    cluster.apply(source("price-near", "20", "USD/MWh"))
    until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 10, "new weights", operator)
    # SIGTERM ends it cleanly and gives the lease back.
    assert operator.stop() == 0
    assert cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"] == ""


def test_an_unready_site_gets_nothing_within_two_seconds_and_comes_back(
    cluster: ControlPlane, operator: Operator
) -> None:
    cluster.apply(route(), demand(), slice_of("llm-near", ready=True), slice_of("llm-cheap", ready=True))
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    cluster.apply(slice_of("llm-cheap", ready=False))
    took = until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 10, "off the unready site", operator)
    assert took < 2.0
    # All unready: the weights stay.
    cluster.apply(slice_of("llm-near", ready=False))
    time.sleep(1.5)
    assert sum(weights(cluster).values()) == 1000
    cluster.apply(slice_of("llm-near", ready=True), slice_of("llm-cheap", ready=True))
    until(lambda: weights(cluster)["cheap"] == 1000, 10, "back again", operator)


def test_weights_reassert_and_filters_stay(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(guardrails={"maxShiftPercent": 30, "deadbandPercent": 2}), route(), demand())
    until(lambda: weights(cluster)["cheap"] == 300, 40, "the first step", operator)
    # The user's own apply puts the file's weights back: ours return at once, and the ramp does not begin anew.
    for again in range(2):
        text = yaml.safe_dump(route())
        cluster.kubectl("apply", *(["--server-side", "--force-conflicts"] if again else []), "-f", "-", text=text)
        until(lambda: weights(cluster)["cheap"] >= 300, 10, "reasserted", operator)
    assert cluster.get("httproute", "iowa", "-n", NS)["spec"]["rules"][0]["filters"]


def test_deletion_restores_the_originals(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(near=700, cheap=300), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    assert cluster.get("idem", "assistant", "-n", NS)["metadata"]["finalizers"] == ["greenllm.dev/restore"]
    cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")
    assert weights(cluster) == {"near": 700, "cheap": 300}
    assert "greenllm.dev/weights" not in (
        cluster.get("httproute", "iowa", "-n", NS)["metadata"].get("annotations") or {}
    )
    # Without a route the finalizer ends as well.
    cluster.apply(demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 20, "adopted again", operator)
    cluster.kubectl("delete", "httproute", "iowa", "-n", NS)
    cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")


def test_retain_keeps_the_last_weights(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(near=700, cheap=300), demand(deletionPolicy="Retain"))
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")
    assert weights(cluster)["cheap"] == 1000


def test_shadow_writes_nothing(cluster: ControlPlane) -> None:
    cluster.apply(policy(mode="Shadow"), route(near=600, cheap=400), demand())
    before = cluster.get("httproute", "iowa", "-n", NS)["metadata"]["resourceVersion"]
    replica = Operator(cluster, 7)
    try:
        until(
            lambda: condition(cluster, "idem", "assistant", "Routed", "-n", NS) == ("False", "Shadow"),
            40,
            "shadow",
            replica,
        )
        time.sleep(1.0)
    finally:
        replica.stop()
    assert cluster.get("httproute", "iowa", "-n", NS)["metadata"]["resourceVersion"] == before
    assert "finalizers" not in cluster.get("idem", "assistant", "-n", NS)["metadata"]
    status = cluster.get("greenpol", "default")["status"]
    assert status["perHour"]["cost"] == "0.08", "the user's own weights: 0.6 x 0.1 + 0.4 x 0.05"


def test_one_bad_demand_stops_nothing(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand(), demand("elsewhere", route="nowhere"), demand("second"))
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    until(
        lambda: condition(cluster, "idem", "elsewhere", "Accepted", "-n", NS) == ("False", "RouteNotFound"),
        10,
        "rejected",
        operator,
    )
    until(
        lambda: condition(cluster, "idem", "second", "Accepted", "-n", NS) == ("False", "RuleTaken"),
        10,
        "owned",
        operator,
    )
    # The route is created: it takes part at once.
    cluster.apply(route("nowhere"))
    until(lambda: weights(cluster, "nowhere")["cheap"] == 1000, 10, "joined", operator)


def test_a_namespace_that_is_not_admitted_gets_nothing(cluster: ControlPlane, operator: Operator) -> None:
    cluster.kubectl("create", "namespace", "stranger", check=False)
    cluster.apply(route(namespace="stranger"), demand(namespace="stranger"))
    until(
        lambda: (
            condition(cluster, "idem", "assistant", "Accepted", "-n", "stranger") == ("False", "NamespaceNotAllowed")
        ),
        40,
        "refused",
        operator,
    )
    assert weights(cluster, namespace="stranger") == {"near": 1000, "cheap": 0}
    cluster.kubectl("delete", "idem,httproutes", "--all", "-n", "stranger")


def test_a_steady_state_writes_nothing_but_leases_and_ledgers(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(periodSeconds=10), route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    time.sleep(3.0)
    start = len(list(cluster.audit()))
    time.sleep(12.0)
    written = [
        entry.get("objectRef", {}).get("resource")
        for entry in list(cluster.audit())[start:]
        if entry["verb"] in ("create", "update", "patch", "delete") and "green-llm" in entry["user"]["username"]
    ]
    assert set(written) <= {"leases", "configmaps", "greenpolicies"}, written


def test_two_replicas_have_one_writer_and_take_over(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    other = Operator(cluster, 1)
    try:
        until(other.healthy, 30, "the second replica is up", other)
        first = cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"]
        operator.signal(signal.SIGKILL)
        cluster.apply(source("price-near", "20", "USD/MWh"))
        until(lambda: weights(cluster)["near"] == 1000, 30, "taken over", other)
        assert cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"] != first
    finally:
        other.stop()


def test_a_holder_that_was_stopped_writes_nothing_afterwards(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    operator.signal(signal.SIGSTOP)
    other = Operator(cluster, 1)
    try:
        cluster.apply(source("price-near", "20", "USD/MWh"))
        until(lambda: weights(cluster)["near"] == 1000, 40, "taken over", other)
        holder = cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"]
        start = len(list(cluster.audit()))
        operator.signal(signal.SIGCONT)
        time.sleep(6.0)
        writes = [
            e
            for e in list(cluster.audit())[start:]
            if e.get("objectRef", {}).get("resource") == "httproutes" and e["verb"] == "patch"
        ]
        assert not writes
        assert cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"] == holder
    finally:
        other.stop()


def test_a_restart_counts_nothing_twice(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(periodSeconds=10), route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    operator.signal(signal.SIGKILL)
    again = Operator(cluster, 1)
    try:

        def charged() -> float:
            data = cluster.get("configmap", "green-llm-ledger-default", "-n", NAMESPACE)["data"]["ledger.json"]
            return float(json.loads(data)["used_liters"])

        before, begun = charged(), time.monotonic()
        until(lambda: charged() > before, 60, "charged on", again)
        # 1 L an hour: what was charged is no more than the time that has passed since, and what the first one left over.
        assert charged() * 3600 <= time.monotonic() - begun + 120
        found = json.loads(cluster.get("configmap", "green-llm-ledger-default", "-n", NAMESPACE)["data"]["ledger.json"])
        assert found["uncharged_seconds"] == 0
    finally:
        again.stop()


def test_the_api_server_comes_back(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    cluster.stop_program("kube-apiserver")
    time.sleep(20.0)
    cluster.start_api_server()
    cluster.apply(source("price-near", "20", "USD/MWh"))
    until(lambda: weights(cluster)["near"] == 1000, 60, "planned again", operator)


def test_grpc_routes_too(cluster: ControlPlane, operator: Operator) -> None:
    body = route("calls")
    body["kind"] = "GRPCRoute"
    spec = demand("calls")
    spec["spec"]["areas"][0]["routes"][0]["targetRef"] = {"kind": "GRPCRoute", "name": "calls"}
    cluster.apply(body, spec)

    def shares() -> list[int]:
        found = cluster.get("grpcroute", "calls", "-n", NS)["spec"]["rules"][0]["backendRefs"]
        return [ref["weight"] for ref in found]

    until(lambda: shares() == [0, 1000], 40, "planned weights", operator)
    cluster.kubectl("delete", "grpcroute", "calls", "-n", NS)


def test_recordings_in_a_config_map(cluster: ControlPlane, operator: Operator) -> None:
    rows = "start,end,value,unit,quality,issued_at\n2026-01-01T00:00Z,2036-01-01T00:00Z,150,USD/MWh,forecast,2026-01-01T00:00Z\n"
    csv = {
        "provider": "Csv",
        "csv": {"configMapRef": {"name": "prices", "key": "cheap.csv"}},
        "staleAfterSeconds": 31536000,
    }
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "prices", "namespace": NAMESPACE},
            "data": {"cheap.csv": rows},
        }
    )
    cluster.kubectl("delete", "sigsrc", "price-cheap")
    cluster.apply(ours("SignalSource", "price-cheap", csv), route(near=0, cheap=1000), demand())
    until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 40, "150 USD/MWh is dearer than 100", operator)


def test_deleting_everything_leaves_nothing_behind(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(near=700, cheap=300), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    # The policy goes first: weights stay as they are; then the demand: the originals come back.
    cluster.kubectl("delete", "greenpol", "default", "--timeout=20s")
    time.sleep(1.0)
    assert weights(cluster)["cheap"] == 1000
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "PolicyNotFound"),
        20,
        "said",
        operator,
    )
    cluster.kubectl("delete", "idem", "assistant", "-n", NS, "--timeout=20s")
    assert weights(cluster) == {"near": 700, "cheap": 300}
    assert operator.healthy()


def test_a_namespace_can_be_deleted(cluster: ControlPlane, operator: Operator) -> None:
    labels = {"greenllm.dev/inference": "true"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "brief", "labels": labels}})
    cluster.apply(route(namespace="brief"), demand(namespace="brief"))
    until(lambda: weights(cluster, namespace="brief")["cheap"] == 1000, 40, "planned weights", operator)
    cluster.kubectl("delete", "namespace", "brief", "--timeout=60s")
    assert operator.healthy()


@pytest.mark.parametrize("status", [409, 422, 429, 500])
def test_injected_errors_delay_and_stop_nothing(cluster: ControlPlane, status: int) -> None:
    # Conflicts and refusals answer writes; an overloaded or broken server answers anything that is ours.
    left = {"PATCH": 3, "PUT": 2} | ({"GET": 2} if status in (429, 500) else {})

    def fault(method: str, path: str) -> int | None:
        ours = "/greenllm.dev/" in path or f"/namespaces/{NAMESPACE}/" in path or "/httproutes/" in path
        if not ours or "watch=true" in path or left.get(method, 0) <= 0:
            return None
        left[method] -= 1
        return status

    proxy = FaultProxy(cluster.port, cluster.root, fault)
    replica = Operator(cluster, 3, proxy.url)
    try:
        cluster.apply(route(), demand())
        until(lambda: weights(cluster) == {"near": 0, "cheap": 1000}, 60, "planned weights", replica)
        until(
            lambda: condition(cluster, "idem", "assistant", "Ready", "-n", NS) == ("True", "Ready"),
            30,
            "status",
            replica,
        )
        assert {answer[2] for answer in proxy.answered} == {status}
        assert replica.healthy()
    finally:
        replica.stop()
        proxy.stop()


def test_a_thousand_demands(cluster: ControlPlane) -> None:
    """20,000 pairs, 3 sites, 1 slot in one policy, without falling behind, under 600 MB."""
    areas = [
        {"name": f"area-{n}", "location": {"latitude": "41.6", "longitude": "-93.6"}, "timeZone": "America/Chicago"}
        for n in range(20)
    ]
    cluster.apply(
        site("third"), source("price-third", "80", "USD/MWh"),
        policy(areas=areas, horizon={"slotSeconds": 3600, "slots": 1}, periodSeconds=30, mode="Shadow"),
    )  # fmt: skip
    entry = {"class": "chat", "profile": {"queriesPerHour": [10] * 24}}
    many = [
        demand(f"demand-{n}", areas=[{"name": area["name"], "demand": [entry]} for area in areas], backends=[])
        for n in range(1000)
    ]
    begun = time.monotonic()
    for start in range(0, 1000, 100):
        cluster.apply(*many[start : start + 100], server_side=True)
    replica = Operator(cluster, 5)
    print(f"applied in {time.monotonic() - begun:.0f} s")
    try:
        until(lambda: (cluster.get("greenpol", "default").get("status") or {}).get("plan"), 240, "a plan", replica)
        first = cluster.get("greenpol", "default")["status"]["plan"]["solvedTime"]
        until(
            lambda: cluster.get("greenpol", "default")["status"]["plan"]["solvedTime"] != first,
            180,
            "another plan",
            replica,
        )
        pages = int(Path(f"/proc/{replica.process.pid}/statm").read_text().split()[1])
        print(f"second plan after {time.monotonic() - begun:.0f} s")
        print(replica.scrape().split("greenllm_interval_step_seconds", 3)[-1][:600])
        assert replica.healthy()
        print(f"memory {pages * 4096 / 1e6:.0f} MB")
        assert pages * 4096 < 600e6
    finally:
        replica.stop()
        cluster.kubectl("delete", "idem", "--all", "-n", NS, "--wait=false")


def test_rbac_is_what_is_used(cluster: ControlPlane) -> None:
    """After all scenarios of this file: (group, resource, verb) granted equals (group, resource, verb) used."""
    granted: set[tuple[str, str, str]] = set()
    for document in yaml.safe_load_all((ROOT / "deploy" / "base" / "rbac.yaml").read_text()):
        for rule in document.get("rules", []):
            granted |= {(g, r, v) for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
    used: set[tuple[str, str, str]] = set()
    for entry in cluster.audit():
        ref = entry.get("objectRef")
        if ref is not None and entry["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:green-llm":
            name = ref["resource"] + (f"/{ref['subresource']}" if ref.get("subresource") else "")
            used.add((ref.get("apiGroup", ""), name, entry["verb"]))
            # A namespace that is being deleted forbids creation too; that is no question of RBAC.
            assert entry["annotations"].get("authorization.k8s.io/decision") == "allow", (ref, entry["verb"])
    assert "*" not in {part for grant in granted for part in grant}
    assert used - granted == set()
    # Written only where something is wrong with a source; no scenario here has one.
    assert granted - used <= {("greenllm.dev", "signalsources/status", "patch")}
