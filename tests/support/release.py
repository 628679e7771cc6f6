"""The chart installed on the node of the tests, and what is asked of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from support import images
from support.cluster_objects import FLEET, NS, condition, demand, policy, route, weights
from support.control_plane import ControlPlane
from support.helm import CHART, program
from support.operator_process import NAMESPACE, until

REPOSITORY, _, TAG = images.OPERATOR.rpartition(":")
VALUES: dict[str, Any] = {
    "image": {"repository": REPOSITORY, "tag": TAG, "pullPolicy": "Never"}, "rbac": {"enforce": True},
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "450Mi"}},
    "podDisruptionBudget": {"enabled": True},
}  # fmt: skip
PODS = "app.kubernetes.io/name=green-llm"
PERIOD_SECONDS = 10
ORIGINAL, PLANNED = {"near": 700, "cheap": 300}, {"near": 0, "cheap": 1000}


class Release:
    """One release of the chart."""

    def __init__(
        self, plane: ControlPlane, namespace: str = NAMESPACE, name: str = "green-llm", user: str = ""
    ) -> None:
        self.plane, self.namespace, self.name, self.user = plane, namespace, name, user

    def helm(self, *arguments: object, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        command = [program("helm"), "--kubeconfig", self.plane.kubeconfig, "-n", self.namespace]
        command += ["--kube-as-user", self.user] if self.user else []
        text = yaml.safe_dump(dict(values)) if values is not None else None
        given = ["-f", "-"] if text is not None else []
        return subprocess.run(
            [*map(str, (*command, *arguments)), *given], input=text, capture_output=True, text=True, check=False
        )

    def upgrade(self, *arguments: object, chart: Path = CHART, values: Mapping[str, Any] | None = None) -> str:
        """Install it or upgrade it, and wait until its pods are ready; what Helm says.

        Raises:
            AssertionError: Helm failed.
        """
        ran = self.helm(
            "upgrade", "--install", self.name, chart, "--wait", "--timeout=120s", *arguments, values=values or VALUES
        )
        assert ran.returncode == 0, f"{ran.stderr}\n{self.explain()}"
        return ran.stdout

    def uninstall(self) -> None:
        ran = self.helm("uninstall", self.name, "--wait", "--timeout=120s")
        assert ran.returncode == 0, f"{ran.stderr}\n{self.explain()}"

    @property
    def deployed(self) -> bool:
        return self.name in self.helm("list", "--short").stdout.split()

    def pod(self) -> dict[str, Any]:
        """The one pod that is not being ended."""
        pods = self.plane.get("pods", "-n", self.namespace, "-l", PODS)["items"]
        living = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        assert len(living) == 1, [pod["metadata"]["name"] for pod in pods]
        found: dict[str, Any] = living[0]
        return found

    def ready(self) -> bool:
        """Whether there is one pod, and it is ready."""
        pods = self.plane.get("pods", "-n", self.namespace, "-l", PODS)["items"]
        return len(pods) == 1 and any(
            (found["type"], found["status"]) == ("Ready", "True") for found in pods[0]["status"].get("conditions", [])
        )

    def wait(self) -> dict[str, Any]:
        until(self.ready, 90, "one ready pod")
        return self.pod()

    def logs(self, pod: str = "", *arguments: object) -> str:
        return self.plane.kubectl("logs", "-n", self.namespace, pod or self.pod()["metadata"]["name"], *arguments)

    def explain(self) -> str:
        """What is going on, where a test fails."""
        return "\n".join(
            self.plane.kubectl(*words, "-n", self.namespace, check=False)
            for words in (
                ("get", "pods", "-o", "wide"),
                ("describe", "pods"),
                ("logs", "-l", PODS, "--tail=40"),
                ("get", "events"),
            )
        )

    @contextmanager
    def decisions(self) -> Iterator[list[datetime]]:
        """When intervals were planned, by the logs of the pod there is and of the one there is at the end."""
        first = self.pod()["metadata"]["name"]
        path = self.plane.root / f"{first}.log"
        with path.open("w") as log:
            command = [*self.plane.command(), "logs", "-n", self.namespace, first, "--follow", "--since=1s"]
            following = subprocess.Popen(command, stdout=log, stderr=subprocess.DEVNULL)
        found: list[datetime] = []
        try:
            yield found
            last = self.pod()["metadata"]["name"]
            text = path.read_text() + (self.logs(last) if last != first else "")
        finally:
            following.kill()
            following.wait()
        found += sorted({datetime.fromisoformat(line["at"]) for line in lines(text) if "routes_written" in line})


def lines(text: str) -> Iterator[dict[str, Any]]:
    """Each line of a log.

    Raises:
        ValueError: one is no JSON.
    """
    for line in text.splitlines():
        yield json.loads(line)


def steer(release: Release) -> None:
    """Have it steer a route, and wait until it does."""
    release.plane.apply(*FLEET, policy(periodSeconds=PERIOD_SECONDS), route(near=700, cheap=300), demand())
    until(lambda: weights(release.plane) == PLANNED, 60, "planned weights")
    until(lambda: condition(release.plane, "idem", "assistant", "Ready", "-n", NS) == ("True", "Ready"), 30, "ready")


def version(plane: ControlPlane) -> str:
    """Changes with every write to the route."""
    return str(plane.get("httproute", "iowa", "-n", NS)["metadata"]["resourceVersion"])


def solved(plane: ControlPlane) -> str:
    return str(plane.get("greenpol", "default")["status"]["plan"]["solvedTime"])


def without_a_gap(release: Release, change: Any) -> None:
    """Change something while it steers: every interval takes place, and no route is written."""
    plane = release.plane
    steer(release)
    before, demands = version(plane), plane.get("idem", "assistant", "-n", NS)["spec"]
    with release.decisions() as planned:
        now = solved(plane)
        until(lambda: solved(plane) > now, 30, "an interval before")
        change()
        release.wait()
        time.sleep(2 * PERIOD_SECONDS)
    assert len(planned) >= 4
    longest = max(after - earlier for earlier, after in itertools.pairwise(planned))
    assert longest < timedelta(seconds=2 * PERIOD_SECONDS), planned
    assert version(plane) == before
    assert plane.get("idem", "assistant", "-n", NS)["spec"] == demands
