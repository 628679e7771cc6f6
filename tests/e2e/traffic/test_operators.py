"""Operators fail, are replaced, lose the API server; traffic goes on with the last weights."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from support.traffic.load import Answer, after
from support.traffic.partition import Partition
from support.traffic.world import SETTLED_SECONDS, World, the_cells, the_demand, the_policy

PER_SECOND = 20.0
ISOLATED_SECONDS = 60.0
"""For five minutes: within it the lease runs out and requests time out; watches give up only after more than five."""


def as_planned(answers: Sequence[Answer]) -> dict[str, Any]:
    failed = [answer for answer in answers if answer.failed]
    assert not failed, failed[:3]
    return {"requests": len(answers), "failed": len(failed), "sites": sorted({answer.site for answer in answers})}


@pytest.mark.timeout(300)
def test_an_operator_killed_upgraded_and_isolated(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The last weights stay, nothing fails, and the next price moves traffic again."""
    world.plane.apply(the_policy(periodSeconds=10), the_demand(PER_SECOND))
    first = world.operate()
    world.until(lambda: world.weights()["cheap"] == 1000, 60, "planned weights")
    load = world.load(the_cells(PER_SECOND), seconds=230.0)
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
    partition = Partition(world.plane.proxy_target())
    try:
        old = world.operate()
        world.until(lambda: world.weights()["near"] == 1000, 60, "taken over")
        new = world.operate(server=partition.url)
        world.until(new.healthy, 60, "the new one is up")
        assert old.stop() == 0
        world.set_price("near", 60.0)
        world.until(lambda: world.weights()["cheap"] == 1000, 60, "the new one plans")
        time.sleep(SETTLED_SECONDS)
        upgraded = as_planned(load.answers)
        # Isolated: it cannot reach the API server, and a price changes.
        partition.cut()
        begun = time.monotonic()
        world.set_price("near", 20.0)
        time.sleep(ISOLATED_SECONDS)
        assert world.weights()["cheap"] == 1000
        isolated = as_planned(after(load.answers, begun))
        assert isolated["sites"] == ["cheap"]
        partition.mend()
        mended = world.until(lambda: world.weights()["near"] == 1000, 60, "planned again")
        time.sleep(SETTLED_SECONDS)
        answers = load.stop()
    finally:
        partition.mend()
        world.close_operators()
        partition.stop()
    as_planned(answers)
    with capsys.disabled():
        print(
            f"\nkilled: {killed}\nupgraded: {upgraded}\nisolated for {ISOLATED_SECONDS:g} s: {isolated}, then planned after {mended:.1f} s"
        )
        print(f"{len(answers)} requests in all, 0 failed")
