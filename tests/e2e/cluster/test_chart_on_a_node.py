"""The chart on a real node: installed, upgraded, disturbed, refused."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from support.cluster_objects import NS, weights
from support.helm import CHART
from support.node import NODE, Node
from support.operator_process import until
from support.release import PLANNED, PODS, VALUES, Release, solved, steer, version, without_a_gap

LONGEST_START_SECONDS = 60
"""On a busy machine; README says what was measured."""


def start_seconds(node: Node, release: Release, but: str) -> tuple[float, float]:
    """Time and processor time from the start of the process of the pod that is not this one until it says that it is ready."""
    until(lambda: running(release, but), 90, "a container that runs")
    (container, address), ticks = running(release, but)[0], os.sysconf("SC_CLK_TCK")
    process = Path("/proc", str(node.process(container)))
    until(lambda: answers(f"http://{address}:8080/healthz"), LONGEST_START_SECONDS, "ready")
    now, fields = time.clock_gettime(time.CLOCK_BOOTTIME), (process / "stat").read_text().rpartition(")")[2].split()
    user, system, begun = (int(fields[n]) / ticks for n in (11, 12, 19))
    return now - begun, user + system


def running(release: Release, but: str) -> list[tuple[str, str]]:
    """Containers that run, of pods other than this one, and the pods' addresses."""
    pods = release.plane.get("pods", "-n", release.namespace, "-l", PODS)["items"]
    return [
        (found["containerID"], pod["status"]["podIP"])
        for pod in pods if pod["metadata"]["name"] != but and "podIP" in pod["status"]
        for found in pod["status"].get("containerStatuses", []) if "running" in found["state"]
    ]  # fmt: skip


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return True
    except OSError:
        return False


def test_a_deleted_pod_is_replaced_and_touches_nothing(
    release: Release, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    steer(release)
    before, seen = version(release.plane), solved(release.plane)
    gone = release.pod()["metadata"]["name"]
    release.plane.kubectl("delete", "pod", "-n", release.namespace, gone, "--wait=false")
    seconds, worked = start_seconds(node, release, but=gone)
    with capsys.disabled():
        print(f"\nfrom the container's start until it is ready: {seconds:.2f} s, {worked:.2f} s of them at work")
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
