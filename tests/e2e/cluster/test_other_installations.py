"""The chart on a real node: upgraded from an older chart, installed without rights on the cluster, uninstalled with the operator dead."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from support.cluster_fixtures import ROOT
from support.cluster_objects import weights
from support.control_plane import ControlPlane
from support.helm import CHART, rendered
from support.node import Node
from support.operator_process import until
from support.release import ORIGINAL, PLANNED, PODS, VALUES, Release, steer, without_a_gap


def older_chart(folder: Path) -> Path:
    """The chart as it was first committed."""
    git = ["git", "-C", str(ROOT)]
    log = [*git, "log", "--format=%H", "--", "charts/green-llm/Chart.yaml"]
    first = subprocess.run(log, capture_output=True, text=True, check=True).stdout.split()[-1]
    packed = subprocess.run([*git, "archive", first, "charts/green-llm"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts" / "green-llm"


def leave(release: Release) -> None:
    """Uninstall, and let the next installation write at once."""
    release.uninstall()
    release.plane.kubectl("delete", "leases", "--all", "-n", release.namespace)


def kept(plane: ControlPlane) -> set[str]:
    return {body["metadata"]["name"] for body in plane.get("crd")["items"] if body["spec"]["group"] == "greenllm.dev"}


def test_an_upgrade_from_an_older_chart_misses_no_interval(release: Release, tmp_path: Path) -> None:
    leave(release)
    # Its pods took addresses of Services for settings.
    release.upgrade(chart=older_chart(tmp_path), values=VALUES | {"metrics": {"service": {"enabled": False}}})
    release.wait()
    without_a_gap(release, release.upgrade)


def test_without_rights_on_the_cluster(release: Release, node: Node) -> None:
    """An administrator applies definitions and roles; who may only use a namespace installs the rest, and takes it away."""
    plane, namespace = node.plane, "llm"
    leave(release)
    parts = rendered(
        {"rbac": {"enforce": True}}, "-n", namespace, "-s", "templates/crds.yaml", "-s", "templates/rbac.yaml"
    )
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
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


def test_with_the_operator_dead_weights_come_back_and_definitions_go_where_that_is_asked(release: Release) -> None:
    plane = release.plane
    steer(release)
    release.upgrade(values=VALUES | {"crds": {"keep": False}, "replicas": 0})
    until(lambda: not plane.get("pods", "-n", release.namespace, "-l", PODS)["items"], 60, "no operator")
    assert weights(plane) == PLANNED
    leave(release)
    assert weights(plane) == ORIGINAL
    until(lambda: not kept(plane), 30, "no definitions")
