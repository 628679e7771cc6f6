"""A tolerance holds over all executed slots, not afresh for each plan."""

from __future__ import annotations

from datetime import timedelta

import pytest

from green_llm.backtest.replay import collectors
from green_llm.backtest.world import MemoryRoutes
from green_llm.domain import ledger_file
from green_llm.domain.amounts import Ledger, Promise
from green_llm.domain.plan import Objective, Order, Spent, Tolerance
from green_llm.services import tolerances
from green_llm.services.planning import Planning
from green_llm.store.ledgers import MemoryLedgers
from support.recorded_days import recorded_world, span
from support.resources import NOW

COST, EMISSIONS, DELAY = Objective.COST, Objective.EMISSIONS, Objective.DELAY
ORDER = Order((COST, EMISSIONS, DELAY), (Tolerance(0.03), Tolerance(0.01), Tolerance(0.0)))


def test_a_budget_is_what_is_left() -> None:
    fresh = Tolerance(0.03)
    assert fresh.budget(100.0) == 103.0
    assert Tolerance(0.03, spent=Spent()).budget(100.0) == 103.0
    # 0.03 x (1000 + 100) - 30 = 3: spent to the last.
    assert Tolerance(0.03, spent=Spent(1000.0, 30.0)).budget(100.0) == pytest.approx(103.0)
    assert Tolerance(0.03, spent=Spent(1000.0, 33.0)).budget(100.0) == pytest.approx(100.0)
    assert Tolerance(0.03, spent=Spent(1000.0, 50.0)).budget(100.0) == 100.0, "never below the optimum"
    assert Tolerance(0.03, spent=Spent(1000.0, 0.0)).budget(100.0) == 106.0, "what was saved up: twice at most"
    assert Tolerance(0.03, spent=Spent(1000.0, 30.0)).budget(-100.0) == pytest.approx(-97.0)
    assert Tolerance(absolute=5.0, spent=Spent(1000.0, 30.0)).budget(100.0) == 105.0


@pytest.mark.parametrize("spent", [None, Spent(), Spent(1000.0, 30.0), Spent(1000.0, 50.0), Spent(1000.0, 0.0)])
@pytest.mark.parametrize("optimum", [100.0, -100.0])
def test_how_a_budget_follows_its_optimum(spent: Spent | None, optimum: float) -> None:
    tolerance, step = Tolerance(0.03, spent=spent), 1e-4
    difference = (tolerance.budget(optimum + step) - tolerance.budget(optimum - step)) / (2 * step)
    assert tolerance.follows(optimum) == pytest.approx(difference, abs=1e-6)


async def test_executed_slots_never_give_up_more_than_the_tolerance() -> None:
    """A day and a half, hour by hour: E ≤ tol·(M + |o*|) after every interval, for the objective that comes first."""
    used = await _rolled(memory=True)
    assert used["cost"].excess / used["cost"].optimum > 0.015, "the tolerance is used"
    without = await _rolled(memory=False)
    assert without["cost"].excess / without["cost"].optimum > 0.05, "each plan's allowance went into its first slot"
    assert used["cost"].excess / used["cost"].optimum < 0.034  # 0.03 · (36 + 4) / 36


async def _rolled(*, memory: bool) -> dict[str, Spent]:
    """What the tolerances have used over days of prices at which giving up a little cost pays now and not later."""
    world = recorded_world(
        4, price=lambda site, hour: 50.0 + (2.0 + 0.1 * hour if site == "near" else 0.0),
        carbon=lambda site, _hour: 200.0 if site == "near" else 700.0, forecast_error=0.0, policy={"order": ORDER},
    )  # fmt: skip
    days = span(1.5)
    signals, demand = collectors(world)
    routes, ledgers = MemoryRoutes(world.routes), MemoryLedgers()
    planning = Planning(signals, demand, routes, ledgers)
    request = world.request(None)
    total: dict[str, Spent] = {}
    for number in range(days.count):
        now = days.slots.slot_start(number)
        outcome = await planning.reconcile(request, routes.routes, now)
        assert outcome.result is not None
        ledger = outcome.ledger
        assert ledger is not None
        after = tolerances.executed(ledger, now + timedelta(hours=1), 3600, 4)
        for name, phase, tolerance in zip(
            tolerances.names(ORDER), outcome.result.phases[:-1], ORDER.tolerances, strict=False
        ):
            before, spent = ledger.spent.get(name, Spent()), after.spent[name]
            total[name] = Spent(
                total.get(name, Spent()).optimum + spent.optimum - before.optimum,
                total.get(name, Spent()).excess + spent.excess - before.excess,
            )
            if memory and name == "cost":
                most = tolerance.relative * (before.optimum + abs(phase.optimum))
                assert spent.excess <= most + 1e-9, (number, name)
        if not memory:
            await ledgers.save("default", Ledger(charged_until=ledger.charged_until, last_write=ledger.last_write))
    return total


def test_only_what_has_elapsed_counts() -> None:
    ledger = Ledger(charged_until=NOW, promised={"cost": Promise(-10.0, -9.0)}, promised_at=NOW)
    half = tolerances.executed(ledger, NOW + timedelta(minutes=30), 3600, 24)
    assert half.spent == {"cost": Spent(5.0, 0.5)}
    assert not half.promised
    assert tolerances.executed(half, NOW + timedelta(hours=9), 3600, 24) == half, "nothing twice"
    late = tolerances.executed(ledger, NOW + timedelta(days=9), 3600, 4)
    assert late.spent == {"cost": Spent(40.0, 4.0)}, "no longer than the plan was made for"


def test_a_ledger_keeps_them() -> None:
    ledger = Ledger(
        charged_until=NOW, spent={"cost": Spent(5.0, 0.5)}, promised={"cost": Promise(1.0, 2.0)}, promised_at=NOW
    )
    assert ledger_file.load(ledger_file.dump(ledger), "test") == ledger


def test_another_order_is_another_promise() -> None:
    ledger = Ledger(charged_until=NOW, spent={"cost": Spent(1000.0, 30.0)})
    swapped = Order((EMISSIONS, COST), (Tolerance(0.03), Tolerance(0.03)))
    assert tolerances.over_time(ORDER, ledger).tolerances[0].spent == Spent(1000.0, 30.0)
    assert [t.spent for t in tolerances.over_time(swapped, ledger).tolerances] == [Spent(), Spent()]
