"""A real control plane for tests: etcd, kube-apiserver with RBAC and an audit log, and the controller manager."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

TOKEN = "e2e-admin"  # noqa: S105 - of a throw-away API server on this machine
PROGRAMS = ("etcd", "kube-apiserver", "kubectl", "kube-controller-manager")
HOW = (
    "run `just e2e-tools`, or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver and kubectl, or "
    "GREEN_LLM_E2E_CONTEXT to the context of a cluster for tests"
)
AUDIT_POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"


def assets() -> Path | None:
    """The directory of the programs; None where they are not there."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    place = Path(named) if named else Path.home() / ".cache" / "green-llm" / "bin"
    return place if all((place / program).exists() for program in PROGRAMS[:3]) else None


def module_folder(module: str) -> Path:
    """Where a Go module is unpacked: its CRDs are what an installation has."""
    ran = subprocess.run(
        ["go", "mod", "download", "-json", module], capture_output=True, text=True, check=True, cwd="/"
    )
    return Path(json.loads(ran.stdout)["Dir"])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class ControlPlane:
    """One API server and what it needs; stop it when done."""

    programs: Path
    address: str = ""
    """The address of this machine that pods reach it at; empty: there are no pods, and only this machine reaches it."""
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="green-llm-e2e-")))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    starts: list[tuple[datetime, datetime]] = field(default_factory=list)
    """From when to when an API server was starting: it refuses what it has not read the rights for yet."""

    def start(self) -> None:
        etcd, peer, self.port = free_port(), free_port(), free_port()
        self.etcd_url = f"http://127.0.0.1:{etcd}"
        (self.root / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        (self.root / "audit.yaml").write_text(AUDIT_POLICY)
        key = self.root / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        self.run(
            "etcd", "--data-dir", self.root / "etcd", "--unsafe-no-fsync", "--listen-client-urls", self.etcd_url,
            "--advertise-client-urls", self.etcd_url, "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}",
        )  # fmt: skip
        self.start_api_server()
        self.kubeconfig = self.write_kubeconfig("admin", TOKEN)
        if (self.programs / "kube-controller-manager").exists():
            self.run(
                "kube-controller-manager", "--kubeconfig", self.kubeconfig, "--service-account-private-key-file", key,
                "--root-ca-file", self.root / "certs" / "apiserver.crt", "--use-service-account-credentials=false",
                "--leader-elect=false", "--secure-port=0", "--concurrent-deployment-syncs=1",
            )  # fmt: skip

    def start_api_server(self) -> None:
        """Start it (again, on the same port) and wait until it is ready."""
        begun = datetime.now(UTC)
        key = self.root / "sa.key"
        alone = (
            "--bind-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount",
        )
        reached = (f"--advertise-address={self.address}", "--kubelet-preferred-address-types=InternalIP")
        self.run(
            "kube-apiserver", *(reached if self.address else alone), f"--etcd-servers={self.etcd_url}", f"--cert-dir={self.root / 'certs'}",
            f"--secure-port={self.port}", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self.root / 'tokens.csv'}", f"--audit-policy-file={self.root / 'audit.yaml'}",
            f"--audit-log-path={self.audit_log}", "--audit-log-batch-buffer-size=10000",
            "--allow-privileged=true",
        )  # fmt: skip
        end = time.monotonic() + 60
        while not self._ready():
            if time.monotonic() > end or self.processes["kube-apiserver"].poll() is not None:
                raise RuntimeError((self.root / "kube-apiserver.log").read_text()[-3000:])
            time.sleep(0.1)
        self.starts.append((begun, datetime.now(UTC)))

    def stop_program(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for name in list(self.processes)[::-1]:
            self.stop_program(name)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> Path:
        return self.root / "audit.log"

    def audit(self) -> Iterator[dict[str, Any]]:
        """Every request the server has answered so far."""
        if self.audit_log.exists():
            for line in self.audit_log.read_text().splitlines():
                yield json.loads(line)

    def proxy_target(self) -> int:
        """The port that a proxy may stand before."""
        return self.port

    def write_kubeconfig(self, name: str, token: str, server: str | None = None) -> Path:
        return self._kubeconfig(name, token, {"server": server or self.url, "insecure-skip-tls-verify": True})

    def _kubeconfig(self, name: str, token: str, cluster: Any) -> Path:
        path = self.root / f"{name}.kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def command(self) -> list[str]:
        return [str(self.programs / "kubectl"), "--kubeconfig", str(self.kubeconfig)]

    def kubectl(self, *arguments: object, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as admin; its stdout (and stderr where it may fail)."""
        command = [*self.command(), *map(str, arguments)]
        ran = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if check and ran.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, arguments))}: {ran.stderr}")
        return ran.stdout if check else ran.stdout + ran.stderr

    def get(self, *arguments: object) -> Any:
        """An object, or a list of them, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *documents: Any, server_side: bool = False) -> str:
        text = yaml.safe_dump_all(documents)
        return self.kubectl(
            "apply", *(["--server-side", "--force-conflicts"] if server_side else []), "-f", "-", text=text
        )

    def create_all(self, plural: str, namespace: str, documents: Iterable[Any]) -> None:
        """Create many objects of our group over one connection."""
        path = f"/apis/greenllm.dev/v1alpha1/namespaces/{namespace}/{plural}"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        for document in documents:
            connection.request("POST", path, json.dumps(document), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                raise RuntimeError(text.decode())
        connection.close()

    def run(self, program: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        """Start a program that ends with this one, however this one ends."""
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*tied, str(self.programs / program), *map(str, arguments)]
        with (self.root / f"{program}.log").open("ab") as log:
            self.processes[program] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | (environment or {})
            )

    def _ready(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=1, context=context) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


class NamedCluster(ControlPlane):
    """A cluster that is there already, by the name of its context. What is not ours to stop or to read is skipped."""

    def __init__(self, context: str) -> None:
        super().__init__(Path())
        self.context = context

    def start(self) -> None:
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        self.cluster = view["clusters"][0]["cluster"]

    def start_api_server(self) -> None:
        pytest.skip("needs an API server of its own")

    def stop_program(self, name: str) -> None:
        pytest.skip(f"needs a {name} of its own")

    def stop(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def audit(self) -> Iterator[dict[str, Any]]:
        pytest.skip("needs the audit log of an API server of its own")

    def proxy_target(self) -> int:
        pytest.skip("needs an API server of its own behind the proxy")

    def create_all(self, plural: str, namespace: str, documents: Iterable[Any]) -> None:
        del plural, namespace
        found = list(documents)
        for start in range(0, len(found), 100):
            self.apply(*found[start : start + 100], server_side=True)

    def write_kubeconfig(self, name: str, token: str, server: str | None = None) -> Path:
        del server
        return self._kubeconfig(name, token, self.cluster)

    def command(self) -> list[str]:
        return ["kubectl", "--context", self.context]
