"""A changed price moves traffic within seconds, and no request fails on the way."""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
from collections.abc import Sequence

import aiohttp
import pytest

from support.traffic.load import Answer
from support.traffic.plot import record
from support.traffic.world import CLASSES, World, the_cells, the_demand, the_policy

RECORD = "GREEN_LLM_TRAFFIC_RECORD"
"""Names a file for what support/traffic/plot.py draws."""
OBEYING = 200
CHANGES, TIMED = 50, 10
PER_SECOND = 50.0
STREAM_SECONDS = 20


def obeyed_after(answers: Sequence[Answer], begun: float, allowed: set[str]) -> float | None:
    """Seconds from ``begun`` until 200 requests on end, all sent after it, had gone to allowed sites; None: not yet."""
    run = 0
    for answer in sorted((a for a in answers if a.sent > begun), key=lambda a: a.sent):
        run = run + 1 if answer.site in allowed else 0
        if run == OBEYING:
            return answer.done - begun
    return None


async def stream(url: str, seconds: int) -> tuple[str, int]:
    """One streamed answer: the site, and how many tokens came."""
    body = {
        "model": "model",
        "messages": [{"role": "user", "content": "on and on"}],
        "max_tokens": 5 * seconds,
        "stream": True,
    }
    headers = {"x-area": "iowa", "x-class": "code"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        events = [line async for line in answer.content if line.startswith(b"data: {")]
        return answer.headers["x-site"], len(events)


@pytest.mark.timeout(300)
def test_a_price_moves_traffic(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten changes timed until 200 requests obey, forty more as fast as they are written; a stream outlives the first ones."""
    world.plane.apply(the_policy(), the_demand(PER_SECOND))
    world.operate()
    world.until(lambda: all(world.weights("iowa", c)["cheap"] == 1000 for c in CLASSES), 60, "planned weights")
    cells = [cell for cell in the_cells(PER_SECOND) if cell.area != "paris"]
    found: list[tuple[str, int]] = []
    world.sites["cheap"].behave(base_seconds=float(STREAM_SECONDS))
    streaming = threading.Thread(target=lambda: found.append(asyncio.run(stream(world.gateway.url, STREAM_SECONDS))))
    streaming.start()
    time.sleep(2.0)
    world.sites["cheap"].behave(base_seconds=0.0)
    load = world.load(cells, seconds=200.0)
    took: list[float] = []
    prices: list[tuple[float, float]] = []
    for number in range(CHANGES):
        best, price = ("near", 20.0) if number % 2 == 0 else ("cheap", 60.0)
        begun = world.set_price("near", price)  # that of cheap is 40
        world.until(lambda b=best: world.weights("osaka", "code")[b] == 1000, 20, f"change {number} is written")
        if number < TIMED:
            world.until(lambda b=begun, s=best: obeyed_after(load.answers, b, {s}) is not None, 20, "200 requests obey")
            prices.append((begun, price))
            took.append(obeyed_after(load.answers, begun, {best}) or 0.0)
    answers = load.stop()
    streaming.join(STREAM_SECONDS)
    if RECORD in os.environ:
        record(os.environ[RECORD], answers, prices)
    failed = [answer for answer in answers if answer.failed]
    with capsys.disabled():
        print(
            f"\nfrom a price to {OBEYING} requests obeying: median {statistics.median(took):.2f} s (" +
            ", ".join(f"{t:.2f}" for t in took) + f"); {CHANGES} changes, {len(answers)} requests, {len(failed)} failed; "
            f"streamed answer {found}"
        )  # fmt: skip
    assert not failed
    assert found == [("cheap", 5 * STREAM_SECONDS)], "a streamed answer in flight survives"
    assert statistics.median(took) <= 3.0
