"""What if: another process, one at a time, within its limits, once per plan."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from green_llm.domain.plan import Objective, Order, Spent, Tolerance
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.errors import InvalidInputError
from green_llm.page import what_if
from green_llm.page.figures import of_what_if
from green_llm.page.what_if import EXTRA_PERCENT, WhatIfs
from green_llm.services.outcome import Outcome
from support.instances import an_instance
from support.planner import outcomes
from support.resources import a_fleet, a_policy, static

ORDER = Order((Objective.COST, Objective.EMISSIONS), (Tolerance(0.03), Tolerance(0.0)))


async def an_outcome() -> Outcome:
    """The cheap site emits 800 g/kWh, the near one 400 g at twice the price: every per cent of cost buys emissions."""
    resources = a_fleet(policies={"default": a_policy(order=ORDER)})
    cheap = resources.sites["cheap"]
    signals = {**cheap.signals, SignalKind.CARBON_INTENSITY: (SignalRef("dirty"),)}
    sites = {**resources.sites, "cheap": replace(cheap, signals=signals)}
    sources = {**resources.sources, "dirty": static("dirty", 800.0, "g/kWh")}
    (outcome,) = await outcomes(replace(resources, sites=sites, sources=sources))
    return outcome


async def test_each_per_cent_of_cost_buys_what_it_must() -> None:
    outcome, what_ifs = await an_outcome(), WhatIfs(time_limit_s=240.0, yields=0)
    assert (await what_ifs.answer(outcome, None, ask=False)).state == "not_asked"
    answer = await what_ifs.answer(outcome, None, ask=True)
    assert (answer.state, answer.objective, answer.choices) == ("done", "cost", ("cost",))
    # Cost is 0.05 (1 + y) at a share y of the near site, so y is the tolerance; emissions are 0.8 - 0.4 y: over four hours.
    for scenario in answer.scenarios:
        worth = {entry.name: entry for entry in scenario.worth}
        tolerance = scenario.tolerance_percent / 100.0
        assert worth["cost"].value == pytest.approx(4 * 0.05 * (1 + tolerance))
        assert worth["emissions"].value == pytest.approx(4 * (0.8 - 0.4 * tolerance))
    assert [s.extra_percent for s in answer.scenarios] == sorted([0.0, *EXTRA_PERCENT])
    assert answer.words.startswith("Giving up 1 % more cost (+1.0 %): emissions would fall by 0.0160 kgCO2e (−0.5 %)")
    (figure,) = of_what_if(answer)
    assert [trace["name"] for trace in figure.plot["data"]] == ["cost", "emissions", "water", "delay penalty"]
    # Once per plan: no process is started again.
    assert await what_ifs.answer(outcome, "cost", ask=True) is answer
    assert (await what_ifs.answer(await an_outcome(), "cost", ask=False)).state == "not_asked"


async def test_it_begins_from_what_the_plan_could_still_give_up() -> None:
    outcome = await an_outcome()
    assert outcome.ledger is not None
    # All of the 3 % of four earlier slots was used, and half of this plan's: 1.5 % are left of it.
    spent = {"cost": Spent(optimum=0.2, excess=0.2 * 0.03 + 0.2 * 0.015)}
    planned = replace(outcome, ledger=replace(outcome.ledger, spent=spent))
    (cost, _) = what_if._order(planned, Objective.COST, 1.0)
    assert cost["tolerance"]["absolute"] == pytest.approx(0.2 * (0.015 + 0.01))
    # The other objectives keep their own tolerance, with what they have used.
    (_, emissions) = what_if._order(planned, Objective.COST, 1.0)
    assert emissions["tolerance"]["spent"] is not None


async def test_it_is_one_at_a_time_and_its_process_yields() -> None:
    outcome, what_ifs = await an_outcome(), WhatIfs(time_limit_s=240.0, yields=7)
    before = children()
    asked = asyncio.create_task(what_ifs.answer(outcome, None, ask=True))
    await asyncio.sleep(0)
    assert (await what_ifs.answer(outcome, None, ask=True)).state == "busy"
    niceness = {0}
    while not asked.done():
        for pid in children() - before:
            with contextlib.suppress(ProcessLookupError):
                niceness.add(os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0))
        await asyncio.sleep(0.02)
    assert (await asked).state == "done"
    assert max(niceness) == 7


def children() -> set[int]:
    """Processes that this one has started; a thread may end while it is looked at."""
    found: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


async def test_time_and_memory_have_their_limits() -> None:
    outcome, before = await an_outcome(), children()
    late = await WhatIfs(time_limit_s=1e-3, yields=0).answer(outcome, None, ask=True)
    assert late.state == "failed"
    assert "time was up" in late.words
    large = await WhatIfs(time_limit_s=240.0, memory_bytes=20_000_000, yields=0).answer(outcome, None, ask=True)
    assert large.state == "failed"
    assert "memory" in large.words
    assert children() <= before


async def test_without_a_plan_there_is_nothing_to_ask() -> None:
    (outcome,) = await outcomes(replace(a_fleet(), sources={}))
    with pytest.raises(InvalidInputError, match="policy default has no plan now"):
        await WhatIfs().answer(outcome, None, ask=True)


def test_the_process_says_what_it_cannot_do() -> None:
    limits = {"time_limit_s": 9, "memory_bytes": 2_000_000_000, "yields": 0}
    question = what_if.asked(an_instance(), [], limits)[:-100]
    ran = subprocess.run(
        [sys.executable, "-m", "green_llm.page.sweep"], input=question, capture_output=True, check=True
    )
    assert ran.stdout == b'{"error": "the instance has not come whole"}\n'
