"""Helm, as a user runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.control_plane import HOW, assets

CHART = Path(__file__).parents[2] / "charts" / "green-llm"


def program(name: str) -> Path:
    """Where a program of `just e2e-tools` is; the test is skipped where it is not, and fails where that is not allowed."""
    found = assets()
    if found is not None and (found / name).exists():
        return found / name
    if os.environ.get("GREEN_LLM_E2E_REQUIRED"):
        pytest.fail(f"no {name} here: {HOW}")
    pytest.skip(f"no {name} here: {HOW}")


def helm(*arguments: object, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it; values go in by standard input."""
    given = ["-f", "-"] if values else []
    return subprocess.run(
        [*map(str, (program("helm"), *arguments)), *given], input=yaml.safe_dump(dict(values or {})),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def template(
    chart: Path, *arguments: object, values: Mapping[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Render a chart for a release `green-llm`, for the API server of the tests: a Helm built from its module knows none."""
    return helm("template", "green-llm", chart, "--kube-version=1.36", *arguments, values=values)


def rendered(values: Mapping[str, Any] | None = None, *arguments: object) -> str:
    """What the chart makes of values.

    Raises:
        RuntimeError: it refuses them.
    """
    ran = template(CHART, *(arguments or ("-n", "green-llm-system")), values=values)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    return ran.stdout
