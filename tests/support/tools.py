"""Programs that some tests need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

BUILT = Path(os.environ.get("KUBEBUILDER_ASSETS") or Path.home() / ".cache" / "green-llm" / "bin")
HOW = {
    "promtool": "install Debian's package prometheus",
    "prometheus": "install Debian's package prometheus",
    "shellcheck": "install Debian's package shellcheck",
    "helm": "run `just e2e-tools`",
    "envoy": "run `just e2e-tools`",
}


def needed(program: str) -> str:
    """Where a program is; without it the test is skipped, or fails where nothing may be skipped."""
    found = shutil.which(program) or shutil.which(program, path=str(BUILT))
    if found is None:
        reason = f"{program} is not here: {HOW[program]}"
        if os.environ.get("GREEN_LLM_E2E_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found
