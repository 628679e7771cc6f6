"""Weights beyond what a status holds, kept in a ConfigMap by the operator's own identity."""

from __future__ import annotations

import kubernetes
import pytest

from green_llm.errors import StoreError
from green_llm.kube.all_weights import KubeAllWeights
from green_llm.kube.client import Cluster
from support.control_plane import ControlPlane
from support.operator_process import NAMESPACE


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
async def test_a_table_is_written_where_it_differs(cluster: ControlPlane) -> None:
    token = cluster.kubectl("create", "token", "green-llm", "-n", NAMESPACE).strip()
    api = Cluster(kubernetes.config.new_client_from_config(str(cluster.write_kubeconfig("tables", token))))

    def version() -> str:
        return str(
            cluster.get("configmap", "green-llm-weights-default", "-n", NAMESPACE)["metadata"]["resourceVersion"]
        )

    tables = {"inference.assistant": "area,class\niowa,chat\n"}
    weights = KubeAllWeights(api, NAMESPACE)
    await weights.write("default", {})
    assert "NotFound" in cluster.kubectl("get", "configmap", "green-llm-weights-default", "-n", NAMESPACE, check=False)
    await weights.write("default", tables)
    first = version()
    assert cluster.get("configmap", "green-llm-weights-default", "-n", NAMESPACE)["data"] == tables
    await weights.write("default", tables)
    await KubeAllWeights(api, NAMESPACE).write("default", tables)
    assert version() == first
    with pytest.raises(StoreError, match="do not fit into one object"):
        await weights.write("default", {"inference.assistant": "x" * 1_000_000})
    await weights.write("default", {})
    assert version() != first
    assert not cluster.get("configmap", "green-llm-weights-default", "-n", NAMESPACE).get("data")
