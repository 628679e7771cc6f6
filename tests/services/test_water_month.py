"""A month of water: what every horizon's share allows adds up to no more than the budget."""

from __future__ import annotations

import math
from datetime import timedelta

from green_llm.domain.plan import Termination
from green_llm.domain.request import DemandArea, DemandEntry, RouteTarget
from support.planner import Planner, fleet
from support.resources import NOW, ROUTE, a_budget


async def test_a_month_stays_within_budget() -> None:
    # Days of unequal hours, week-ends at a third. The cheap site takes 1 L/kWh, the near one 0.2; half a litre is budgeted.
    week = tuple(
        1000.0 * (1.0 + 0.8 * math.sin(hour / 24 * 2 * math.pi)) * (1.0 if hour < 5 * 24 else 0.33)
        for hour in range(168)
    )
    budget = 0.5 * sum(week) / 1000.0 * 30 / 7
    area = DemandArea("iowa", (DemandEntry("chat", week),), (RouteTarget(ROUTE, {"chat": "chat"}),))
    policy = {"water": a_budget(budget), "slot_seconds": 21_600, "slots": 4}
    resources = fleet(policy, {"areas": (area,)}, near={"wue_l_per_kwh": 0.2})
    planner = Planner()
    start = NOW.replace(hour=12, minute=0)
    for step in range(72):  # every ten hours: no slot is charged in one piece
        outcome = await planner.plan(resources, start + timedelta(hours=10 * step))
        assert outcome.result is not None
        assert outcome.result.termination is Termination.OPTIMAL
        if step % 24 == 0:
            planner.restart()
    outcome = await planner.plan(resources, start + timedelta(days=30) - timedelta(seconds=1))
    assert outcome.water is not None
    # Weights are whole per mille: a few thousandths of a slot's traffic.
    assert 0.97 * budget < outcome.water.used_liters <= budget * 1.002
