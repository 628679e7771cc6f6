"""The quick start's manifests and resources on a real API server, with the operator; kind, Envoy and Grafana do not run here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.cluster_objects import NS, condition
from support.control_plane import ControlPlane, module_folder
from support.operator_process import NAMESPACE, Operator, until

ROOT = Path(__file__).parents[2]
KIND = ROOT / "deploy" / "kind"
EXAMPLE = ROOT / "examples" / "three-sites"
ENVOY_GATEWAY = "github.com/envoyproxy/gateway"
CRDS = "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_envoyproxies.yaml"


def envoy_gateway_version() -> str:
    text = (KIND / "versions.env").read_text()
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ENVOY_GATEWAY_VERSION="))


def test_every_manifest_is_taken(cluster: ControlPlane) -> None:
    envoy = module_folder(f"{ENVOY_GATEWAY}@{envoy_gateway_version()}") / CRDS
    cluster.kubectl("apply", "--server-side", "-f", envoy)
    until(lambda: "envoyproxies" in cluster.kubectl("api-resources", "--api-group=gateway.envoyproxy.io"), 30, "served")
    cluster.kubectl("create", "namespace", "envoy-gateway-system", check=False)
    strict = ("apply", "--dry-run=server", "--validate=strict", "--server-side")
    for path in (EXAMPLE / "namespace.yaml", EXAMPLE / "sites.yaml", KIND / "manifests", KIND / "resources"):
        out = cluster.kubectl(*strict, "--force-conflicts", "-f", path)
        assert "serverside-applied (server dry run)" in out


def test_the_operator_plans_with_the_recorded_week(cluster: ControlPlane) -> None:
    script = [sys.executable, KIND / "recordings.py", EXAMPLE / "signals"]
    text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    cluster.kubectl("apply", "--server-side", "-f", "-", text=text)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", EXAMPLE / "namespace.yaml",
                    "-f", EXAMPLE / "sites.yaml", "-f", KIND / "resources", "-f", KIND / "manifests" / "routes.yaml")  # fmt: skip
    replica = Operator(cluster, 6)
    try:
        planned = ("True", "Planned")
        until(lambda: condition(cluster, "greenpol", "default", "Ready") == planned, 240, "planned", replica)
        assert condition(cluster, "greenpol", "default", "Degraded") == ("False", "Optimal")
        until(
            lambda: condition(cluster, "idem", "assistant", "Ready", "-n", NS) == ("True", "Ready"),
            120,
            "ready",
            replica,
        )
        for site in ("oregon", "iowa", "virginia"):
            signals = cluster.get("isite", site)["status"]["signals"]
            used = {entry["kind"]: entry["source"] for entry in signals}
            assert used == {"electricityPrice": "recorded-price", "carbonIntensity": "recorded-carbon"}, site
        for area in ("seattle", "new-york"):
            for rule in cluster.get("httproute", area, "-n", NS)["spec"]["rules"]:
                assert sum(ref["weight"] for ref in rule["backendRefs"]) == 1000, "written by the operator"
        assert "greenllm_in_force_queries_per_hour{" in replica.scrape()
    finally:
        replica.stop()
    assert cluster.get("configmap", "recordings", "-n", NAMESPACE)
