"""``green-llm release --all``: originals back, finalizers gone, whether the operator runs or is dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from support.cluster_objects import FLEET, NS, demand, policy, route, weights
from support.control_plane import ControlPlane
from support.operator_process import NAMESPACE, Operator, until


def release(plane: ControlPlane) -> tuple[subprocess.CompletedProcess[str], float]:
    token = plane.kubectl("create", "token", "green-llm", "-n", NAMESPACE, "--duration=1h").strip()
    environment = os.environ | {
        "KUBECONFIG": str(plane.write_kubeconfig("release", token)),
        "GREEN_LLM_NAMESPACE": NAMESPACE,
    }
    begun = time.monotonic()
    command = [sys.executable, "-m", "green_llm", "release", "--all"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return ran, time.monotonic() - begun


@pytest.mark.parametrize("alive", [True, False], ids=["running", "killed"])
def test_everything_is_let_go_of(cluster: ControlPlane, *, alive: bool) -> None:
    replica = Operator(cluster, 11)
    try:
        cluster.apply(
            *FLEET, policy(), route(near=700, cheap=300), demand(), route("keep", near=600, cheap=400),
            demand("keeper", route="keep", deletionPolicy="Retain"),
        )  # fmt: skip
        moved = {"near": 0, "cheap": 1000}
        until(lambda: weights(cluster) == moved and weights(cluster, "keep") == moved, 40, "planned", replica)
        if not alive:
            replica.signal(signal.SIGKILL)
            replica.process.wait()
        ran, seconds = release(cluster)
        assert ran.returncode == 0, ran.stderr
        assert "1 routes restored, 1 keep their weights (deletionPolicy: Retain), 2 demands released" in ran.stdout
        assert seconds < 60
        assert weights(cluster) == {"near": 700, "cheap": 300}
        if alive:
            time.sleep(16)  # longer than a Lease lasts: it is not taken back
            assert replica.healthy()
        assert weights(cluster) == {"near": 700, "cheap": 300}
        assert weights(cluster, "keep") == moved
        for name in ("assistant", "keeper"):
            metadata = cluster.get("idem", name, "-n", NS)["metadata"]
            assert not metadata.get("finalizers")
        annotations = cluster.get("httproute", "iowa", "-n", NS)["metadata"].get("annotations") or {}
        assert not [name for name in annotations if name.startswith("greenllm.dev/")]
        again, _ = release(cluster)
        assert again.returncode == 0, again.stderr
        assert "0 routes restored, 1 keep their weights" in again.stdout
    finally:
        replica.stop()
        cluster.kubectl("delete", "leases", "--all", "-n", NAMESPACE)


def test_release_must_be_meant() -> None:
    ran = subprocess.run([sys.executable, "-m", "green_llm", "release"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "say so with --all" in ran.stderr
