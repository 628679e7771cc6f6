"""The audit's columns are documented."""

from __future__ import annotations

import re
from pathlib import Path

from green_llm.domain.audit import COLUMNS


def test_every_column_is_documented_and_every_documented_one_exists() -> None:
    text = (Path(__file__).parents[2] / "docs" / "account.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`(\w+)`", table)) - {"in_force", "nearest", "static"}
    assert named == set(COLUMNS)
