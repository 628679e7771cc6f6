"""Jobs of a back-test, and whether two tries came to the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from green_llm.backtest.methods import Method
from green_llm.backtest.parallel import Job
from green_llm.backtest.replay import Task
from green_llm.backtest.run import Ran, run
from support.recorded_days import recorded_world, span

METHODS = (Method.OURS, Method.CHEAPEST)


def jobs(hours: int, checkpoints: Path | None = None) -> dict[str, Job]:
    world = recorded_world(3)
    return {
        method.value: Job(
            run,
            (
                Task(
                    world=world, policy="default", method=method, span=span(hours / 24),
                    checkpoint=None if checkpoints is None else checkpoints / f"{method}.json",
                ),
            ),
        )
        for method in METHODS
    }  # fmt: skip


def equal(one: dict[str, Ran], other: dict[str, Ran]) -> bool:
    return set(one) == set(other) and all(
        np.array_equal(one[name].tally.series["cost_paid"], other[name].tally.series["cost_paid"])
        and one[name].tally.site_queries.sum() == pytest.approx(other[name].tally.site_queries.sum())
        for name in one
    )
