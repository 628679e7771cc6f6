"""Instances with known answers: the project's own, and those in the folder that GREEN_LLM_INSTANCES names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from green_llm.domain import instance_file
from green_llm.domain.plan import LimitKind, Objective, Order, Termination, Tolerance
from green_llm.optimizer import optimize
from green_llm.optimizer.coefficients import scales
from support.second_formulation import InfeasibleError, lexicographic

OWN = Path(__file__).parents[1] / "data" / "instances"
FOLDER = os.environ.get("GREEN_LLM_INSTANCES")


def cases() -> list[Any]:
    found = [pytest.param(OWN, name, id=f"own-{name}") for name in json.loads((OWN / "expected.json").read_text())]
    if FOLDER is None:
        reason = "GREEN_LLM_INSTANCES names no folder with instances and an expected.json"
        return [*found, pytest.param(OWN, "", marks=pytest.mark.skip(reason=reason), id="other-instances")]
    folder = Path(FOLDER)
    return found + [pytest.param(folder, name, id=name) for name in json.loads((folder / "expected.json").read_text())]


@pytest.mark.parametrize(("folder", "name"), cases())
def test_every_phase_has_the_known_optimum(folder: Path, name: str) -> None:
    expected = json.loads((folder / "expected.json").read_text())[name]
    instance = instance_file.read(folder / f"{name}.json")
    size = scales(instance)
    for text, known in expected["orders"].items():
        names = text.split(",")
        order = Order(tuple(Objective(o) for o in names), (Tolerance(expected["tolerance"]),) * len(names))
        result = optimize(instance, order)
        if not known["phases"]:
            assert result.termination is Termination.INFEASIBLE
            continue
        assert result.termination is Termination.OPTIMAL
        for phase, wanted in zip(result.phases, known["phases"], strict=True):
            scale = size[phase.objective]
            assert abs(phase.optimum - wanted["optimum"]) <= 1e-6 * max(scale, abs(wanted["optimum"])), (text, phase)


def test_the_known_answers_are_those_of_the_second_formulation(rewrite_golden: bool) -> None:
    path = OWN / "expected.json"
    expected = json.loads(path.read_text(encoding="utf-8"))
    for name, entry in expected.items():
        instance = instance_file.read(OWN / f"{name}.json")
        for text, known in entry["orders"].items():
            objectives = tuple(Objective(o) for o in text.split(","))
            try:
                optima = lexicographic(instance, Order(objectives, (Tolerance(entry["tolerance"]),) * len(objectives)))
            except InfeasibleError:
                optima = []
            if rewrite_golden:
                known["phases"] = [{"optimum": optimum} for optimum in optima]
            assert [phase["optimum"] for phase in known["phases"]] == pytest.approx(optima, rel=1e-7)
    if rewrite_golden:
        path.write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


@pytest.mark.skipif(FOLDER is None, reason="GREEN_LLM_INSTANCES is not set")
def test_the_known_least_violation_of_water() -> None:
    result = optimize(instance_file.read(Path(FOLDER or "") / "infeasible-water.json"))
    (fault,) = result.diagnosis
    assert fault.kind is LimitKind.WATER_CAP
    assert fault.shortfall == pytest.approx(160.878, rel=1e-5)
