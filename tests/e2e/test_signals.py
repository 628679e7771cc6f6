"""Live signals in a cluster: keys from Secrets, and what a source's status says."""

from __future__ import annotations

import base64
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from support.cluster_objects import NS, condition, demand, ours, policy, route, site, source, weights
from support.control_plane import ControlPlane
from support.operator_process import NAMESPACE, Operator, until
from support.prometheus_server import arriving_per_s, prometheus_server
from support.replay_server import electricity_maps, in_thread

KEY = "s3cret-key-of-nobody"


def secret(key: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "electricity-maps", "namespace": NAMESPACE},
        "data": {"token": base64.b64encode(key.encode()).decode()},
    }  # fmt: skip


def test_a_key_from_a_secret_and_values_that_move_traffic(cluster: ControlPlane) -> None:
    """A refused key is said and holds the sites; a new key is taken up; a new value moves the weights."""
    intensity = [900.0]
    with in_thread(electricity_maps(KEY, lambda: intensity[-1])) as server:
        spec = {
            "provider": "ElectricityMaps", "secretRef": {"name": "electricity-maps"}, "pollPeriodSeconds": 10,
            "baseUrl": f"http://{server.host}",
        }  # fmt: skip
        signals = {
            "electricityPrice": [{"source": "price-near"}],
            "carbonIntensity": [{"source": "live", "params": {"zone": "DE"}}],
        }
        replica = Operator(cluster, 8, GREEN_LLM_SIGNAL_HOSTS=server.host)
        try:
            cluster.apply(
                secret("a-wrong-key"), ours("SignalSource", "live", spec), site("near", signals=signals),
                source("price-cheap", "100", "USD/MWh"), policy(objectives=[{"name": "Emissions", "tolerancePercent": "0"}]),
                route(near=500, cheap=500), demand(),
            )  # fmt: skip
            refused = ("False", "ConfigurationError")
            until(lambda: condition(cluster, "sigsrc", "live", "Ready") == refused, 40, "refused", replica)
            until(
                lambda: condition(cluster, "isite", "near", "Ready") == ("False", "SignalsMissing"), 10, "held", replica
            )
            # 900 g/kWh at near, 400 at cheap.
            cluster.apply(secret(KEY))
            until(lambda: condition(cluster, "sigsrc", "live", "Ready") == ("True", "Answering"), 60, "right", replica)
            until(lambda: weights(cluster) == {"near": 0, "cheap": 1000}, 10, "away from near", replica)
            intensity.append(100.0)
            until(lambda: weights(cluster) == {"near": 1000, "cheap": 0}, 20, "back to near", replica)
            status = cluster.kubectl("get", "isite,sigsrc,greenpol,idem", "-A", "-o", "yaml")
            told = status + replica.logs + replica.scrape() + cluster.kubectl("get", "events", "-A")
            assert "greenllm_signal_source_errors_total" in told
            assert KEY not in told
            assert "a-wrong-key" not in told
        finally:
            replica.stop()
            cluster.kubectl("delete", "secret", "electricity-maps", "-n", NAMESPACE)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
def test_demand_as_the_gateway_counts_it(cluster: ControlPlane, tmp_path: Path) -> None:
    """The demand of a rule from Prometheus, forecast and said; a source that does not admit the namespace is refused."""
    with prometheus_server(tmp_path) as host:
        spec = {"provider": "Prometheus", "baseUrl": f"http://{host}", "prometheus": {"template": "EnvoyGateway"}}
        areas = demand()["spec"]["areas"]
        areas[0]["demand"] = [
            {"class": "chat", "source": {"name": "gateway", "params": {"route": "iowa", "rule": "0"}}}
        ]
        replica = Operator(cluster, 9, GREEN_LLM_SIGNAL_HOSTS=host)
        try:
            cluster.apply(
                ours("SignalSource", "gateway", spec), site("near"), site("cheap"), source("price-near", "100", "USD/MWh"),
                source("price-cheap", "50", "USD/MWh"), source("carbon", "400", "g/kWh"), policy(),
                route(near=1000, cheap=0), demand(areas=areas),
            )  # fmt: skip
            refused = ("False", "SourceNotAllowed")
            until(lambda: condition(cluster, "idem", "assistant", "Ready", "-n", NS) == refused, 40, "refused", replica)
            cluster.apply(ours("SignalSource", "gateway", spec | {"allowedNamespaces": {}}))
            until(lambda: weights(cluster) == {"near": 0, "cheap": 1000}, 40, "planned", replica)
            text = replica.scrape()
            (found,) = re.findall(r"^greenllm_demand_queries_per_hour\{.*\} (.*)$", text, re.MULTILINE)
            assert float(found) == pytest.approx(3600 * arriving_per_s(time.time()), rel=0.25)
            (error,) = re.findall(r"^greenllm_demand_forecast_error_ratio\{.*\} (.*)$", text, re.MULTILINE)
            assert float(error) < 0.1
            assert condition(cluster, "sigsrc", "gateway", "Ready") == ("True", "Answering")
        finally:
            replica.stop()


def test_a_secret_elsewhere_is_out_of_reach(cluster: ControlPlane) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:green-llm"
    for where, expected in ((NAMESPACE, "yes"), (NS, "no"), ("default", "no"), ("kube-system", "no")):
        answer = cluster.kubectl("auth", "can-i", "get", "secrets", f"--as={account}", "-n", where, check=False)
        assert answer.startswith(expected), where
