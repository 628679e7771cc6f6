"""The nine sites over all their days, hour by hour."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from green_llm.backtest.world import read_world

ROOT = Path(__file__).parents[2]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("us_nine_sites", ROOT / "examples" / "us_nine_sites.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_other_days_are_made_beside_the_example(tmp_path: Path) -> None:
    made, copy = script(), tmp_path / "year"
    made.make(copy, 3)
    found = read_world(copy)
    first, last = found.span() or (None, None)
    assert (first, last) == (made.make_signals.BEGIN, made.make_signals.BEGIN + timedelta(days=3))
    assert found.request(None).policy.guardrails.max_shift == 1.0
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_forty_two_days_hour_by_hour(tmp_path: Path) -> None:
    made = script()
    found = made.back_test(tmp_path / "nine")
    assert found["intervals"] == 41 * 24
    assert found["basis"] == "Synthetic"
    ours = found["methods"]["ours"]
    assert ours["degraded_intervals"] < 0.02 * found["intervals"]
    assert sum(entry["intervals"] for entry in ours["broken"]) < 0.02 * found["intervals"]
    for name, savings in found["savings"].items():
        assert found["methods"][name]["queries"] == pytest.approx(ours["queries"])
        for measure in ("cost", "emissions_kg", "water_l"):
            assert savings[measure]["enough_days"]
            assert savings[measure]["low_percent"] < savings[measure]["percent"] < savings[measure]["high_percent"]
    first = found["order"][0]
    assert first["realised_excess_percent"] <= first["tolerance_percent"] * 1.05
    made.plot(found, tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text(encoding="utf-8")
    said = made.section(found)
    assert "SYNTHETIC" in said
    assert len(numbers(said)) == 3 * 4 * 3, "every saving has its interval"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if made.BEGIN in readme:
        committed = readme.partition(made.BEGIN)[2].partition(made.END)[0]
        assert numbers(said) == pytest.approx(numbers(committed), abs=0.6), "run `just figures`"


def numbers(text: str) -> list[float]:
    """Every figure of the tables' cells."""
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.split("|")]
    words = " ".join(cells).replace("[", " ").replace("]", " ").replace(",", " ").split()
    return [float(word) for word in words if word[0] in "+-" and word[1:2].isdigit()]
