"""A node that runs real pods: containerd, kubelet, kube-proxy and a scheduler beside a control plane. Needs root.

It leaves nothing behind: what an earlier run left that was killed is removed before the next one starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from support import images
from support.control_plane import ControlPlane, free_port
from support.names import DOMAIN, Names

ADDRESS, POD_NETWORK = "10.203.0.1", "10.202.0.0/24"
LINK, BRIDGE = "k8s0", "cni0"
NODE = "node-1"
CGROUP = "green-llm-node"
PLUGINS = Path("/usr/lib/cni")
PROGRAMS = ("kube-scheduler", "kube-proxy", "kubelet", "containerd", "containerd-shim-runc-v2", "ctr")
DEBIAN = {
    "runc": "runc", "ip": "iproute2", "nft": "nftables", "conntrack": "conntrack", "buildah": "buildah",
    "mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "dnsmasq": "dnsmasq-base",
}  # fmt: skip


def missing(programs: Path) -> str:
    """What keeps this machine from running a node, and how to get it; empty where nothing does."""
    if os.geteuid():
        return "a node needs root"
    lacking = sorted({package for program, package in DEBIAN.items() if not shutil.which(program)})
    lacking += [] if (PLUGINS / "bridge").exists() else ["containernetworking-plugins"]
    if lacking:
        return f"a node needs Debian's {', '.join(lacking)}: apt-get install them"
    absent = [program for program in (*PROGRAMS, "helm") if not (programs / program).exists()]
    if absent:
        return f"a node needs {', '.join(absent)}: run `just e2e-tools`"
    clean_up()
    if "kube-proxy" in _output("nft", "list", "tables") or (Path("/sys/class/net") / BRIDGE).exists():
        return "this machine is a Kubernetes node already"
    return ""


class Node:
    """One node of a control plane; stop it before the control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.root = plane.root / "node"
        self._names = Names(plane, ADDRESS)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        for folder in ("net.d", "kubelet", "pki", "state", "data", "ipam"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "owner").write_text(str(os.getpid()))
        for hierarchy in _hierarchies():
            (hierarchy / CGROUP).mkdir(exist_ok=True)
            if (hierarchy / "cpuset.cpus").exists():  # version 1: a new one is empty
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (hierarchy / CGROUP / name).write_text((hierarchy / name).read_text())
        self._names.start()
        self._start_containerd()
        self.load(images.pause())
        self._start_kubernetes()
        self.plane.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")

    def load(self, image: str) -> None:
        """Make an image of ours known to the node."""
        self._ctr("images", "import", images.archive(image))

    def name(self, image: str, name: str) -> None:
        """Let the node know an image that it has by another name too."""
        self._ctr("images", "tag", "--force", image, name)

    def process(self, container: str) -> int:
        """The first process of a container, which is named as its pod's status does."""
        rows = [line.split() for line in self._ctr("tasks", "list").splitlines()]
        return next(int(row[1]) for row in rows if row[0] == container.removeprefix("containerd://"))

    def stop(self) -> None:
        self._names.stop()
        for program in ("kubelet", "kube-proxy", "kube-scheduler", "containerd"):
            if program in self.plane.processes:
                self.plane.stop_program(program)
        remove(self.root)

    def _ctr(self, *arguments: object) -> str:
        command = [self.plane.programs / "ctr", "-a", self.root / "containerd.sock", "-n", "k8s.io", *arguments]
        return _output(*command)

    def _start_containerd(self) -> None:
        (self.root / "net.d" / "10-node.conflist").write_text(json.dumps(self._network()))
        (self.root / "containerd.toml").write_text(
            CONTAINERD.format(root=self.root, pause=images.PAUSE, plugins=PLUGINS)
        )
        path = f"{self.plane.programs}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.plane.run("containerd", "-c", self.root / "containerd.toml", environment={"PATH": path})
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                self._ctr("version")
                return
            if time.monotonic() > end:
                raise RuntimeError((self.plane.root / "containerd.log").read_text()[-3000:])
            time.sleep(0.1)

    def _start_kubernetes(self) -> None:
        admin = self.plane.kubeconfig
        proxy = PROXY | {
            "clientConnection": {"kubeconfig": str(admin)}, "healthzBindAddress": f"127.0.0.1:{free_port()}",
            "metricsBindAddress": f"127.0.0.1:{free_port()}",
        }  # fmt: skip
        (self.root / "proxy.yaml").write_text(yaml.safe_dump(proxy))
        kubelet = KUBELET | {
            "containerRuntimeEndpoint": f"unix://{self.root}/containerd.sock", "port": free_port(),
            "healthzPort": free_port(),
        }  # fmt: skip
        (self.root / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
        self.plane.run("kube-scheduler", "--kubeconfig", admin, "--leader-elect=false", "--secure-port=0")
        self.plane.run("kube-proxy", "--config", self.root / "proxy.yaml")
        self.plane.run(
            "kubelet", "--config", self.root / "kubelet.yaml", "--kubeconfig", admin, "--root-dir", self.root / "kubelet",
            "--cert-dir", self.root / "pki", f"--hostname-override={NODE}", f"--node-ip={ADDRESS}",
        )  # fmt: skip
        end = time.monotonic() + 60
        while NODE not in self.plane.kubectl("get", "nodes", check=False):
            if time.monotonic() > end or self.plane.processes["kubelet"].poll() is not None:
                raise RuntimeError((self.plane.root / "kubelet.log").read_text()[-3000:])
            time.sleep(0.2)

    def _network(self) -> dict[str, object]:
        ipam = {
            "type": "host-local", "dataDir": str(self.root / "ipam"), "ranges": [[{"subnet": POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }  # fmt: skip
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "ipam": ipam}
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "green-llm", "plugins": [bridge, portmap]}


def add_link() -> None:
    """The address that the API server is reached at from pods; it may not be loopback."""
    _output("ip", "link", "add", LINK, "type", "bridge")
    _output("ip", "address", "add", f"{ADDRESS}/32", "dev", LINK)
    _output("ip", "link", "set", LINK, "up")


def clean_up() -> None:
    """Remove what a run left that was killed."""
    for root in Path(tempfile.gettempdir()).glob("green-llm-e2e-*/node"):
        owner = (root / "owner").read_text() if (root / "owner").exists() else ""
        if not (Path("/proc") / owner).exists() or not owner:
            remove(root)
            shutil.rmtree(root.parent, ignore_errors=True)


def remove(root: Path) -> None:
    """End the pods of the node that lived in this directory; its mounts, links, rules and control groups go too."""
    shims = [pid for pid, command in _commands() if f"-address\0{root}/containerd.sock" in command]
    for pid in [child for shim in shims for child in _descendants(shim)] + shims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for found in (root / "state").glob("io.containerd.runtime.v2.task/k8s.io/*/bootstrap.json"):
        Path(json.loads(found.read_text())["address"].removeprefix("unix://")).unlink(missing_ok=True)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{root}/")]):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    for command in (
        ["ip", "link", "delete", BRIDGE], ["ip", "link", "delete", LINK],
        ["nft", "delete", "table", "ip", "kube-proxy"], ["nft", "delete", "table", "ip6", "kube-proxy"],
    ):  # fmt: skip
        subprocess.run(command, check=False, capture_output=True)
    for hierarchy in _hierarchies():
        for group in sorted((hierarchy / CGROUP).rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                group.rmdir()
        with contextlib.suppress(OSError):
            (hierarchy / CGROUP).rmdir()
    shutil.rmtree(root, ignore_errors=True)


def _hierarchies() -> list[Path]:
    """The control groups' trees: one of version 2, or one per controller."""
    top = Path("/sys/fs/cgroup")
    return [top] if (top / "cgroup.controllers").exists() else [path for path in top.iterdir() if not path.is_symlink()]


def _commands() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(path.name), (path / "cmdline").read_text()


def _descendants(pid: int) -> Iterator[int]:
    """Children first."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _descendants(int(child))
                yield int(child)


def _output(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout


KUBELET: dict[str, object] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": ADDRESS,
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"}, "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{CGROUP}",
    "enforceNodeAllocatable": [], "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
    "failCgroupV1": False, "failSwapOn": False, "clusterDNS": [ADDRESS], "clusterDomain": DOMAIN,
    "imageGCHighThresholdPercent": 100,
    "localStorageCapacityIsolation": False, "readOnlyPort": 0,
}  # fmt: skip
PROXY: dict[str, object] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
    "hostnameOverride": NODE, "clusterCIDR": POD_NETWORK, "conntrack": {"maxPerCore": 0, "min": 0},
}  # fmt: skip
# Without `restrict_oom_score_adj` runc fails where the machine may not lower a process's score.
CONTAINERD = """\
version = 3
root = "{root}/data"
state = "{root}/state"
[grpc]
  address = "{root}/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{root}/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
