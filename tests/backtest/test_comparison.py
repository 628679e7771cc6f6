"""What a back-test says of savings, bounds and broken limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from green_llm.backtest.bounds import bound
from green_llm.backtest.compare import Backtest, Compared, compare, document, span_of
from green_llm.backtest.methods import Method
from green_llm.backtest.replay import Task
from green_llm.backtest.savings import by_day, interval
from green_llm.backtest.tally import begin
from green_llm.backtest.world import World
from green_llm.domain.plan import LimitKind, Objective, Order, Tolerance
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import Area, Location, NetworkLink, ResourceCapacity
from green_llm.errors import InvalidInputError
from support.recorded_days import recorded_world, span, static_world
from support.resources import SITES, a_budget, a_policy, a_site

SPLITS = (Method.STATIC, Method.NEAREST, Method.UNIFORM)


def compared(world: World, days: float = 1, **changes: object) -> Compared:
    wanted = Backtest(world=world, policy="default", span=span(days), against=SPLITS, bounds=())
    return compare(replace(wanted, **changes), lambda *_: None)  # type: ignore[arg-type]


def alike(site: str) -> dict[str, object]:
    """Everything but the name the same at both sites."""
    del site
    return {"signals": {
        SignalKind.ELECTRICITY_PRICE: (SignalRef("price-near"),), SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),),
    }}  # fmt: skip


def test_flat_signals_and_identical_sites_save_nothing() -> None:
    links = {site: NetworkLink(0.02) for site in SITES}
    world = static_world(
        sites={site: a_site(site, **alike(site)) for site in SITES},
        policies={"default": a_policy(areas={"iowa": Area("iowa", Location(41.6, -93.6), "America/Chicago", links)})},
    )
    found = compared(world)
    assert found.ran[Method.OURS].tally.amounts().cost == pytest.approx(24 * 0.1)
    for baseline in SPLITS:
        for saving in found.savings(baseline):
            assert saving.amount == pytest.approx(0.0, abs=1e-9), (baseline, saving.measure)


def test_what_is_lost_is_shown() -> None:
    """Cost first: carbon may only get worse where the cheap site is the dirty one."""
    world = recorded_world(3, carbon=lambda site, _hour: 900.0 if site == "cheap" else 100.0,
                           price=lambda site, _hour: 90.0 if site == "near" else 30.0)  # fmt: skip
    said = document(compared(world))["savings"]["nearest"]
    assert said["cost"]["percent"] == pytest.approx(100 * 2 / 3)
    assert said["emissions_kg"]["percent"] == pytest.approx(-800.0)
    assert said["emissions_kg"]["amount"] < 0
    assert said["cost"]["low_percent"] is None
    assert not said["cost"]["enough_days"]


def test_a_baseline_that_breaks_limits_is_flagged() -> None:
    """The near site holds 2,000 tokens a second less than arrive: nearest overloads it, ours does not."""
    small = {"capacity": (ResourceCapacity("gpu", 0.1),)}
    world = recorded_world(3, near=small)
    found = compared(world)
    said = document(found)
    nearest = said["methods"]["nearest"]
    assert not nearest["keeps_limits"]
    assert nearest["broken"][0]["limit"] == "capacity"
    assert nearest["broken"][0]["intervals"] == 24
    # 1,000 queries x 1,000 tokens x 0.001 = 1,000 resource seconds on 360.
    assert nearest["broken"][0]["worst_percent"] == pytest.approx(100 * (1000 / 360 - 1))
    assert said["savings"]["nearest"]["cost"]["against_infeasible"]
    assert said["methods"]["ours"]["keeps_limits"]


def test_delays_are_those_of_queries_by_site() -> None:
    found = compared(static_world()).ran
    # Near: 10 ms round trip, 1 ms of processing (1e6 tokens at 1e-9 s); cheap: 50 ms.
    near, uniform = found[Method.NEAREST].tally, found[Method.UNIFORM].tally
    assert near.amounts().mean_delay_s == pytest.approx(0.011)
    assert near.percentile_s(0.95) == pytest.approx(0.011, rel=0.002)
    assert uniform.percentile_s(0.5) == pytest.approx(0.011, rel=0.002)
    assert uniform.percentile_s(0.95) == pytest.approx(0.051, rel=0.002)
    assert uniform.amounts().mean_delay_s == pytest.approx(0.031)


def test_queries_above_their_limit_are_counted_by_site() -> None:
    world = recorded_world(3)
    classes = {"chat": replace(world.resources.demands["inference/assistant"].classes["chat"], delay_limit_s=0.04)}
    demands = {key: replace(d, classes=classes) for key, d in world.resources.demands.items()}
    found = compared(replace(world, resources=replace(world.resources, demands=demands)))
    # Half of uniform's queries take 51 ms; on average it keeps the limit of 40 ms (31 ms).
    assert found.ran[Method.UNIFORM].tally.late_queries.sum() == pytest.approx(24 * 500)
    assert LimitKind.DELAY_LIMIT not in found.broken(Method.UNIFORM)
    assert found.ran[Method.NEAREST].tally.late_queries.sum() == 0


def bound_task(world: World, days: float = 2) -> Task:
    return Task(world=world, policy="default", method=Method.NEAREST, span=span(days))


def test_a_bound_is_what_the_planner_reaches_when_it_knows_everything() -> None:
    order = Order((Objective.COST,), (Tolerance(0.0),))
    world = recorded_world(4, policy={"order": order})
    wanted = Backtest(
        world=world, policy="default", span=span(2), against=(Method.FORESIGHT,), bounds=(Objective.COST,)
    )
    found = compare(wanted, lambda *_: None)
    least = found.bounds[Objective.COST]
    assert least.value == pytest.approx(found.ran[Method.FORESIGHT].tally.amounts().cost, rel=1e-6)
    assert len(least.by_day) == 2
    assert sum(value or 0.0 for value in least.by_day) == pytest.approx(least.value)


def test_the_water_budget_of_the_whole_time_is_priced() -> None:
    """The cheap site uses 3 L/kWh, the near one 1: with 36 L for 24 kWh a quarter of the traffic may go to the cheap one."""
    flat = {"price": lambda site, _hour: 90.0 if site == "near" else 30.0}
    budget = a_budget(2 * 36.0, days=2)
    world = recorded_world(4, policy={"water": budget}, cheap={"wue_l_per_kwh": 3.0}, **flat)
    found = bound(bound_task(world), Objective.COST)
    # 12 of 48 kWh at 0.03, 36 at 0.09; a litre saves 0.06 $ / 2 L.
    assert found.value == pytest.approx(12 * 0.03 + 36 * 0.09, rel=1e-6)
    assert found.value <= (12 * 0.03 + 36 * 0.09) * (1 + 1e-7), "weak duality: never above the optimum"
    assert found.water_prices[0] == pytest.approx(0.03)
    loose = bound(bound_task(replace(world, resources=recorded_world(4, **flat).resources)), Objective.COST)
    assert loose.value == pytest.approx(48 * 0.03)
    assert loose.water_prices == (0.0,)


def test_no_bound_where_no_plan_keeps_the_limits() -> None:
    tiny = {"capacity": (ResourceCapacity("gpu", 0.01),)}
    found = bound(bound_task(recorded_world(3, near=tiny, cheap=tiny), 1), Objective.COST)
    assert found.value is None


def test_an_interval_needs_28_days_and_pairs_them() -> None:
    seed = np.random.default_rng(1)
    level = seed.uniform(50.0, 150.0, 60)  # common to both sides: it must not widen the interval
    baseline, ours = level, 0.9 * level
    low, high = interval(baseline - ours, baseline)
    assert (low, high) == pytest.approx((10.0, 10.0))
    noisy = ours + seed.normal(0.0, 20.0, 60)
    low, high = interval(baseline - noisy, baseline)
    assert low is not None
    assert high is not None
    saved = 100 * (baseline - noisy).sum() / baseline.sum()
    assert low < saved < high
    assert high - low == pytest.approx(2 * 1.96 * 20.0 / np.sqrt(60), rel=0.25)
    assert interval((baseline - noisy)[:27], baseline[:27]) == (None, None)
    worse = interval(-(baseline - ours), baseline)
    assert worse == pytest.approx((-10.0, -10.0)), "never clipped"


def test_only_whole_days_are_drawn() -> None:
    cut = replace(span(3), start=span(3).start.replace(hour=5))
    assert list(by_day(np.ones(cut.count), cut)) == [24.0, 24.0]
    assert list(by_day(np.ones(10), replace(cut, end=cut.start))) == []


def test_the_water_budget_is_a_limit_too() -> None:
    world = recorded_world(3, policy={"water": a_budget(12.0, days=1)})
    assert compared(world).broken(Method.NEAREST)[LimitKind.WATER_CAP].worst_percent == pytest.approx(100.0)


def test_wrong_times_are_refused() -> None:
    world = recorded_world(3)
    policy = world.request(None).policy
    with pytest.raises(InvalidInputError, match="neither divides the slot of 3600 s"):
        span_of(world, policy, None, None, 7000)
    with pytest.raises(InvalidInputError, match="leave no interval"):
        span_of(world, policy, span(1).end, span(1).start, 3600)
    with pytest.raises(InvalidInputError, match="no recordings that overlap"):
        span_of(static_world(), policy, None, None, 3600)
    with pytest.raises(InvalidInputError, match='no GreenPolicy "other"'):
        world.request("other")
    assert span_of(world, policy, None, None, None).step_seconds == policy.period_seconds


def test_an_empty_tally_is_no_error() -> None:
    assert begin(3, 2).percentile_s(0.5) == 0.0


def test_an_interrupted_bound_goes_on_with_the_next_water_period(tmp_path: Path) -> None:
    world = recorded_world(4, policy={"water": a_budget(1e9, days=1)})
    file = tmp_path / "bound.json"
    wanted = replace(bound_task(world, 3), checkpoint=file)

    def killed(done: int, _all: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bound(wanted, Objective.COST, killed)
    plain = bound(bound_task(world, 3), Objective.COST)
    assert bound(wanted, Objective.COST) == plain
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept[0]["value"] += 1000.0
    file.write_text(json.dumps(kept), encoding="utf-8")
    again = bound(wanted, Objective.COST).value
    assert again is not None
    assert plain.value is not None
    assert again == pytest.approx(plain.value + 1000.0), "what is kept is not solved again"


def test_a_year_of_intervals_needs_its_policy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(recorded_world(3, policy={"water": a_budget(12.0, days=1)}))
    asked: list[str | None] = []
    monkeypatch.setattr(
        World, "request", lambda _self, name, real=World.request: asked.append(name) or real(_self, name)
    )
    assert LimitKind.WATER_CAP in found.broken(Method.NEAREST)
    assert len(asked) == 1
