"""Sites fail; traffic leaves them, and comes back by the ramp."""

from __future__ import annotations

import itertools
import time

import pytest

from support.cluster_objects import NS
from support.traffic.load import after
from support.traffic.world import SETTLED_SECONDS, World, the_cells, the_demand, the_policy

PER_SECOND = 20.0


def ready(world: World, name: str, *, is_ready: bool) -> float:
    """Say of a site what its readiness probe finds; when that was said."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NS}/endpointslices/llm-{name}-1"
    endpoints = world.sites[name].documents(ready=is_ready)[1]["endpoints"]
    world.api.ask("PATCH", path, {"endpoints": endpoints})
    return time.monotonic()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("fault", "step_percent"), [("killed", 30), ("hung", 50)])
def test_a_site_that_is_gone_gets_nothing_and_comes_back_by_the_ramp(
    world: World, fault: str, step_percent: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world.plane.apply(
        the_policy(guardrails={"maxShiftPercent": step_percent}, periodSeconds=10), the_demand(PER_SECOND)
    )
    world.operate()
    world.until(lambda: world.weights()["cheap"] == 1000, 120, "planned weights")
    load = world.load(the_cells(PER_SECOND), seconds=200.0)
    time.sleep(1.0)
    site = world.sites["cheap"]
    if fault == "killed":
        site.kill()
    else:
        site.behave(state="hang")
    assert not site.healthy(), "its probe fails"
    said = ready(world, "cheap", is_ready=False)
    world.until(lambda: world.weights()["cheap"] == 0, 10, "weight 0")
    time.sleep(SETTLED_SECONDS + 3.0)
    late = after(load.answers, said + SETTLED_SECONDS)
    lost = [answer for answer in load.answers if answer.failed]
    assert late
    assert not [answer for answer in late if answer.site == "cheap" or answer.failed]
    if fault == "killed":
        site.start()
    else:
        site.behave(state="serve")
    assert site.healthy()
    seen: list[int] = [0]

    def returned() -> bool:
        weight = world.weights()["cheap"]
        if weight != seen[-1]:
            seen.append(weight)
        return weight == 1000

    back = ready(world, "cheap", is_ready=True)
    world.until(returned, 90, "back by the ramp")
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
