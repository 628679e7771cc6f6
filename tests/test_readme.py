"""The README's commands, run as they stand on a fresh copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
LEFT_OUT = (".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "demo", "__pycache__")


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PIP_INDEX_URL", "PIP_CACHE_DIR") if key in os.environ
    }
    return subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=clean | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.readme
def test_the_two_commands_of_the_readme(tmp_path: Path) -> None:
    folder = tmp_path / "green-llm"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    first, second = COMMANDS[:2]
    shown = run(first, folder)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "totals" in shown.stdout
    assert len(shown.stdout.splitlines()) > 100
    # The suite itself runs in CI; here it is enough that the command installs it and it passes.
    tested = run(second, folder, PYTEST_ADDOPTS="tests/domain tests/optimizer")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert re.search(r"\d+ passed", tested.stdout)


def test_there_are_two_commands_of_one_line_each() -> None:
    assert len(COMMANDS) >= 2
    assert all(len(command.strip().splitlines()) == 1 for command in COMMANDS[:2])
