"""The generator of instances to measure on: they are solvable, and like those of another generator where there is one."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from green_llm.domain import instance_file
from green_llm.domain.instance import Instance
from green_llm.domain.plan import Order
from green_llm.optimizer import optimize
from green_llm.optimizer.coefficients import delay_seconds
from green_llm.optimizer.layout import layout
from green_llm.optimizer.measure import hardness, solve_plain
from green_llm.optimizer.scaled import scaled

OTHER = Path(os.environ.get("GREEN_LLM_INSTANCES", "/nowhere")) / "scaled.py"
NEAR = 0.2
"""Of the other generator's mean."""

needs_other = pytest.mark.skipif(
    not OTHER.is_file(), reason="GREEN_LLM_INSTANCES names no folder with a scaled.py to compare with"
)


def pairs(size: tuple[int, int, int, int], count: int) -> list[tuple[Instance, Instance]]:
    """Ours and the other's of every seed."""
    other = runpy.run_path(str(OTHER))["scaled"]
    return [(scaled(*size, seed=s), instance_file.parse(other(*size, seed=s))) for s in range(count)]


@needs_other
def test_plans_are_as_hard_as_those_of_the_other_generator() -> None:
    facts: list[list[dict[str, float]]] = [[], []]
    for pair in pairs((6, 6, 5, 12), 20):
        for found, instance in zip(facts, pair, strict=True):
            plan = optimize(instance, Order()).plan
            found.append({**hardness(instance, plan), "iterations": solve_plain(instance, Order())[2]})
    for name in ("highest_utilisation", "price_spread", "iterations"):
        ours, other = (fmean(fact[name] for fact in found) for found in facts)
        assert ours == pytest.approx(other, rel=NEAR), name


@needs_other
def test_delays_are_as_near_their_limits_as_those_of_the_other_generator() -> None:
    shares, near = np.empty((60, 2)), np.empty((60, 2))
    for n, pair in enumerate(pairs((20, 20, 10, 24), 60)):
        for m, instance in enumerate(pair):
            limited = int((instance.demand > 0).sum())
            shares[n, m] = len(layout(instance).delay_rows) / limited
            near[n, m] = np.quantile(delay_seconds(instance).max(axis=1) / instance.delay_limit[..., None], 0.99)
    (ours, other), (ours_near, other_near) = shares.mean(axis=0), near.mean(axis=0)
    # One row in a thousand: how near the slowest come to their limits says more.
    assert ours == pytest.approx(other, rel=NEAR, abs=2e-4)
    assert ours_near == pytest.approx(other_near, rel=NEAR)
