"""The SLO guard on real traffic: a shift that a site cannot carry is taken back, and one that hangs or fails is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from green_llm.domain.series import Measure
from green_llm.domain.services import TEMPLATES
from support.cluster_objects import condition, ours
from support.traffic.load import Answer, after
from support.traffic.scraping import scraping
from support.traffic.sites import MODEL
from support.traffic.world import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    SETTLED_SECONDS,
    World,
    the_cells,
    the_demand,
    the_policy,
)

PER_SECOND = 30.0
"""Of one class from one area: with more, the plan would move them against each other within a site's cap."""
TOKENS_PER_SECOND = PER_SECOND * (INPUT_TOKENS + OUTPUT_TOKENS)
SHIFT, LIMIT_SECONDS, SLOW_SECONDS = 0.3, 1.5, 0.9
"""A site that takes 0.9 s at 30 % of the traffic takes 1.8 s at 60 %, whatever its InferenceSite says."""
THROUGHPUT = (INPUT_TOKENS + OUTPUT_TOKENS) * 3600 * PER_SECOND * SHIFT / SLOW_SECONDS
WINDOW_SECONDS, QUERY_SECONDS, BACKOFF_SECONDS = 20, 4, 300
ROLLED_BACK = 'greenllm_slo_rollbacks_total{policy="default",profile="large",site="cheap"} 1.0\n'
KNOWN = ("capTokensPerSecond", "broke", "untilTime")
LEFT_SECONDS = 90.0
"""Longest wait for a verdict: half a window, an interval of 10 s, a poll, on a busy machine."""


def share(world: World, name: str) -> float:
    """By the weights."""
    return world.weights()[name] / 1000


def shares(answers: Sequence[Answer], since: float, until: float) -> dict[str, float]:
    """Of what was sent between two moments, as the sites counted it."""
    counted = Counter(answer.site for answer in answers if since < answer.sent < until)
    return {name: round(count / counted.total(), 3) for name, count in sorted(counted.items())}


def guarded(host: str) -> list[dict[str, Any]]:
    """The template's own queries over a shorter window, asked often, and a policy that looks at them."""
    template = TEMPLATES["Vllm"]
    queries = [
        {"measure": measure.value, "query": template.queries[measure].replace("$window", f"{QUERY_SECONDS}s")}
        for measure in (Measure.P95_DELAY, Measure.ERROR_RATIO)
    ]
    spec = {
        "provider": "Prometheus", "baseUrl": f"http://{host}", "pollPeriodSeconds": 2,
        "params": [{"name": name, "pattern": pattern} for name, pattern in template.params.items()],
        "prometheus": {"queries": queries},
    }  # fmt: skip
    slo = {
        "profiles": [{"profile": "large", "source": "servers", "params": {"model": MODEL}}],
        "windowSeconds": WINDOW_SECONDS, "backoffSeconds": BACKOFF_SECONDS, "maxErrorPercent": "5",
    }  # fmt: skip
    demand = the_demand(PER_SECOND)
    chat, iowa = demand["spec"]["classes"][0], demand["spec"]["areas"][0]
    rules = iowa["routes"][0] | {"rules": iowa["routes"][0]["rules"][:1]}
    demand["spec"] |= {
        "classes": [chat | {"delayLimitMilliseconds": round(1000 * LIMIT_SECONDS)}],
        "areas": [iowa | {"demand": iowa["demand"][:1], "routes": [rules]}],
    }
    guardrails = {"maxShiftPercent": round(100 * SHIFT), "slo": slo}
    return [ours("SignalSource", "servers", spec), the_policy(periodSeconds=10, guardrails=guardrails), demand]


class Policy:
    """What the policy's status and events say."""

    def __init__(self, world: World) -> None:
        self._world = world

    def entry(self, name: str) -> dict[str, Any]:
        entries = self._world.plane.get("greenpol", "default").get("status", {}).get("slo", [])
        return next((entry for entry in entries if entry["site"] == name), {})

    def said(self) -> list[str]:
        """The guard's events."""
        items = self._world.plane.get("events", "-n", "default")["items"]
        return [event["message"] for event in items if event["reason"] == "SiteCapped"]

    def capped(self) -> bool:
        return condition(self._world.plane, "greenpol", "default", "WithinSLO") == ("False", "SiteCapped")


