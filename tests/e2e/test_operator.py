"""The operator on a real API server: what users do, and what goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from green_llm.store.audit_files import AuditFiles
from support.cluster_objects import (
    NS,
    condition,
    demand,
    ours,
    policy,
    route,
    site,
    slice_of,
    source,
    weights,
)
from support.control_plane import ControlPlane
from support.fault_proxy import FaultProxy
from support.operator_process import NAMESPACE, Operator, until

ROOT = Path(__file__).parents[2]
EVER = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


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
    page = json.loads(operator.ask("/api/v1/now"))
    assert page["rates"][0]["in_force"] == pytest.approx(0.05)
    found = {(entry["kind"], entry["name"]): entry["ready"] for entry in page["resources"]}
    assert (found["InferenceDemand", "assistant"], found["InferenceSite", "cheap"]) == (True, True)
    assert "plan: optimal" in operator.ask("/")
    # A price changes: the other site is cheaper now.
    cluster.apply(source("price-near", "20", "USD/MWh"))
    until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 10, "new weights", operator)
    # SIGTERM ends it cleanly and gives the lease back.
    assert operator.stop() == 0
    assert cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"] == ""


def test_page_and_metrics_are_behind_the_same_token(cluster: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    closed = Operator(cluster, 1, GREEN_LLM_TOKEN_FILE=str(tmp_path / "token"))
    try:
        until(closed.healthy, 30, "its health needs no token", closed)
        for path in ("/", "/api/v1", "/api/v1/now", "/account", "/static/page.js", "/metrics"):
            assert closed.refusal(path)[0] == 401, path
        assert "greenllm_" in closed.ask("/metrics", Authorization="Bearer s3cret")
        assert '"kind": "Index"' in closed.ask("/api/v1", Authorization="Bearer s3cret")
    finally:
        closed.stop()


def test_why_an_interval_comes_to_nothing_is_on_the_page(cluster: ControlPlane) -> None:
    name = "green-llm-ledger-default"
    damaged = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}}
    cluster.apply(route(), demand(), {**damaged, "data": {"ledger.json": "{"}})
    alone = Operator(cluster, 1)
    try:
        until(alone.healthy, 30, "up", alone)

        def said() -> str:
            return str(json.loads(alone.refusal("/api/v1/now")[1])["message"])

        until(lambda: "the ledger is damaged" in said(), 30, "the reason", alone)
        assert said().startswith(f"policy default: ConfigMap {NAMESPACE}/{name}: ")
        cluster.kubectl("delete", "configmap", name, "-n", NAMESPACE)
        until(lambda: weights(cluster)["cheap"] == 1000, 60, "planned once it is gone", alone)
        until(lambda: json.loads(alone.ask("/api/v1"))["policies"][0]["trouble"] is None, 10, "and well again", alone)
    finally:
        alone.stop()


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
    start = len(list(cluster.audit()))
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
    written = {
        (entry["objectRef"]["resource"], entry["objectRef"].get("subresource"))
        for entry in list(cluster.audit())[start:]
        if entry["verb"] in ("create", "update", "patch", "delete") and "green-llm" in entry["user"]["username"]
    }
    status = {(kind, "status") for kind in ("inferencedemands", "greenpolicies", "inferencesites")}
    assert written <= {("leases", None), ("configmaps", None), ("events", None)} | status, "nothing else, not once"
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
        until(lambda: "in_force_cost_per_hour{" in operator.scrape(), 10, "the holder exports", operator)
        assert "in_force_cost_per_hour{" not in other.scrape(), "and nobody else: they would be counted twice"
        first = cluster.get("lease", "green-llm-default", "-n", NAMESPACE)["spec"]["holderIdentity"]
        # The page of the one that stands by says who plans, and how to get there.
        status, text = other.refusal("/api/v1/now")
        answer = json.loads(text)
        pod = first.rpartition("-")[0]
        assert (status, answer["message"]) == (
            404,
            f"this replica stands by; default is planned by {pod}: kubectl port-forward -n {NAMESPACE} pod/{pod} {other.metrics}",
        )
        assert {(r["kind"], r["ready"]) for r in answer["resources"]} >= {
            ("GreenPolicy", True),
            ("InferenceDemand", True),
        }
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


def test_a_restart_counts_nothing_twice_and_the_audit_has_all_of_it(
    cluster: ControlPlane, operator: Operator, tmp_path: Path
) -> None:
    cluster.apply(policy(periodSeconds=10), route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    operator.signal(signal.SIGKILL)
    operator.process.wait(30)
    time.sleep(1.0)  # a write that was on its way is there now

    def ledger() -> Any:
        return json.loads(cluster.get("configmap", "green-llm-ledger-default", "-n", NAMESPACE)["data"]["ledger.json"])

    at_first = ledger()
    again = Operator(cluster, 1, GREEN_LLM_AUDIT_DIRECTORY=str(tmp_path))
    try:
        until(lambda: ledger()["used_liters"] > at_first["used_liters"], 60, "charged on", again)
        # 1 L an hour: what was charged since is the time that has passed, once.
        found = ledger()
        passed = datetime.fromisoformat(found["charged_until"]) - datetime.fromisoformat(at_first["charged_until"])
        assert (found["used_liters"] - at_first["used_liters"]) * 3600 == pytest.approx(passed.total_seconds())
        assert found["uncharged_seconds"] == 0
    finally:
        again.stop()
    # The audit has exactly what its ledger was charged with since the first operator was killed, and `account` adds it up.
    first, last = (
        sum(amounts.get("energy_kwh", 0.0) for amounts in entry["in_force"].values()) for entry in (at_first, ledger())
    )
    rows = AuditFiles(tmp_path).read("default", EVER[0], EVER[1])
    mine = rows["side"] == "in_force"
    assert rows["energy_kwh"][mine].sum() == pytest.approx(last - first) != 0
    assert set(rows["price_source"]) <= {"price-near", "price-cheap"}
    month = str(rows["start_time"].min())[:7]
    printed = subprocess.run(
        [sys.executable, "-m", "green_llm", "account", str(tmp_path), "--month", month, "--json"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    of_month = [str(start)[:7] == month for start in rows["start_time"]]
    (entry,) = json.loads(printed.stdout)["accounts"]
    assert entry["booked"]["in_force"]["energy_kwh"] == pytest.approx(rows["energy_kwh"][mine & of_month].sum())


def test_the_api_server_comes_back(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(route(), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    cluster.stop_program("kube-apiserver")
    time.sleep(90.0)
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
    cluster.kubectl("delete", "namespace", "brief", "--wait=false")
    # The namespace itself goes when its controller looks again; nothing of ours may hold it up.
    until(
        lambda: "assistant" not in cluster.kubectl("get", "idem", "-n", "brief", check=False), 120, "let go", operator
    )
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

    proxy = FaultProxy(cluster.proxy_target(), cluster.root, fault)
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


@pytest.mark.parametrize(("slots", "period", "most"), [(1, 15, 600e6), (24, 30, 1e9)])
def test_a_thousand_demands(cluster: ControlPlane, slots: int, period: int, most: float) -> None:
    """20,000 pairs, 3 sites in one policy, without falling behind, with bounded memory; then nothing to write."""
    areas = [
        {"name": f"area-{n}", "location": {"latitude": "41.6", "longitude": "-93.6"}, "timeZone": "America/Chicago"}
        for n in range(20)
    ]
    large = {"power": {"gridLimitKilowatts": 1_000_000}, "capacity": [{"name": "gpu", "amount": "100"}]}
    cluster.apply(
        *(site(name, **large) for name in ("near", "cheap", "third")), source("price-third", "80", "USD/MWh"),
        policy(areas=areas, horizon={"slotSeconds": 3600, "slots": slots}, periodSeconds=period, mode="Shadow",
               water={"budgetLiters": 1_000_000_000}),
    )  # fmt: skip
    entry = {"class": "chat", "profile": {"queriesPerHour": [10] * 24}}
    of_areas = [{"name": area["name"], "demand": [entry]} for area in areas]
    cluster.create_all("inferencedemands", NS, [demand(f"demand-{n}", areas=of_areas) for n in range(1000)])
    begun = time.monotonic()
    replica = Operator(cluster, 5)

    def solved() -> str | None:
        plan = (cluster.get("greenpol", "default").get("status") or {}).get("plan") or {}
        return str(plan["solvedTime"]) if plan.get("termination") == "optimal" else None

    def all_ready() -> bool:
        found = cluster.get("idem", "-n", NS)["items"]
        return all(any(c["reason"] == "Ready" for c in body.get("status", {}).get("conditions", [])) for body in found)

    try:
        until(solved, 180, "a plan", replica)
        until(all_ready, 180, "a thousand statuses", replica)
        print(f"\na thousand demands ready after {time.monotonic() - begun:.0f} s")
        first = solved()
        until(lambda: solved() != first, 2 * period, "the next plan in time", replica)
        start, second = len(list(cluster.audit())), solved()
        until(lambda: solved() != second, 2 * period, "and the next", replica)
        written = [
            entry.get("objectRef", {}).get("resource")
            for entry in list(cluster.audit())[start:]
            if entry["verb"] in ("create", "update", "patch") and "green-llm" in entry["user"]["username"]
        ]
        assert set(written) <= {"leases", "configmaps", "greenpolicies"}, written
        pages = int(Path(f"/proc/{replica.process.pid}/statm").read_text().split()[1])
        peak = Path(f"/proc/{replica.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
        print(f"memory {pages * 4096 / 1e6:.0f} MB, {int(peak) / 1e3:.0f} MB at most")
        print(
            *(
                line
                for line in replica.scrape().splitlines()
                if line.startswith(("greenllm_interval_step_seconds_sum", "greenllm_solves"))
            ),
            sep="\n",
        )
        assert replica.healthy()
        assert pages * 4096 < most
    finally:
        replica.stop()
        cluster.kubectl("delete", "idem", "--all", "-n", NS, "--wait=false")
