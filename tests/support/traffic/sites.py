"""Sites: a network namespace each, with the stand-in for an inference server in it. All of it goes, whatever happens."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.cluster_objects import NS

SERVER = Path(__file__).parents[3] / "deploy" / "kind" / "site" / "server.py"
PREFIX = "gl-site-"
PORT = 8000
MODEL = "model"


class TrafficSite:
    """One site: its namespace is ``gl-site-N``, its address 10.201.N.2, its back-end the Service ``llm-NAME``."""

    def __init__(self, number: int, name: str) -> None:
        self.name, self._namespace, self._log = name, f"{PREFIX}{number}", subprocess.DEVNULL
        self.address, self._gate = f"10.201.{number}.2", f"10.201.{number}.1"
        self._host_end = f"gl-veth-{number}"
        self._process: subprocess.Popen[bytes] | None = None

    def lay(self) -> None:
        """The namespace and its link."""
        inside = ("-n", self._namespace)
        for command in (
            ("netns", "add", self._namespace),
            ("link", "add", self._host_end, "type", "veth", "peer", "name", "eth0", "netns", self._namespace),
            ("addr", "add", f"{self._gate}/24", "dev", self._host_end),
            ("link", "set", self._host_end, "up"),
            (*inside, "addr", "add", f"{self.address}/24", "dev", "eth0"),
            (*inside, "link", "set", "eth0", "up"),
            (*inside, "link", "set", "lo", "up"),
        ):
            subprocess.run(["ip", *command], check=True, capture_output=True)

    def start(self, **behaviour: Any) -> None:
        """Serve, and wait until it does."""
        command = [
            "ip", "netns", "exec", self._namespace, sys.executable, SERVER, "--name", self.name, "--port", PORT,
            "--model", MODEL, "--behaviour", json.dumps(behaviour),
        ]  # fmt: skip
        self._process = subprocess.Popen([*map(str, command)])
        end = time.monotonic() + 60
        while not self.healthy():
            if time.monotonic() > end:
                raise RuntimeError(f"site {self.name} does not answer at {self.address}:{PORT}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a machine that loses its power: no goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def healthy(self) -> bool:
        """What a readiness probe finds."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:{PORT}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def behave(self, **change: Any) -> None:
        """Change how it behaves (``POST /control``)."""
        connection = http.client.HTTPConnection(self.address, PORT, timeout=5)
        connection.request("POST", "/control", json.dumps(change))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(text)

    def documents(self, *, ready: bool = True) -> list[dict[str, Any]]:
        """Its Service without selector, and the EndpointSlice that says where it is."""
        name, port = f"llm-{self.name}", {"port": PORT, "name": "http", "protocol": "TCP"}
        return [
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
                "spec": {"ports": [port | {"targetPort": PORT}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [port],
                "metadata": {"name": f"{name}-1", "namespace": NS, "labels": {"kubernetes.io/service-name": name}},
                "endpoints": [{"addresses": [self.address], "conditions": {"ready": ready}}],
            },
        ]  # fmt: skip


def lacking() -> str | None:
    """What this machine lacks for network namespaces, and how to get it."""
    if shutil.which("ip") is None:
        return "no ip here (Debian: iproute2)"
    ran = subprocess.run(["ip", "netns", "add", f"{PREFIX}0"], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", f"{PREFIX}0"], capture_output=True, check=False)
    return f"no network namespaces; run as root ({ran.stderr.strip()})" if ran.returncode else None


def sweep() -> None:
    """Remove what an earlier run may have left; a namespace takes its link with it."""
    named = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for line in named.splitlines():
        if line.startswith(PREFIX):
            subprocess.run(["ip", "netns", "del", line.split()[0]], check=False)


@contextmanager
def traffic_sites(*names: str) -> Iterator[dict[str, TrafficSite]]:
    """Running sites by name."""
    sweep()
    sites = {name: TrafficSite(number, name) for number, name in enumerate(names, 1)}
    try:
        for site in sites.values():
            site.lay()
        for site in sites.values():
            site.start()
        yield sites
    finally:
        for site in sites.values():
            site.kill()
        sweep()