@pytest.mark.timeout(400)
def test_the_guard_on_real_traffic(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Step by step; the step too far taken back, and not once more; kept over a restart; left where it hangs or fails."""
    world.sites["cheap"].behave(throughput_tokens_per_second=THROUGHPUT)
    world.lay_routes({"near": 1000, "cheap": 0, "third": 0})
    policy = Policy(world)
    load = world.load(the_cells(PER_SECOND)[:1], seconds=300.0)
    with scraping(tmp_path, world.gateway.admin(), world.sites) as host:
        world.plane.apply(*guarded(host))
        first = world.operate(GREEN_LLM_SIGNAL_HOSTS=host)
        world.until(lambda: share(world, "cheap") > 0, 60, "the first step")
        stepped = time.monotonic()
        assert share(world, "cheap") == pytest.approx(SHIFT, abs=0.01)
        world.until(lambda: share(world, "cheap") > SHIFT + 0.01, 60, "the second, too much for it")
        shifted = time.monotonic()
        assert share(world, "cheap") == pytest.approx(2 * SHIFT, abs=0.01)
        world.until(lambda: share(world, "cheap") < SHIFT + 0.01, LEFT_SECONDS, "back to where it was")
        back = time.monotonic()
        world.until(policy.capped, 20, "a condition")
        world.until(lambda: policy.entry("cheap").get("verdict") == "Kept", LEFT_SECONDS, "judged again")
        assert share(world, "cheap") == pytest.approx(SHIFT, abs=0.01), "it is not taken back twice"
        known, events = policy.entry("cheap"), policy.said()
        assert known["capTokensPerSecond"] == pytest.approx(SHIFT * TOKENS_PER_SECOND, rel=0.05)
        assert any(known["broke"] in message for message in events), events
        assert ROLLED_BACK in first.scrape()
        # Another operator knows what this one knew.
        first.stop()
        world.plane.kubectl(
            "patch", "greenpol", "default", "--type=merge", "--subresource=status", "-p", '{"status": null}'
        )
        world.operate(GREEN_LLM_SIGNAL_HOSTS=host)
        world.until(lambda: policy.entry("cheap"), 60, "the next operator's plan")
        anew = policy.entry("cheap")
        assert {name: anew[name] for name in KNOWN} == {name: known[name] for name in KNOWN}
        assert share(world, "cheap") == pytest.approx(SHIFT, abs=0.01)
        # It hangs: no error is counted anywhere, and no token comes.
        world.sites["cheap"].behave(state="hang")
        hung = time.monotonic()
        world.until(lambda: share(world, "cheap") == 0.0, LEFT_SECONDS, "left, as it hangs")
        left_hung = time.monotonic()
        # The next answers 500: all that is left goes to the third.
        world.sites["near"].behave(state="fail")
        failed = time.monotonic()
        world.until(lambda: share(world, "near") == 0.0, LEFT_SECONDS, "left, as it fails")
        left = time.monotonic()
        time.sleep(SETTLED_SECONDS + 2.0)
        answers = load.stop()
    counted = {
        "the first step": shares(answers, stepped + SETTLED_SECONDS, shifted),
        "the second": shares(answers, shifted + SETTLED_SECONDS, back),
        "taken back": shares(answers, back + SETTLED_SECONDS, hung),
        "in the end": shares(answers, left + SETTLED_SECONDS, float("inf")),
    }
    with capsys.disabled():
        print(
            f"\n{counted}\nslow: back after {back - shifted:.1f} s (window {WINDOW_SECONDS} s, {known['broke']}); "
            f"hung: left after {left_hung - hung:.1f} s; answering 500: left after {left - failed:.1f} s"
        )
    assert counted["the first step"]["cheap"] == pytest.approx(SHIFT, abs=0.1)
    assert counted["taken back"]["cheap"] == pytest.approx(SHIFT, abs=0.1)
    assert counted["in the end"] == {"third": 1.0}
    # Lost while a site was out or before the gateway had the routes, and of all others hardly any.
    lost = [
        a.sent - hung for a in after(answers, stepped) if a.failed and not hung - 3.0 < a.sent < left + SETTLED_SECONDS
    ]
    assert len(lost) <= 0.01 * len(answers), f"lost so long after the site hung: {lost}"
