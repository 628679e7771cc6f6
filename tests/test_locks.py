"""The lock files that the image is made from: they are what pyproject.toml asks for, and everything in them has a hash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "build.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(path: Path) -> list[str]:
    """What is taken, without the hashes: a file that is added to a version later is no other version."""
    return [line.rstrip(" \\") for line in path.read_text().splitlines() if line[:1].strip()]


@pytest.mark.parametrize("name", LOCKS)
def test_everything_has_a_hash_and_nothing_a_place(name: str) -> None:
    text = (ROOT / "controller" / name).read_text()
    entries = [entry for entry in re.split(r"(?m)^(?=[a-z])", text) if entry.strip()]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert "--index" not in text


def test_the_wheel_is_made_with_what_the_project_asks_for() -> None:
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_they_are_what_the_project_asks_for(tmp_path: Path) -> None:
    for name in LOCKS:
        shutil.copy(ROOT / "controller" / name, tmp_path)
    programs = Path(sys.executable).parent
    command = [programs / "just", f"bin={programs}", "lock", tmp_path]
    ran = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode and not os.environ.get("GREEN_LLM_E2E_REQUIRED"):
        pytest.skip(f"the package index does not answer: {ran.stderr[-300:]}")
    assert ran.returncode == 0, ran.stderr
    for name in LOCKS:
        assert pins(tmp_path / name) == pins(ROOT / "controller" / name), "run `just lock`"
