"""Sites fail; traffic leaves them, and comes back by the ramp."""

from __future__ import annotations

import itertools
import time

import pytest

from support.cluster_objects import NS, site
from support.traffic.load import after
from support.traffic.world import (
    AREAS,
    CLASSES,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    SETTLED_SECONDS,
    World,
    the_cells,
    the_demand,
    the_policy,
)

PER_SECOND = 20.0


def ready(world: World, name: str, *, is_ready: bool) -> float:
    """Say of a site what its readiness probe finds; when that was said."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NS}/endpointslices/llm-{name}-1"
    endpoints = world.sites[name].documents(ready=is_ready)[1]["endpoints"]
    world.api.ask("PATCH", path, {"endpoints": endpoints})
    return time.monotonic()


def less_than_the_deadband(world: World) -> None:
    """Room for 99.5 % of the traffic: the plan wants 3 % of one rule elsewhere, and nothing is written."""
    rules = [(area, name) for area in AREAS for name in CLASSES]
    world.until(lambda: all(world.weights(*rule)["cheap"] == 1000 for rule in rules), 30, "every rule is back")
    generations = [world.generation(area) for area in AREAS]
    traffic = PER_SECOND * len(rules) * (INPUT_TOKENS + OUTPUT_TOKENS)
    room = 0.995 * traffic / 1000
    world.plane.apply(site("cheap", capacity=[{"name": "gpu", "amount": f"{room:.6f}"}]))

    def held() -> bool:
        rows = world.plane.get("idem", "assistant", "-n", NS)["status"].get("weights", [])
        return "Deadband" in {row.get("heldBy") for row in rows}

    world.until(held, 60, "held by the dead-band")
    assert [world.generation(area) for area in AREAS] == generations


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("fault", "step_percent"), [("killed", 30), ("hung", 50)])
def test_a_site_that_is_gone_gets_nothing_and_comes_back_by_the_ramp(
    world: World, fault: str, step_percent: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world.plane.apply(
        the_policy(guardrails={"maxShiftPercent": step_percent, "deadbandPercent": 5}, periodSeconds=10),
        the_demand(PER_SECOND),
    )
    world.operate()
    world.until(lambda: world.weights()["cheap"] == 1000, 120, "planned weights")
    load = world.load(the_cells(PER_SECOND), seconds=200.0)
    time.sleep(1.0)
    server = world.sites["cheap"]
    if fault == "killed":
        server.kill()
    else:
        server.behave(state="hang")
    assert not server.healthy(), "its probe fails"
    said = ready(world, "cheap", is_ready=False)
    world.until(lambda: world.weights()["cheap"] == 0, 10, "weight 0")
    time.sleep(SETTLED_SECONDS + 3.0)
    late = after(load.answers, said + SETTLED_SECONDS)
    lost = [answer for answer in load.answers if answer.failed]
    assert late
    assert not [answer for answer in late if answer.site == "cheap" or answer.failed]
    if fault == "killed":
        server.start()
    else:
        server.behave(state="serve")
    assert server.healthy()
    seen: list[int] = [0]

    def returned() -> bool:
        weight = world.weights()["cheap"]
        if weight != seen[-1]:
            seen.append(weight)
        return weight == 1000

    back = ready(world, "cheap", is_ready=True)
    world.until(returned, 90, "back by the ramp")
    less_than_the_deadband(world)
    time.sleep(SETTLED_SECONDS)
    answers = load.stop()
    assert all(0 < later - earlier <= 10 * step_percent for earlier, later in itertools.pairwise(seen)), seen
    assert {answer.site for answer in after(answers, max(answer.sent for answer in answers) - 1.0)} == {"cheap"}, (
        "all of it is back"
    )
    assert not [answer for answer in after(answers, back) if answer.failed]
    with capsys.disabled():
        print(
            f"\na site {fault}: {len(lost)} requests lost until it was left, 0 from {SETTLED_SECONDS:g} s on; back by {seen}"
        )
