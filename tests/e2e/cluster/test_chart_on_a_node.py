"""The chart on a real node: installed, upgraded, disturbed, refused, uninstalled."""

from __future__ import annotations

import io
import itertools
import subprocess
import tarfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster_fixtures import ROOT
from support.cluster_objects import FLEET, NS, condition, demand, policy, route, weights
from support.control_plane import ControlPlane
from support.helm import CHART, rendered
from support.node import NODE, Node
from support.operator_process import until
from support.release import PODS, VALUES, Release, lines

PERIOD_SECONDS = 10
ORIGINAL, PLANNED = {"near": 700, "cheap": 300}, {"near": 0, "cheap": 1000}
EXAMPLE = ROOT / "examples" / "three-sites"


def steer(release: Release) -> None:
    """Have it steer a route, and wait until it does."""
    release.plane.apply(*FLEET, policy(periodSeconds=PERIOD_SECONDS), route(near=700, cheap=300), demand())
    until(lambda: weights(release.plane) == PLANNED, 60, "planned weights")
    until(lambda: condition(release.plane, "idem", "assistant", "Ready", "-n", NS) == ("True", "Routed"), 30, "routed")


def version(plane: ControlPlane) -> str:
    """Changes with every write to the route."""
    return str(plane.get("httproute", "iowa", "-n", NS)["metadata"]["resourceVersion"])


def solved(plane: ControlPlane) -> str:
    return str(plane.get("greenpol", "default")["status"]["plan"]["solvedTime"])


def test_examples_become_weights(release: Release) -> None:
    plane = release.plane
    files = [f"--filename={EXAMPLE / name}.yaml" for name in ("policy", "sources", "sites", "routes", "demand")]
    plane.kubectl("apply", *files)
    names = [body["metadata"]["name"] for body in yaml.safe_load_all((EXAMPLE / "routes.yaml").read_text())]
    before = {name: weights(plane, name) for name in names}
    until(lambda: all(weights(plane, name) != before[name] for name in names), 60, "weights")
    until(lambda: condition(plane, "idem", "assistant", "Ready", "-n", NS) == ("True", "Routed"), 30, "routed")
    for name in names:
        assert sum(weights(plane, name).values()) == 1000
    written = plane.get("idem", "assistant", "-n", NS)["status"]["weights"]
    for name in names:
        said = {row["site"]: row["weight"] for row in written if (row["route"], row["rule"]) == (name, "chat")}
        assert said == weights(plane, name)


def test_what_people_look_at_reads_well(release: Release) -> None:
    plane = release.plane
    steer(release)
    table = plane.kubectl("get", "idem,greenpol,isite,sigsrc", "-A")
    assert "MODE" in table
    assert "Active" in table
    assert "<none>" not in plane.kubectl("get", "greenpol")
    told = plane.kubectl("describe", "greenpol", "default")
    assert "Solved Time" in told
    assert "Optimal" in told
    meaning = plane.kubectl("explain", "isite.spec.power.gridLimitKilowatts")
    assert "kW" in meaning or "ilowatt" in meaning
    found = list(lines(release.logs()))
    assert found
    assert not [line for line in found if line.get("exception") or line["level"] in ("ERROR", "CRITICAL")]
    assert any(
        line.get("routes_written") == [f"{NS}/HTTPRoute/iowa"] or "1 routes written" in line["message"]
        for line in found
    )
    pod = release.pod()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_deleted_pod_is_replaced_and_touches_nothing(release: Release) -> None:
    steer(release)
    before, seen = version(release.plane), solved(release.plane)
    gone = release.pod()["metadata"]["name"]
    release.plane.kubectl("delete", "pod", "-n", release.namespace, gone)
    assert release.wait()["metadata"]["name"] != gone
    until(lambda: solved(release.plane) > seen, 40, "planned again")
    assert version(release.plane) == before


