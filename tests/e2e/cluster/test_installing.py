"""The chart on a real node: examples are steered, what people look at reads well, uninstalling gives the weights back."""

from __future__ import annotations

import time

import yaml

from green_llm.operator.release import SEIZED_SECONDS
from support.cluster_fixtures import ROOT
from support.cluster_objects import NS, condition, weights
from support.control_plane import ControlPlane
from support.operator_process import until
from support.release import ORIGINAL, Release, lines, steer

OF_A_RELEASE = "all,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,secrets,networkpolicies,poddisruptionbudgets"
EXAMPLE = ROOT / "examples" / "three-sites"


def in_force(plane: ControlPlane, names: list[str]) -> dict[tuple[str, str, str], int]:
    """Weight by route, rule and site."""
    return {
        (name, rule["name"], ref["name"].removeprefix("llm-")): ref["weight"]
        for name in names
        for rule in plane.get("httproute", name, "-n", NS)["spec"]["rules"]
        for ref in rule["backendRefs"]
    }


def test_examples_become_weights(release: Release) -> None:
    plane = release.plane
    routes = list(yaml.safe_load_all((EXAMPLE / "routes.yaml").read_text()))
    for ref in (ref for body in routes for rule in body["spec"]["rules"] for ref in rule["backendRefs"]):
        ref["weight"] = 1  # at some hours the plan is the example's own weights, the nearest sites
    plane.apply(*routes)
    names = [body["metadata"]["name"] for body in routes]
    before = in_force(plane, names)
    plane.kubectl("apply", *(f"--filename={EXAMPLE / name}.yaml" for name in ("policy", "sources", "sites", "demand")))
    until(lambda: in_force(plane, names) != before, 120, "weights")

    def said() -> dict[tuple[str, str, str], int]:
        rows = plane.get("idem", "assistant", "-n", NS)["status"]["weights"]
        return {(row["route"], row["rule"], row["site"]): row["weight"] for row in rows}

    until(lambda: condition(plane, "idem", "assistant", "Ready", "-n", NS) == ("True", "Ready"), 90, "ready")
    until(lambda: said() == in_force(plane, names), 60, "a status that says what is in the routes")
    for name in names:
        assert sum(weights(plane, name).values()) == 1000


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
    assert not [line for line in found if "healthz" in line["message"]]
    own = [line for line in found if line["logger"].startswith("green_llm")]
    assert not [line for line in own if line.get("exception") or line["level"] in ("ERROR", "CRITICAL")]
    assert any(
        line.get("routes_written") == [f"{NS}/HTTPRoute/iowa"] or "1 routes written" in line["message"]
        for line in found
    )
    pod = release.pod()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def left_over(release: Release) -> set[str]:
    """Objects of the release, hooks and what controllers made for it among them; definitions are kept by default."""
    labels = f"app.kubernetes.io/part-of=green-llm,app.kubernetes.io/instance={release.name}"
    found = release.plane.kubectl("get", OF_A_RELEASE, "-A", "-l", labels, "-o", "name").split()
    own = release.plane.kubectl(
        "get", "all,secrets,serviceaccounts,roles,rolebindings", "-n", release.namespace, "-o", "name"
    )
    return {name for name in (*found, *own.split()) if name != "serviceaccount/default"}


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
    until(lambda: not left_over(release), 60, "nothing of the release is left")
    leases = plane.get("leases", "-n", release.namespace)["items"]
    assert {lease["spec"]["leaseDurationSeconds"] for lease in leases} == {SEIZED_SECONDS}, "taken, and then expired"
    # Or the next installation waits before it writes.
    plane.kubectl("delete", "leases", "--all", "-n", release.namespace)
