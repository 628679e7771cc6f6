"""The command line as a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from green_llm.cli import app
from green_llm.cli.errors import guarded


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``cli("solve", path, "--json")`` runs a command in this process."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["green-llm", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        capsys.readouterr()
        status = guarded(app)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run
