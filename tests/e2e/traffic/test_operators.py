"""Operators fail, are replaced, lose the API server; traffic goes on with the last weights."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from support.operator_process import Operator
from support.traffic.load import Answer, after
from support.traffic.partition import Partition
from support.traffic.world import SETTLED_SECONDS, World, the_cells, the_demand, the_policy

PER_SECOND = 10.0
ISOLATED_SECONDS = 300.0
BACK_SECONDS = 120.0
"""Longest wait until it plans again: requests sent while it was cut off may have to time out first."""


def as_planned(answers: Sequence[Answer]) -> dict[str, Any]:
    failed = [answer for answer in answers if answer.failed]
    assert not failed, failed[:3]
    return {"requests": len(answers), "failed": len(failed), "sites": sorted({answer.site for answer in answers})}


@pytest.fixture
def partition(world: World) -> Iterator[Partition]:
    """A network to the API server for operators that are given its address."""
    found = Partition(world.plane.proxy_target())
    yield found
    found.mend()
    world.close_operators()
    found.stop()


def counters(operator: Operator) -> dict[str, float]:
    """Every counter it exports, by name and labels."""
    found = re.findall(r"^(greenllm_\w+_total(?:\{.*\})?) (.*)$", operator.scrape(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def of_all(counted: dict[str, float], name: str) -> float:
    """The sum of a counter over its labels."""
    return sum(value for series, value in counted.items() if series.startswith(f"greenllm_{name}_total"))


@pytest.mark.timeout(300)
def test_an_operator_killed_and_upgraded(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The last weights stay, nothing fails, and the next price moves traffic again."""
    world.plane.apply(the_policy(periodSeconds=10), the_demand(PER_SECOND))
    first = world.operate()
    world.until(lambda: world.weights()["cheap"] == 1000, 60, "planned weights")
    load = world.load(the_cells(PER_SECOND), seconds=280.0)
    time.sleep(SETTLED_SECONDS)
    settled = time.monotonic()
    # Killed: a price changes and nobody is there.
    first.signal(signal.SIGKILL)
    world.set_price("near", 20.0)
    time.sleep(5.0)
    assert world.weights()["cheap"] == 1000
    killed = as_planned(after(load.answers, settled))
    assert killed["sites"] == ["cheap"]
    # Upgraded: the new one is up, the old one is told to go.
    old = world.operate()
    world.until(lambda: world.weights()["near"] == 1000, 60, "taken over")
    new = world.operate()
    world.until(new.healthy, 60, "the new one is up")
    assert old.stop() == 0
    world.set_price("near", 60.0)
    world.until(lambda: world.weights()["cheap"] == 1000, 60, "the new one plans")
    time.sleep(SETTLED_SECONDS)
    upgraded = as_planned(load.stop())
    with capsys.disabled():
        print(f"\nkilled: {killed}\nkilled and upgraded: {upgraded}")


@pytest.mark.timeout(700)
def test_an_operator_isolated_for_five_minutes(
    world: World, partition: Partition, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut off from the API server, it changes nothing and loses nothing; back, it plans with what has changed."""
    world.plane.apply(the_policy(periodSeconds=10), the_demand(PER_SECOND))
    operator = world.operate(partition.url)
    world.until(lambda: world.weights()["cheap"] == 1000, 60, "planned weights")
    load = world.load(the_cells(PER_SECOND), seconds=ISOLATED_SECONDS + 2 * BACK_SECONDS)
    time.sleep(SETTLED_SECONDS)
    counted = counters(operator)
    partition.cut()
    begun = time.monotonic()
    world.set_price("near", 20.0)
    time.sleep(ISOLATED_SECONDS)
    assert world.weights()["cheap"] == 1000
    isolated = as_planned(after(load.answers, begun))
    assert isolated["sites"] == ["cheap"]
    assert isolated["requests"] > 0.8 * PER_SECOND * len(the_cells(1.0)) * ISOLATED_SECONDS, "traffic went on"
    partition.mend()
    mended = world.until(lambda: world.weights()["near"] == 1000, BACK_SECONDS, "planned again")
    time.sleep(SETTLED_SECONDS)
    answers = load.stop()
    as_planned(answers)
    assert {answer.site for answer in after(answers, answers[-1].sent - 1.0)} == {"near"}
    world.until(lambda: of_all(counters(operator), "plans") > of_all(counted, "plans"), 30, "plans are counted")
    now = counters(operator)
    assert operator.process.poll() is None, "it is still the same process"
    assert {name: (value, now.get(name)) for name, value in counted.items() if now.get(name, -1.0) < value} == {}
    queries = of_all(now, "in_force_queries") - of_all(counted, "in_force_queries")
    assert queries > 0.9 * PER_SECOND * len(the_cells(1.0)) * ISOLATED_SECONDS, "the account has no gap"
    with capsys.disabled():
        print(
            f"\nisolated for {ISOLATED_SECONDS:g} s: {isolated}, then planned after {mended:.1f} s; {len(answers)} requests in "
            f"all, 0 failed; counted on from {of_all(counted, 'plans'):g} to {of_all(now, 'plans'):g} plans, {queries:.0f} queries more"
        )
