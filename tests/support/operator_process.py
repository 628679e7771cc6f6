"""The operator as its own process, under its own service account."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from support.control_plane import ControlPlane, free_port

NAMESPACE = "green-llm-system"


class Operator:
    """One replica; ``logs`` is everything it has said."""

    def __init__(
        self,
        plane: ControlPlane,
        number: int = 0,
        server: str | None = None,
        command: tuple[str, ...] | None = None,
        **settings: str,
    ) -> None:
        token = plane.kubectl("create", "token", "green-llm", "-n", NAMESPACE, "--duration=24h").strip()
        self.health, self.metrics = free_port(), free_port()
        self.log = plane.root / f"operator-{number}-{time.monotonic_ns()}.log"
        environment = (
            os.environ
            | {
                "KUBECONFIG": str(plane.write_kubeconfig(f"operator-{number}", token, server)),
                "GREEN_LLM_NAMESPACE": NAMESPACE,
                "GREEN_LLM_HEALTH_PORT": str(self.health),
                "GREEN_LLM_METRICS_PORT": str(self.metrics),
                "GREEN_LLM_DECISION_LOG": "true",
                "PYTHONWARNINGS": "ignore",
            }
            | settings
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(command or ("green_llm", "operator"))],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def logs(self) -> str:
        return Path(self.log).read_text(errors="replace")

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def ask(self, path: str, **headers: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.metrics}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return str(answer.read().decode())

    def refusal(self, path: str) -> tuple[int, str]:
        """Status and text of an answer that is none of what was asked for."""
        try:
            self.ask(path)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        raise AssertionError(f"{path} is answered")

    def scrape(self) -> str:
        return self.ask("/metrics")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and wait."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def until(done: Callable[[], object], seconds: float = 30.0, what: str = "", log: Operator | None = None) -> float:
    """Wait until something is true; the seconds it took."""
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{log.logs[-4000:] if log else ''}")
        time.sleep(0.03)
    return time.monotonic() - begun
