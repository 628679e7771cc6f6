"""The control plane that all e2e tests share."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control_plane import HOW, ControlPlane, assets

ROOT = Path(__file__).parents[2]
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.3"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    programs = assets()
    if programs is None and os.environ.get("GREEN_LLM_E2E_REQUIRED"):
        pytest.fail(f"no control plane, and it is required: {HOW}")
    if programs is None:
        pytest.skip(f"no control plane: {HOW}")
    found = ControlPlane(programs)
    try:
        found.start()
        found.kubectl("apply", "--server-side", "-f", gateway_api_crds())
        found.kubectl("apply", "--server-side", "-f", ROOT / "crds")
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield found
    finally:
        found.stop()


def gateway_api_crds() -> Path:
    """The standard channel of Gateway API, from its Go module."""
    ran = subprocess.run(
        ["go", "mod", "download", "-json", GATEWAY_API], capture_output=True, text=True, check=True, cwd="/"
    )
    return Path(json.loads(ran.stdout)["Dir"]) / "config" / "crd" / "standard"
