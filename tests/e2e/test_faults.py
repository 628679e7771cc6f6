"""What breaks around the operator, and who attacks it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from green_llm.api.parse import parse
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.instance_file import dump
from green_llm.domain.request import Demand, Policy, Resources, Source
from green_llm.domain.topology import Site
from green_llm.domain.weights import to_weights
from green_llm.services.admission import admit
from green_llm.services.planning import Planning
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers
from support.cluster_objects import FLEET, NS, condition, demand, policy, route, site, source, weights
from support.control_plane import ControlPlane
from support.operator_process import NAMESPACE, Operator, until
from support.resources import MemoryRoutes

ROOT = Path(__file__).parents[2]
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:green-llm"


async def instance_of(documents: list[dict[str, Any]]) -> Any:
    """The instance that these resources make, without a cluster."""
    found: dict[type, dict[str, Any]] = {Policy: {}, Site: {}, Demand: {}, Source: {}}
    for document in documents:
        parsed: Any = parse(document)
        found[type(parsed)][getattr(parsed, "key", parsed.name)] = parsed
    resources = Resources(
        found[Policy], found[Site], found[Demand], found[Source], {NS: {"greenllm.dev/inference": "true"}}
    )
    request = admit(resources, {}).requests["default"]

    def no_file(name: str) -> tuple[str, str]:
        raise AssertionError(name)

    collector = Collector(no_file)
    planning = Planning(collector, MeasuredDemand(collector.series), MemoryRoutes(), MemoryLedgers())
    outcome = await planning.reconcile(request, {}, datetime.now(UTC))
    assert outcome.instance is not None
    return dump(outcome.instance)


def test_weights_are_those_that_solve_gives(cluster: ControlPlane, operator: Operator, tmp_path: Path) -> None:
    # The cheap site holds 37 % of the traffic: 1,000 queries of 1,000 tokens, 1 gpu-second per 1,000 tokens, an hour.
    small = site("cheap", capacity=[{"name": "gpu", "amount": "0.1027777777777778"}])
    unrouted = demand()
    unrouted["spec"]["areas"][0]["routes"] = []
    document = asyncio.run(instance_of([*FLEET[:1], small, *FLEET[2:], unrouted]))
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(document))
    plan = tmp_path / "plan.json"
    command = ["solve", path, "--plan", plan, "--objectives", "cost,delay", "--tolerance", "0"]
    subprocess.run([sys.executable, "-m", "green_llm", *map(str, command)], check=True, capture_output=True)
    found = json.loads(plan.read_text())["shares"]
    shares = {name: found[0][j][0][0] for j, name in enumerate(document["sites"])}
    assert shares["cheap"] == pytest.approx(0.37)
    cluster.apply(small, route(), demand())
    until(lambda: weights(cluster) == to_weights(shares, 1000), 40, str(to_weights(shares, 1000)), operator)


def test_compaction_and_410(cluster: ControlPlane, operator: Operator) -> None:
    """Watching goes on from a version that is gone; what was deleted in the gap is noticed."""
    cluster.apply(route(), demand(), route("second"), demand("second", route="second"))
    until(lambda: weights(cluster, "second")["cheap"] == 1000, 40, "planned weights", operator)
    operator.signal(signal.SIGSTOP)
    cluster.kubectl("patch", "idem", "second", "-n", NS, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    cluster.kubectl("delete", "idem", "second", "-n", NS)
    cluster.apply(source("price-near", "20", "USD/MWh"))
    compact(cluster)
    cluster.stop_program("kube-apiserver")
    cluster.start_api_server()
    operator.signal(signal.SIGCONT)
    until(lambda: weights(cluster)["near"] == 1000, 60, "the new price is seen", operator)
    until(lambda: "inference/second" not in operator.scrape(), 60, "the deletion is seen", operator)
    assert operator.healthy()


def compact(cluster: ControlPlane) -> None:
    """Make etcd forget all versions but the current one."""

    def ask(path: str, body: Any) -> Any:
        request = urllib.request.Request(f"{cluster.etcd_url}{path}", json.dumps(body).encode(), method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read())

    revision = ask("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
    ask("/v3/kv/compaction", {"revision": revision, "physical": True})


def test_killed_in_the_middle_of_writing(cluster: ControlPlane, operator: Operator) -> None:
    """Rules are written whole or not at all, and the next one goes on."""
    names = [f"route-{n}" for n in range(24)]
    cluster.apply(*(route(name) for name in names), *(demand(f"demand-{name}", route=name) for name in names))

    def done() -> int:
        body = cluster.get("httproutes", "-n", NS)
        return sum(r["spec"]["rules"][0]["backendRefs"][1]["weight"] == 1000 for r in body["items"])

    until(lambda: done() == len(names), 60, "all written", operator)
    cluster.apply(source("price-near", "20", "USD/MWh"))
    until(lambda: done() < len(names), 20, "writing has begun", operator)
    operator.signal(signal.SIGKILL)
    for body in cluster.get("httproutes", "-n", NS)["items"]:
        found = [reference["weight"] for reference in body["spec"]["rules"][0]["backendRefs"]]
        assert found in ([0, 1000], [1000, 0])
    again = Operator(cluster, 1)
    try:
        until(lambda: done() == 0, 60, "the rest is written", again)
    finally:
        again.stop()


def test_rules_that_cannot_be_steered(cluster: ControlPlane, operator: Operator) -> None:
    unmapped, shared = route("unmapped"), route("shared")
    unmapped["spec"]["rules"][0]["backendRefs"].append({"name": "llm-elsewhere", "port": 8000, "weight": 1})
    both = demand("shared", route="shared")
    both["spec"]["classes"].append(
        both["spec"]["classes"][0] | {"name": "code", "allowedSites": {"matchLabels": {"a": "b"}}}
    )
    both["spec"]["areas"][0]["demand"].append({"class": "code", "profile": {"queriesPerHour": [10] * 24}})
    both["spec"]["areas"][0]["routes"][0]["rules"].append({"class": "code", "rule": "chat"})
    cluster.apply(route(), demand(), unmapped, demand("unmapped", route="unmapped"), shared, both)
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "the good one", operator)
    for name, reason in (("unmapped", "UnmappedBackend"), ("shared", "SharedRuleConflict")):
        verdict = ("False", reason)
        until(lambda n=name, v=verdict: condition(cluster, "idem", n, "Accepted", "-n", NS) == v, 10, name, operator)
        assert weights(cluster, name)["near"] == 1000


def test_as_kopf_runs_it(cluster: ControlPlane) -> None:
    command = ("kopf", "run", "-m", "green_llm.operator", "--standalone", "--all-namespaces")
    replica = Operator(cluster, 4, command=command)
    try:
        cluster.apply(route(), demand())
        until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", replica)
    finally:
        assert replica.stop() == 0


def test_the_definitions_can_be_deleted(cluster: ControlPlane, operator: Operator) -> None:
    """Originals come back, nothing hangs, and what is installed again is planned again."""
    cluster.apply(route(near=700, cheap=300), demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    try:
        cluster.kubectl("delete", "-k", ROOT / "crds", "--timeout=60s")
        assert weights(cluster) == {"near": 700, "cheap": 300}
    finally:
        until(lambda: not cluster.kubectl("get", "crd", "-o", "name").count("greenllm.dev"), 30, "gone")
        cluster.kubectl("apply", "--server-side", "-k", ROOT / "crds")
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    until(lambda: not cluster.kubectl("apply", "-f", "-", text=json.dumps(FLEET[0]), check=False).count("error"), 20)
    cluster.apply(*FLEET, demand())
    until(lambda: weights(cluster)["cheap"] == 1000, 60, "planned again", operator)


def test_the_manifests_install_and_pass_the_restricted_level(cluster: ControlPlane) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "deploy" / "base")
    try:
        until(lambda: cluster.get("pods", "-n", NAMESPACE)["items"], 30, "a pod is admitted")
        events = cluster.kubectl("get", "events", "-n", NAMESPACE, "-o", "yaml")
        assert "violates PodSecurity" not in events
    finally:
        cluster.kubectl("delete", "deployment", "green-llm", "-n", NAMESPACE, "--wait=false")


# Attacks: each from a namespace with the rights of its owner, none with more.


def test_no_secret_of_a_tenant_is_readable(cluster: ControlPlane) -> None:
    for verb in ("get", "list", "watch"):
        for where in (["-n", NS], ["-A"]):
            answer = cluster.kubectl("auth", "can-i", verb, "secrets", f"--as={ACCOUNT}", *where, check=False)
            assert answer.startswith("no")


def test_no_other_config_map_is_readable(cluster: ControlPlane) -> None:
    for name, expected in (("green-llm-weights", "yes"), ("anything", "no")):
        answer = cluster.kubectl(
            "auth", "can-i", "patch", f"configmaps/{name}", f"--as={ACCOUNT}", "-n", NS, check=False
        )
        assert answer.startswith(expected)


def test_a_route_of_another_namespace_is_out_of_reach(cluster: ControlPlane, operator: Operator) -> None:
    cluster.kubectl("create", "namespace", "victim", check=False)
    attack = demand()
    attack["spec"]["areas"][0]["routes"][0]["targetRef"]["namespace"] = "victim"
    answer = cluster.kubectl("apply", "-f", "-", text=json.dumps(attack), check=False)
    assert 'unknown field "spec.areas[0].routes[0].targetRef.namespace"' in answer
    cluster.apply(route(namespace="victim"), demand())
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "RouteNotFound"), 40,
        "not found in its own namespace", operator,
    )  # fmt: skip
    assert weights(cluster, namespace="victim") == {"near": 1000, "cheap": 0}
    cluster.kubectl("delete", "namespace", "victim", "--wait=false")


def test_a_source_must_admit_the_namespace(cluster: ControlPlane, operator: Operator) -> None:
    attack = demand()
    attack["spec"]["areas"][0]["demand"] = [{"class": "chat", "source": {"name": "carbon"}}]
    cluster.apply(route(), attack)
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "SourceNotAllowed"), 40,
        "refused", operator,
    )  # fmt: skip
    assert weights(cluster) == {"near": 1000, "cheap": 0}


def test_a_demand_may_not_claim_more_than_its_limit(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(limits={"queriesPerHourPerDemand": 999}), route(), demand())
    until(
        lambda: condition(cluster, "idem", "assistant", "Accepted", "-n", NS) == ("False", "LimitExceeded"), 40,
        "refused", operator,
    )  # fmt: skip
    assert weights(cluster) == {"near": 1000, "cheap": 0}


def test_no_host_can_be_named(cluster: ControlPlane) -> None:
    """No field of a namespaced resource takes a URL or a host: what is fetched is the platform team's to say."""
    attack = demand()
    attack["spec"]["areas"][0]["demand"] = [
        {"class": "chat", "source": {"name": "carbon", "url": "https://attacker.example.com"}}
    ]
    answer = cluster.kubectl("apply", "-f", "-", text=json.dumps(attack), check=False)
    assert 'unknown field "spec.areas[0].demand[0].source.url"' in answer


def test_a_policy_that_is_made_again_has_used_its_water(cluster: ControlPlane, operator: Operator) -> None:
    cluster.apply(policy(periodSeconds=10), route(), demand())

    def ledger() -> Any:
        found = cluster.get("configmap", "green-llm-ledger-default", "-n", NAMESPACE)
        return json.loads(found["data"]["ledger.json"])

    until(lambda: weights(cluster)["cheap"] == 1000, 40, "planned weights", operator)
    until(lambda: ledger()["used_liters"] > 0, 40, "water used", operator)
    begun, used = ledger()["period_start"], ledger()["used_liters"]
    cluster.kubectl("delete", "greenpol", "default")
    time.sleep(1.0)
    cluster.apply(policy(periodSeconds=10))
    until(lambda: ledger()["used_liters"] > used, 40, "charged on", operator)
    assert ledger()["period_start"] == begun
