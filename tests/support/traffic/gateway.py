"""Envoy Gateway on the test API server, and the real Envoy it starts on this host."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from support.cluster_objects import GATEWAY, NS
from support.control_plane import ControlPlane, free_port, module_folder

MODULE = "github.com/envoyproxy/gateway@v1.9.1"
ENVOY_VERSION = "1.40.0"
SYSTEM = "envoy-gateway-system"
CERTS = Path("/certs")
"""Where Envoy Gateway looks for its certificates: bound in a mount namespace of its own."""


def envoy_program(programs: Path) -> Path:
    """Where ``tests/tools/build`` puts Envoy."""
    return programs / "envoy"


class EnvoyGateway:
    """One Gateway named ``gateway`` in the tests' namespace, on a loopback port."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane, self._root, self.port = plane, plane.root / "envoy-gateway", free_port()
        self._program = plane.programs / "envoy-gateway"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = plane.root / "envoy-gateway.log"

    @property
    def url(self) -> str:
        """Where Envoy listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Install its CRDs, start it, make the Gateway; Envoy starts with the first route."""
        crds = module_folder(MODULE) / "charts" / "gateway-helm" / "charts" / "crds" / "crds" / "generated"
        self._plane.kubectl("apply", "--server-side", "-f", crds)
        self._plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self._plane.kubectl("create", "namespace", SYSTEM, check=False)
        envoy = self._root / "data" / "envoy-versions" / ENVOY_VERSION / "bin" / "envoy"
        envoy.parent.mkdir(parents=True, exist_ok=True)
        envoy.symlink_to(envoy_program(self._plane.programs).resolve())
        config = self._root / "envoy-gateway.yaml"
        config.write_text(yaml.safe_dump(self._configuration()))
        environment = os.environ | {"KUBECONFIG": str(self._plane.kubeconfig), "ENVOY_GATEWAY_NAMESPACE": SYSTEM}
        certgen = [self._program, "certgen"]
        for extra in (("--local", "--config-home", self._root / "config"), ("--disable-topology-injector",)):
            subprocess.run([*map(str, (*certgen, *extra))], env=environment, check=True, capture_output=True)
        made = not CERTS.exists()
        CERTS.mkdir(exist_ok=True)
        self._made_certs = made
        script = f'mount --bind "{self._root}/config/certs/envoy-gateway" {CERTS} && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", self._program, "server", "--config-path", config]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*map(str, command)], env=environment, stdout=log, stderr=log)
        self._plane.apply(*self._documents())

    def _configuration(self) -> dict[str, Any]:
        host = {f"{name}Home": str(self._root / name) for name in ("config", "data", "state")}
        host["runtimeDir"] = str(self._root / "run")
        kubernetes = {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}}
        infrastructure = {"type": "Host", "host": host}
        return {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
            "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
            "provider": {"type": "Custom", "custom": {"resource": kubernetes, "infrastructure": infrastructure}},
            "extensionApis": {"enableBackend": True}, "logging": {"level": {"default": "info"}},
        }  # fmt: skip

    def _documents(self) -> list[dict[str, Any]]:
        parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "host", "namespace": SYSTEM}
        return [
            {
                "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
                "metadata": {"name": "host", "namespace": SYSTEM},
                "spec": {"provider": {"type": "Host", "host": {"envoyVersion": ENVOY_VERSION}}, "concurrency": 1},
            },
            {
                "apiVersion": GATEWAY, "kind": "GatewayClass", "metadata": {"name": "envoy"},
                "spec": {
                    "controllerName": "gateway.envoyproxy.io/gatewayclass-controller", "parametersRef": parameters,
                },
            },
            {
                "apiVersion": GATEWAY, "kind": "Gateway", "metadata": {"name": "gateway", "namespace": NS},
                "spec": {
                    "gatewayClassName": "envoy",
                    "listeners": [{"name": "http", "protocol": "HTTP", "port": self.port}],
                },
            },
        ]  # fmt: skip

    def admin(self, seconds: float = 30.0) -> str:
        """Envoy's admin address, as it wrote it down when it started."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process is not None and self._process.poll() is None:
            for path in self._root.rglob("admin-address.txt"):
                if text := path.read_text().strip():
                    return text
            time.sleep(0.1)
        raise RuntimeError(f"Envoy Gateway or Envoy did not start:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it, and Envoy with it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._made_certs:
                CERTS.rmdir()
        for kind in ("gateways", "envoyproxies"):
            self._plane.kubectl("delete", kind, "--all", "-A", "--wait=false", check=False)
        self._plane.kubectl("delete", "gatewayclass", "envoy", "--wait=false", check=False)
        shutil.rmtree(self._root, ignore_errors=True)
