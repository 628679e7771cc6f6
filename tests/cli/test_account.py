"""``green-llm account`` on the small example."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

Cli = Callable[..., Any]
EXAMPLES = Path(__file__).parents[2] / "examples"
HOUR = "2026-10-29T19:00Z"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small example after three intervals: two hours."""
    root = tmp_path_factory.mktemp("account")
    shutil.copytree(EXAMPLES / "three-sites", root / "three")
    return root / "three"


@pytest.fixture
def three(kept: Path, cli: Cli) -> Path:
    if not (kept / "audit").exists():
        for start in ("2026-10-29T18:00Z", "2026-10-29T18:40Z", "2026-10-29T20:00Z"):
            assert cli("run", kept, "--once", "--start", start).status == 0
    return kept


def test_a_month_as_booked_and_restated(cli: Cli, three: Path) -> None:
    ran = cli("account", three, "--month", "2026-10", "--json")
    assert ran.status == 0, ran.err
    (found,) = ran.json["accounts"]
    assert (found["policy"], found["currency"]) == ("default", "USD")
    booked, restated = found["booked"], found["restated"]
    assert found["ledger"]["audited_share"] == pytest.approx(1.0)
    assert booked["in_force"]["energy_kwh"] == pytest.approx(found["ledger"]["in_force"]["energy_kwh"])
    for name in ("cost", "emissions_kg", "water_l", "tokens", "energy_kwh"):
        for part in ("classes", "sites"):
            whole = sum(amounts[name] for amounts in booked[part].values())
            assert whole == pytest.approx(booked["in_force"][name]), (name, part)
    # What was foreseen has been measured since.
    assert booked["signal_qualities"]["carbonIntensity"]["forecast"] > 0
    assert restated["signal_qualities"]["carbonIntensity"] == {"measured": 1.0}
    assert restated["signal_qualities"]["electricityPrice"] == {"DayAhead": 1.0}
    assert booked["in_force"]["cost"] == pytest.approx(restated["in_force"]["cost"])
    assert booked["in_force"]["emissions_kg"] != pytest.approx(restated["in_force"]["emissions_kg"], rel=1e-3)
    ours = restated["in_force"]
    assert ours["per_1000_tokens"]["emissions_g"] == pytest.approx(1e6 * ours["emissions_kg"] / ours["tokens"])
    for side in ("nearest", "static"):
        saved = restated["saved_against"][side]
        assert saved["water_l"] == pytest.approx(restated[side]["water_l"] - ours["water_l"])
        assert saved["emissions_kg"] == pytest.approx(restated[side]["emissions_kg"] - ours["emissions_kg"])
    assert booked["measured_share"] == 0.0


def test_a_revised_signal_restates_and_does_not_rebook(cli: Cli, three: Path) -> None:
    (before,) = cli("account", three, "--month", "2026-10", "--json").json["accounts"]
    hour = "side = 'in_force' AND site = 'oregon' AND start_time = TIMESTAMP '2026-10-29 19:00:00'"
    with duckdb.connect() as db:
        audit = db.read_parquet(f"{three}/audit/default/*.parquet")
        ((grid_kwh,),) = audit.filter(hour).aggregate("sum(grid_energy_kwh)").fetchall()
    path = three / "signals" / "carbonIntensity" / "oregon.csv"
    text = path.read_text()
    line = re.compile(rf"({HOUR},2026-10-29T20:00Z,)(\d+)(,g/kWh,measured,)")
    actual = float(line.search(text)[2])
    path.write_text(line.sub(rf"\g<1>{actual + 100:.0f}\g<3>", text))
    (after,) = cli("account", three, "--month", "2026-10", "--json").json["accounts"]
    path.write_text(text)
    assert after["booked"] == before["booked"]
    difference = after["restated"]["in_force"]["emissions_kg"] - before["restated"]["in_force"]["emissions_kg"]
    assert grid_kwh > 0
    assert difference == pytest.approx(0.1 * grid_kwh)


def test_tables_and_csv(cli: Cli, three: Path, tmp_path: Path) -> None:
    ran = cli("account", three, "--month", "2026-10", "--csv", tmp_path / "rows.csv")
    assert ran.status == 0
    for text in ("weights of adoption", "inference/assistant/chat", "100% measured", "the audit has 100.0%", "SCI"):
        assert text in ran.out
    assert (tmp_path / "rows.csv").read_text().startswith("start_time,end_time,policy,side,site,demand,class,")
    # The audits alone say what was booked.
    ran = cli("account", three / "audit", "--month", "2026-10")
    assert ran.status == 0
    assert "Not restated" in ran.out


def test_what_is_wrong_is_said(cli: Cli, three: Path) -> None:
    ran = cli("account", three, "--month", "2026-13")
    assert (ran.status, "is no month, such as 2026-11" in ran.err) == (2, True)
    ran = cli("account", three, "--month", "2025-01")
    assert ran.status == 2
    assert "there is no audit of 2025-01" in ran.err
    shutil.rmtree(three / "audit")
    ran = cli("account", three, "--month", "2026-10")
    assert (ran.status, "(audits: of no policy)" in ran.err) == (2, True), "other directories are no policies"
    ran = cli("account", three / "nowhere")
    assert (ran.status, "is no directory" in ran.err) == (2, True)


def test_a_month_ends_between_two_processes(cli: Cli, tmp_path: Path) -> None:
    root = Path(shutil.copytree(EXAMPLES / "three-sites", tmp_path / "months"))
    for start in ("2026-10-31T22:50Z", "2026-10-31T23:40Z", "2026-11-01T00:30Z"):
        assert cli("run", root, "--once", "--start", start).status == 0
    ledger = json.loads((root / "state" / "ledger-default.json").read_text())
    assert ledger["months"].keys() == {"2026-10", "2026-11"}
    for field in ("energy_kwh", "cost_paid", "emissions_kg", "water_off_site_l", "queries", "tokens"):
        months = {name: month["in_force"][field] for name, month in ledger["months"].items()}
        assert sum(months.values()) == pytest.approx(sum(site.get(field, 0.0) for site in ledger["in_force"].values()))
        for name, month in ledger["months"].items():
            of_classes = sum(amounts[field] for amounts in month["by_class"].values())
            assert of_classes == pytest.approx(months[name], rel=1e-12), (name, field)
            (entry,) = cli("account", root, "--month", name, "--json").json["accounts"]
            assert entry["booked"]["in_force"][field] == pytest.approx(months[name], rel=1e-9)
            assert entry["ledger"]["audited_share"] == pytest.approx(1.0)
    # Ten minutes of the hour 22, all of 23, half of 0: of Seattle's and New York's profiles, by their clocks.
    october, november = (ledger["months"][name]["in_force"]["queries"] for name in ("2026-10", "2026-11"))
    assert october == pytest.approx((36500 + 5800 + 53000 + 5900) / 6 + 34000 + 5000 + 50500 + 5000)
    assert november == pytest.approx((31500 + 4100 + 46000 + 4300) / 2)
