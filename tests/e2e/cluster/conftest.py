"""The cluster with a node, and the chart installed on it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support import images
from support.cluster_fixtures import GATEWAY_API, ROOT
from support.cluster_objects import NS
from support.control_plane import HOW, ControlPlane, assets, module_folder
from support.node import ADDRESS, Node, add_link, missing
from support.release import Release


@pytest.fixture(scope="package")
def node() -> Iterator[Node]:
    """A control plane and one node, with Gateway API's kinds and the operator's image on it."""
    programs = assets()
    lacking = missing(programs) if programs is not None else HOW
    if lacking and os.environ.get("GREEN_LLM_E2E_REQUIRED"):
        pytest.fail(f"no node, and it is required: {lacking}")
    if programs is None or lacking:
        pytest.skip(f"no node: {lacking}")
    image = images.operator()
    plane = ControlPlane(programs, ADDRESS)
    found = Node(plane)
    try:
        add_link()
        plane.start()
        found.start()
        found.load(image)
        plane.kubectl("apply", "--server-side", "-f", module_folder(GATEWAY_API) / "config" / "crd" / "standard")
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        plane.kubectl("apply", "-f", ROOT / "deploy" / "base" / "namespace.yaml")
        labels = {"greenllm.dev/inference": "true"}
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS, "labels": labels}})
        yield found
    finally:
        found.stop()
        plane.stop()


@pytest.fixture
def release(node: Node) -> Iterator[Release]:
    """The chart, whatever the test before has done to it; the resources are gone afterwards."""
    found = Release(node.plane)
    found.upgrade()
    found.wait()
    yield found
    for kinds, where in (("idem,httproutes", ("-n", NS)), ("isite,greenpol,sigsrc", ())):
        node.plane.kubectl("delete", kinds, "--all", "--timeout=30s", *where, check=False)