def test_a_drained_node_leaves_the_weights_and_goes_on_afterwards(release: Release) -> None:
    plane = release.plane
    steer(release)
    before = version(plane)
    try:
        plane.kubectl("drain", NODE, f"--pod-selector={PODS}", "--delete-emptydir-data", "--timeout=60s")
        until(lambda: release.pod()["status"]["phase"] == "Pending", 20, "nowhere to go")
        seen = solved(plane)
        assert weights(plane) == PLANNED
    finally:
        plane.kubectl("uncordon", NODE)
    release.wait()
    until(lambda: solved(plane) > seen, 40, "planned again")
    assert version(plane) == before


HOGS = """
import os, time
for _ in range(6):
    if not os.fork():
        held = b"x" * (70 << 20)
        time.sleep(600)
time.sleep(600)
"""


def test_killed_for_memory_it_starts_again_and_touches_nothing(release: Release) -> None:
    plane = release.plane
    steer(release)
    before, seen = version(plane), solved(plane)
    name = release.pod()["metadata"]["name"]
    command = [*plane.command(), "exec", "-n", release.namespace, name, "--", "python3", "-c", HOGS]
    # Others that take the memory of the container: the kernel kills the largest of its processes, which is the operator.
    hogs = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: release.pod()["status"]["containerStatuses"][0]["restartCount"] == 1, 60, "killed")
    finally:
        hogs.kill()
        hogs.wait()
    ended = release.wait()["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    until(lambda: solved(plane) > seen, 60, "planned again")
    assert version(plane) == before


def older_chart(folder: Path) -> Path:
    """The chart as it was first committed."""
    git = ["git", "-C", str(ROOT)]
    commits = subprocess.run(
        [*git, "log", "--format=%H", "--", "charts/green-llm/Chart.yaml"], capture_output=True, text=True, check=True
    )
    first = commits.stdout.split()[-1]
    packed = subprocess.run([*git, "archive", first, "charts/green-llm"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts" / "green-llm"


def without_a_gap(release: Release, change: Any) -> None:
    """Change something while it steers: every interval takes place, and no route is written."""
    plane = release.plane
    steer(release)
    before, demands = version(plane), plane.get("idem", "assistant", "-n", NS)["spec"]
    with release.decisions() as planned:
        now = solved(plane)
        until(lambda: solved(plane) > now, 30, "an interval before")
        change()
        release.wait()
        time.sleep(2 * PERIOD_SECONDS)
    assert len(planned) >= 4
    longest = max(after - earlier for earlier, after in itertools.pairwise(planned))
    assert longest < timedelta(seconds=2 * PERIOD_SECONDS), planned
    assert version(plane) == before
    assert plane.get("idem", "assistant", "-n", NS)["spec"] == demands


def test_an_upgrade_from_an_older_chart_misses_no_interval(release: Release, tmp_path: Path) -> None:
    release.upgrade(chart=older_chart(tmp_path), values=VALUES | {"podLabels": {"chart": "older"}})
    release.wait()
    without_a_gap(release, release.upgrade)


def test_changed_values_miss_no_interval(release: Release) -> None:
    changed = VALUES | {"settings": {"routeMatrix": False, "relistSeconds": 60}}
    without_a_gap(release, lambda: release.upgrade(values=changed))
    env = release.pod()["spec"]["containers"][0]["env"]
    assert {"name": "GREEN_LLM_ROUTE_MATRIX", "value": "false"} in env


def test_wrong_values_are_refused_before_anything_changes(release: Release) -> None:
    before = release.plane.get("deployment", "green-llm", "-n", release.namespace)["metadata"]["generation"]
    revision = release.helm("history", release.name, "-o", "yaml").stdout
    for wrong, field in (({"replica": 2}, "replica"), ({"rbac": {"enforced": True}}, "enforced")):
        ran = release.helm("upgrade", "--install", release.name, CHART, values=VALUES | wrong)
        assert ran.returncode
        assert field in ran.stderr
    both = {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}
    ran = release.helm("upgrade", "--install", release.name, CHART, values=VALUES | both)
    assert "metrics.serviceMonitor.enabled, metrics.podMonitor.enabled: give one of the two" in ran.stderr
    assert release.helm("history", release.name, "-o", "yaml").stdout == revision
    assert release.plane.get("deployment", "green-llm", "-n", release.namespace)["metadata"]["generation"] == before


def test_a_second_installation_is_refused_with_the_first_ones_name(release: Release) -> None:
    second = Release(release.plane, namespace=NS, name="another")
    ran = second.helm("install", second.name, CHART, values=VALUES)
    assert ran.returncode
    assert f"Green-LLM is installed already, as {release.namespace}/{release.name}" in ran.stderr
    assert not second.deployed
    assert not release.plane.get("deployments", "-n", NS)["items"]


def kept(plane: ControlPlane) -> set[str]:
    return {body["metadata"]["name"] for body in plane.get("crd")["items"] if body["spec"]["group"] == "greenllm.dev"}


def test_uninstalled_it_gives_the_weights_back_and_keeps_the_definitions(release: Release) -> None:
    plane = release.plane
    steer(release)
    begun = time.monotonic()
    release.uninstall()
    assert time.monotonic() - begun < 60
    assert weights(plane) == ORIGINAL
    left = plane.get("idem", "assistant", "-n", NS)["metadata"]
    assert not left.get("finalizers")
    notes = plane.get("httproute", "iowa", "-n", NS)["metadata"].get("annotations") or {}
    assert not [name for name in notes if name.startswith("greenllm.dev/")]
    assert len(kept(plane)) == 4
    assert not plane.get("all", "-n", release.namespace)["items"]
    assert not plane.get("clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of=green-llm")["items"]
    release.upgrade()
    until(lambda: weights(plane) == PLANNED, 60, "steered again by what was kept")


def test_uninstalled_with_the_operator_dead_it_gives_the_weights_back_and_lets_the_definitions_go(
    release: Release,
) -> None:
    plane = release.plane
    steer(release)
    release.upgrade(values=VALUES | {"crds": {"keep": False}, "replicas": 0})
    until(lambda: not plane.get("pods", "-n", release.namespace, "-l", PODS)["items"], 60, "no operator")
    assert weights(plane) == PLANNED
    release.uninstall()
    assert weights(plane) == ORIGINAL
    until(lambda: not kept(plane), 30, "no definitions")


def test_without_rights_on_the_cluster(release: Release, node: Node) -> None:
    """An administrator applies definitions and roles; who may only use a namespace installs the rest, and takes it away."""
    plane, namespace = node.plane, "llm"
    release.uninstall()
    values = {"rbac": {"enforce": True}}
    parts = rendered(values, "-n", namespace, "-s", "templates/crds.yaml", "-s", "templates/rbac.yaml")
    plane.kubectl("apply", "-f", "-", text=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=parts)
    plane.kubectl("create", "rolebinding", "dev", "-n", namespace, "--clusterrole=admin", "--user=dev")
    theirs = Release(plane, namespace=namespace, user="dev")
    try:
        own = {key: value for key, value in VALUES.items() if key != "rbac"}
        theirs.upgrade(values=own | {"crds": {"enabled": False}, "rbac": {"create": False}})
        theirs.wait()
        steer(theirs)
        second = release.helm("install", release.name, CHART, values=VALUES)
        assert f"Green-LLM is installed already, as {namespace}/green-llm" in second.stderr
        theirs.uninstall()
        assert weights(plane) == ORIGINAL
        assert len(kept(plane)) == 4
    finally:
        plane.kubectl("delete", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of=green-llm")
        plane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.usefixtures("release")
def test_the_pod_is_as_restricted_as_it_says(node: Node) -> None:
    """Its namespace enforces the restricted standard, so that it was admitted says it all but the root file system."""
    labels = node.plane.get("namespace", "green-llm-system")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = Release(node.plane).pod()["metadata"]["name"]
    said = node.plane.kubectl(
        "exec", "-n", "green-llm-system", pod, "--", "sh", "-c", "id -un; touch /app/x", check=False
    )
    assert "green-llm" in said
    assert "Read-only file system" in said
