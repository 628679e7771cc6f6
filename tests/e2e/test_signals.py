"""Live signals in a cluster: keys from Secrets, and what a source's status says."""

from __future__ import annotations

import base64
from typing import Any

from support.cluster_objects import NS, condition, demand, ours, policy, route, site, source, weights
from support.control_plane import ControlPlane
from support.operator_process import NAMESPACE, Operator, until
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


def test_a_secret_elsewhere_is_out_of_reach(cluster: ControlPlane) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:green-llm"
    for where, expected in ((NAMESPACE, "yes"), (NS, "no"), ("default", "no"), ("kube-system", "no")):
        answer = cluster.kubectl("auth", "can-i", "get", "secrets", f"--as={account}", "-n", where, check=False)
        assert answer.startswith(expected), where
