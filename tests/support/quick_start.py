"""The quick start of deploy/kind on the node of the tests: its own script, manifests, values and images.

What cannot be had without a container registry stands in: `kind` and `docker` do nothing (the cluster is there, the image
is built from the same Dockerfile), Grafana is left out, Envoy Gateway's chart comes from its Go module, and the images
of Envoy Gateway, Envoy and Prometheus are Debian with the programs that are here (other versions of the last two).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import yaml

from support import images
from support.control_plane import module_folder
from support.helm import program
from support.node import Node
from support.tools import needed

ROOT = Path(__file__).parents[2]
CONTEXT = "kind-green-llm"
CHART = "oci://docker.io/envoyproxy/gateway-helm"
ENVOY_GATEWAY = "github.com/envoyproxy/gateway"
STAND_INS = {
    "docker": "exit 0",
    "kind": 'case "$1 $2" in "version "*) echo "kind v0.33.0 here";; "get clusters") echo green-llm;; esac',
    "helm": 'n=$#; while [ "$n" -gt 0 ]; do a="$1"; shift; [ "$a" != "{oci}" ] || a="{chart}"; set -- "$@" "$a"; '
    'n=$((n - 1)); done; exec "{helm}" "$@"',
}


def versions() -> dict[str, str]:
    """What the quick start pins."""
    text = (ROOT / "deploy" / "kind" / "versions.env").read_text()
    return dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))


def pinned(name: str) -> str:
    """The image of a container of the manifests."""
    text = (ROOT / "deploy" / "kind" / "manifests" / f"{name}.yaml").read_text()
    bodies = [body for body in yaml.safe_load_all(text) if body["kind"] == "Deployment"]
    return str(bodies[0]["spec"]["template"]["spec"]["containers"][0]["image"])


class QuickStart:
    """Up and down; ``folder`` is where its copy lies."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node, self._folder, self._plane = node, folder, node.plane

    def up(self) -> str:
        """What the script says.

        Raises:
            AssertionError: it failed; with the end of what it said.
        """
        for name in ("deploy/kind", "charts/green-llm", "examples/three-sites"):
            shutil.copytree(ROOT / name, self._folder / name)
        (self._folder / "deploy" / "kind" / "manifests" / "grafana.yaml").unlink()
        self._load()
        self._take_our_envoy()
        tools = self._stand_ins(self._chart())
        environment = os.environ | {
            "PATH": f"{tools}:{self._plane.programs}:{os.environ['PATH']}", "KUBECONFIG": str(self._kubeconfig()),
        }  # fmt: skip
        ran = subprocess.run(
            [self._folder / "deploy" / "kind" / "up.sh"], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}\n{self._explain()}"
        return ran.stdout

    def down(self) -> None:
        """Take away what others on this node might meet; the operator's release stays."""
        kubectl, copy = self._plane.kubectl, self._folder / "deploy" / "kind"
        kubectl("delete", "idem,isite,greenpol,sigsrc", "--all", "-A", "--timeout=60s", check=False)
        kubectl("delete", "-f", copy / "manifests", "--timeout=60s", check=False)
        command = [
            program("helm"),
            "--kubeconfig",
            self._plane.kubeconfig,
            "uninstall",
            "eg",
            "-n",
            "envoy-gateway-system",
        ]
        subprocess.run(command, capture_output=True, check=False)

    def _load(self) -> None:
        """The images, by the names that the manifests give them."""
        gateway = f"docker.io/envoyproxy/gateway:{versions()['ENVOY_GATEWAY_VERSION']}"
        for found, name in (
            (Path(needed("prometheus")), pinned("prometheus")),
            (self._plane.programs / "envoy-gateway", gateway),
        ):
            image = images.of_program(found)
            self._node.load(image)
            self._node.name(image, name)
        self._node.name(images.OPERATOR, f"docker.io/library/{pinned('sites')}")

    def _take_our_envoy(self) -> None:
        """Envoy Gateway names Envoy's image by its digest, which no image has that is built here."""
        envoy = images.of_program(self._plane.programs / "envoy")
        self._node.load(envoy)
        path = self._folder / "deploy" / "kind" / "manifests" / "gateway.yaml"
        bodies = list(yaml.safe_load_all(path.read_text()))
        (proxy,) = [body for body in bodies if body["kind"] == "EnvoyProxy"]
        proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"] = {"container": {"image": envoy}}
        path.write_text(yaml.safe_dump_all(bodies))

    def _chart(self) -> Path:
        """Envoy Gateway's chart, its values filled in as for a release."""
        version = versions()["ENVOY_GATEWAY_VERSION"]
        target = self._folder / "gateway-helm"
        shutil.copytree(module_folder(f"{ENVOY_GATEWAY}@{version}") / "charts" / "gateway-helm", target)
        subprocess.run(["chmod", "-R", "u+w", target], check=True)
        image = f"docker.io/envoyproxy/gateway:{version}"
        text = (target / "values.tmpl.yaml").read_text()
        values = yaml.safe_load(
            text.replace("${GatewayImage}", image).replace("${GatewayImagePullPolicy}", "IfNotPresent")
        )
        values["config"]["envoyGateway"]["provider"]["kubernetes"] = {"shutdownManager": {"image": image}}
        (target / "values.yaml").write_text(yaml.safe_dump(values))
        return target

    def _stand_ins(self, chart: Path) -> Path:
        folder = self._folder / "tools"
        folder.mkdir()
        for name, body in STAND_INS.items():
            path = folder / name
            filled = body.replace("{oci}", CHART).replace("{chart}", str(chart)).replace("{helm}", str(program("helm")))
            path.write_text(f"#!/bin/sh\n{filled}\n")
            path.chmod(0o755)
        return folder

    def _kubeconfig(self) -> Path:
        document = yaml.safe_load(self._plane.kubeconfig.read_text())
        document["contexts"][0]["name"] = document["current-context"] = CONTEXT
        path = self._folder / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    def _explain(self) -> str:
        kubectl = self._plane.kubectl
        words = (("get", "pods", "-A", "-o", "wide"), ("get", "events", "-A", "--field-selector=type=Warning"))
        return "\n".join(kubectl(*found, check=False)[-4000:] for found in words)
