"""``solve``, ``verify`` and ``compare`` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from green_llm.domain import instance_file
from support.instances import paper_size

INSTANCES = Path(__file__).parents[1] / "data" / "instances"
TWO, DRY = INSTANCES / "two-sites.json", INSTANCES / "dry.json"
Cli = Callable[..., Any]


def test_solve_prints_one_json_object(cli: Cli) -> None:
    ran = cli("solve", TWO, "--json")
    assert ran.status == 0
    found = ran.json
    assert {"termination", "method", "fallback_reason", "phases", "values", "binding", "diagnosis", "seconds"} <= set(
        found
    )
    assert (found["termination"], found["method"]) == ("optimal", "decomposition")
    assert [phase["objective"] for phase in found["phases"]] == ["cost", "carbon", "delay"]
    assert found["phases"][-1]["budget"] is None
    assert set(found["phases"][0]) == {"objective", "optimum", "budget", "lower_bound", "first_slot", "gap", "seconds"}
    assert set(found["values"]) == {
        "cost", "carbon", "delay", "emissions", "water", "energy", "displaced_renewables_kwh"
    }  # fmt: skip
    binding = found["binding"][0]
    assert (binding["limit"], binding["site"], binding["slot"], binding["resource"]) == (
        "capacity", "site-0", 0, "resource-0"
    )  # fmt: skip
    assert {"used", "cap", "unit", "prices"} <= set(binding)
    priced = next(entry for entry in found["binding"] if entry["prices"])
    assert set(priced["prices"][0]) == {"objective", "value", "unit"}
    assert found["seconds"] > 0


def test_solve_prints_tables_for_people(cli: Cli) -> None:
    ran = cli("solve", TWO)
    assert ran.status == 0
    assert "optimal by decomposition" in ran.out
    assert "capacity site-0 0 resource-0" in ran.out


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        ([], 0.15 * 1.001),
        (["--tolerance", "0.02"], 0.15 * 1.02),
        (["--tolerance", "cost=3%,carbon=1%"], 0.15 * 1.03),
        (["--tolerance", "cost=0.05$"], 0.20),
    ],
)
def test_tolerances(cli: Cli, options: list[str], budget: float) -> None:
    # The cheapest plan costs 0.15 $.
    assert cli("solve", TWO, "--json", *options).json["phases"][0]["budget"] == pytest.approx(budget)


def test_orders_and_weights(cli: Cli) -> None:
    found = cli("solve", TWO, "--json", "--objectives", "water,emissions").json
    assert [phase["objective"] for phase in found["phases"]] == ["water", "emissions"]
    assert cli("solve", TWO, "--json", "--weighted", "cost=1,delay=2").json["method"] == "weighted"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--objectives", "cost,comfort"], '"comfort" is no objective (known: cost, carbon, delay, emissions, water)'),
        (["--objectives", "cost,cost"], "cost is there more than once"),
        (["--tolerance", "water=1%"], "water is not among --objectives"),
        (["--tolerance", "cost=5L"], "cost is counted in $, not L"),
        (["--tolerance", "-1"], '"-1" must be a share'),
        (["--tolerance", "5$"], 'the amount "5$" needs an objective'),
        (["--weighted", "cost=x"], '"cost=x" must be NAME=NUMBER'),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_options_are_one_message(cli: Cli, options: list[str], words: str) -> None:
    ran = cli("solve", TWO, *options)
    assert ran.status == 2
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not ran.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other/1"}, "format"),
        ({"demand": None}, "demand"),
        ({"pue": [0.5, 1.0]}, "pue"),
        ({"demand": [[[100.0, -1.0, 100.0]]]}, "demand"),
        ({"demand": [[[100.0, 100.0]]]}, "demand"),
        ({"extra_field": 1}, "extra_field"),
        ({"sites": ["site-0", "site-0"]}, "site-0"),
        ({"electricity_price": [[0.1, "dear", 0.1], [0.1, 0.1, 0.1]]}, "electricity_price"),
    ],
)
def test_a_wrong_instance_is_one_message_with_file_and_field(
    cli: Cli, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(json.loads(TWO.read_text()) | change))
    ran = cli("solve", path)
    assert ran.status == 2
    assert str(path) in ran.err
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_wrong_number_is_named_by_index(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(json.loads(TWO.read_text()) | {"demand": [[[100.0, -1.0, 100.0]]]}))
    err = cli("solve", path).err
    assert "area-0" in err
    assert "class-0" in err
    assert "slot" in err or "1" in err


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 3}', "\x00"])
def test_what_is_no_instance_is_one_message(cli: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    ran = cli("solve", path)
    assert ran.status == 2
    assert str(path) in ran.err


def test_infeasible_names_the_shortfall_and_still_writes_a_plan(cli: Cli, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    ran = cli("solve", DRY, "--json", "--plan", plan)
    assert ran.status == 3
    assert ran.json["termination"] == "infeasible"
    (fault,) = ran.json["diagnosis"]
    assert fault["kind"] == "water_cap"
    assert fault["shortfall"] == pytest.approx(fault["required"] - fault["available"])
    checked = cli("verify", DRY, plan, "--json")
    assert checked.status == 3
    assert checked.json["broken"][0]["shortfall"] == pytest.approx(fault["shortfall"])


def test_verify_agrees_with_solve(cli: Cli, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    values = cli("solve", TWO, "--json", "--plan", plan).json["values"]
    ran = cli("verify", TWO, plan, "--json")
    assert ran.status == 0
    assert ran.json["valid"] is True
    assert ran.json["values"] == pytest.approx(values)
    assert "every balance and limit is kept" in cli("verify", TWO, plan).out


def test_verify_names_what_is_broken(cli: Cli, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    cli("solve", TWO, "--plan", plan)
    document = json.loads(plan.read_text())
    document["shares"][0][0][0][1] += 0.25
    plan.write_text(json.dumps(document))
    ran = cli("verify", TWO, plan)
    assert ran.status == 3
    assert "sum to 1.25, not 1" in ran.out
    plan.write_text("{}")
    assert cli("verify", TWO, plan).status == 2


def test_time_limit_is_status_4(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps(instance_file.dump(paper_size())))
    ran = cli("solve", path, "--json", "--time-limit", "0.001")
    assert ran.status == 4
    assert ran.json["termination"] == "time_limit"
    assert ran.json["phases_not_reached"] == ["cost", "carbon", "delay"]


def test_compare_sets_baselines_beside_the_plan(cli: Cli) -> None:
    ran = cli("compare", TWO, "--json", "--static", "site-0=0.5,site-1=0.5")
    assert ran.status == 0
    methods = ran.json["methods"]
    assert set(methods) == {
        "lexicographic", "cost-only", "carbon-only", "emissions-only", "delay-only", "weighted", "nearest", "uniform",
        "static",
    }  # fmt: skip
    assert methods["cost-only"]["values"]["cost"] == pytest.approx(0.15)
    # Everything at site 0: 100 tokens where 80 have room, in all three slots.
    assert [fault["kind"] for fault in methods["nearest"]["broken"]] == ["capacity"] * 3
    assert methods["static"]["values"] == pytest.approx(methods["uniform"]["values"])
    assert methods["lexicographic"]["difference_percent"]["cost"] == 0.0
    table = cli("compare", TWO)
    assert "3 capacity" in table.out
    assert cli("compare", TWO, "--static", "site-9=1").status == 2


def test_the_module_is_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "green_llm", "solve", str(TWO), "--json"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["termination"] == "optimal"


def test_ctrl_c_ends_a_long_solve_cleanly(tmp_path: Path) -> None:
    path, plan = tmp_path / "large.json", tmp_path / "plan.json"
    path.write_text(json.dumps(instance_file.dump(paper_size())))
    script = f"""
import sys, time
import green_llm.optimizer
from green_llm.cli import main
def optimize(*_, **__):
    print("solving", flush=True)
    time.sleep(60)
green_llm.optimizer.optimize = optimize
sys.argv = ["green-llm", "solve", {str(path)!r}, "--plan", {str(plan)!r}]
main()
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", script], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "solving\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not plan.exists()


def test_a_reader_that_leaves_is_no_crash() -> None:
    command = f"{sys.executable} -m green_llm solve {TWO} --json | head -1"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert ran.stdout.strip() == "{"
    assert "Traceback" not in ran.stderr
