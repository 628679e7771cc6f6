"""The examples: synthetic, reproducible, whole, and fitted to what they say."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "make_signals.py"
FILES = sorted(EXAMPLES.rglob("signals/*/*.csv"))


def script() -> Any:
    spec = importlib.util.spec_from_file_location("make_signals", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_signals"] = module
    spec.loader.exec_module(module)
    return module


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_committed_signals_are_what_the_script_makes() -> None:
    ran = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-500:]
    assert "SYNTHETIC" in ran.stdout
    assert "0 files differ" in ran.stdout


def test_no_file_is_missing_or_left_over() -> None:
    assert {path for path, _ in script().files()} == set(FILES)
    assert sum(path.stat().st_size for path in FILES) < 8e6


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(EXAMPLES)) for path in FILES])
def test_a_file_covers_its_days_and_tells_nothing_early(path: Path) -> None:
    found = rows(path)
    known = [row for row in found if not row["issued_at"] or path.parent.name == "electricityPrice"]
    starts = sorted(datetime.fromisoformat(row["start"]) for row in known)
    assert all(later - start == timedelta(hours=1) for start, later in pairwise(starts)), "a gap"
    assert len(starts) == (42 if "us-nine" in str(path) else 8) * 24
    assert starts[0] < datetime.fromisoformat("2026-11-01T06:00Z") < starts[-1], "clocks change inside"
    for row in found:
        if row["issued_at"]:
            assert datetime.fromisoformat(row["issued_at"]) <= datetime.fromisoformat(row["start"])


def test_spreads_are_those_cited() -> None:
    made = script()
    targets = made.TARGETS
    for site, place in made.SITES.items():
        found = made.signals(site)
        price, carbon = found["price"][: 24 * made.DAYS], found["carbon"][: 24 * made.DAYS]
        assert price.mean() == pytest.approx(place.price.value)
        assert carbon.mean() == pytest.approx(place.carbon.value, rel=0.01)
        error = made.forecast_error(found["carbon"], found["carbon forecast"], "carbon")
        assert error == pytest.approx(targets["carbon forecast error, first 24 h"][0], rel=0.1)
        if place.solar:
            assert 0.103 <= made.forecast_error(found["solar"], found["solar forecast"], "solar") <= 0.140
        if place.wind:
            assert found["wind"][: 24 * made.DAYS].mean() == pytest.approx(targets["wind capacity factor"][0], rel=0.02)
        late = made.forecasts(np.random.default_rng(0), found["carbon"], 0.064, "relative")
        known = found["carbon"][np.clip(6 + 24 * np.arange(-1, made.DAYS)[:, None] + np.arange(48)[None], 0, None)]
        wrong = np.abs(late - known) / known
        assert wrong[1:-2, 24:].mean() > wrong[1:-2, :24].mean(), "errors grow with lead time"
    negative = (made.signals("northern-california")["price"][: 24 * made.DAYS] < 0).mean()
    assert negative == pytest.approx(0.025, abs=0.002)


def test_they_say_that_they_are_synthetic() -> None:
    assert "synthetic" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in [
        *EXAMPLES.rglob("sources.yaml"),
        *EXAMPLES.rglob("sites/*.yaml"),
        EXAMPLES / "three-sites" / "sites.yaml",
    ]:
        text = path.read_text(encoding="utf-8")
        assert "SYNTHETIC" in text or path.parent.name == "three-sites"
