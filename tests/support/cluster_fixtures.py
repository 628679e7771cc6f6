"""Fixtures of tests on a real API server: the control plane is shared by all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster_objects import FLEET, NS
from support.control_plane import HOW, ControlPlane, NamedCluster, assets, module_folder
from support.operator_process import NAMESPACE, Operator

ROOT = Path(__file__).parents[2]
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.3"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    context, programs = os.environ.get("GREEN_LLM_E2E_CONTEXT"), assets()
    if context:
        found: ControlPlane = NamedCluster(context)
    elif programs is not None:
        found = ControlPlane(programs)
    elif os.environ.get("GREEN_LLM_E2E_REQUIRED"):
        pytest.fail(f"no control plane, and it is required: {HOW}")
    else:
        pytest.skip(f"no control plane: {HOW}")
    try:
        found.start()
        found.kubectl("apply", "--server-side", "-f", module_folder(GATEWAY_API) / "config" / "crd" / "standard")
        found.kubectl("apply", "--server-side", "-k", ROOT / "crds")
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield found
    finally:
        found.stop()


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[ControlPlane]:
    """The namespaces, RBAC and fleet; everything of it gone afterwards."""
    labels = {"greenllm.dev/inference": "true"}
    plane.kubectl(
        "apply", "-f", ROOT / "deploy" / "base" / "namespace.yaml", "-f", ROOT / "deploy" / "base" / "rbac.yaml"
    )
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS, "labels": labels}}, *FLEET)
    yield plane
    for body in plane.get("idem", "-A")["items"]:
        meta = body["metadata"]
        if meta.get("finalizers"):
            bare = '{"metadata":{"finalizers":null}}'
            plane.kubectl(
                "patch", "idem", meta["name"], "-n", meta["namespace"], "--type=merge", "-p", bare, check=False
            )
    for kind in ("idem", "httproutes", "endpointslices"):
        plane.kubectl("delete", kind, "--all", "-n", NS, "--wait=false", check=False)
    plane.kubectl("delete", "isite,greenpol,sigsrc", "--all", check=False)
    plane.kubectl("delete", "configmaps,leases", "--all", "-n", NAMESPACE)


@pytest.fixture
def operator(cluster: ControlPlane) -> Iterator[Operator]:
    found = Operator(cluster)
    yield found
    found.stop()
