"""``reconcile`` on resources in memory: real signals, real solver, real guardrails."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from green_llm.api.status import policy_status
from green_llm.cli.run_report import outcome_document
from green_llm.domain.amounts import total
from green_llm.domain.plan import Objective, Order, Termination, Tolerance
from green_llm.domain.request import (
    CarbonAccounting,
    CsvSettings,
    DemandArea,
    DemandEntry,
    ExchangeRate,
    Guardrails,
    Mode,
    RouteTarget,
    Source,
    StaticSettings,
)
from green_llm.domain.routes import Route, RouteRule, RouteWrite
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import QueryClass, Renewable, RenewableType, ResourceCapacity, Selector, SiteState
from green_llm.errors import StoreError
from green_llm.observability.metrics import Recorder
from support.planner import Planner, fleet
from support.resources import (
    NOW,
    ROUTE,
    a_budget,
    a_demand,
    a_policy,
    a_route,
    a_site,
    backend,
    static,
)

HOUR = timedelta(hours=1)


async def test_traffic_goes_where_it_is_cheap() -> None:
    planner = Planner()
    outcome = await planner.plan(fleet())
    assert planner.weights == {"llm-near": 0, "llm-cheap": 1000}
    assert outcome.result is not None
    assert outcome.result.termination is Termination.OPTIMAL
    # 1,000 queries x 1,000 tokens x 1 mWh = 1 kWh an hour: 0.05 $ and 0.4 kg at the cheap site, 0.1 $ at the near one.
    ours, theirs = total(outcome.in_force.values()), total(outcome.nearest.values())
    assert (ours.cost, theirs.cost) == (pytest.approx(0.05), pytest.approx(0.10))
    assert (ours.energy_kwh, ours.emissions_kg, ours.water_l) == pytest.approx((1.0, 0.4, 1.0))
    # Round trip 50 ms; v = 1e-9 s a token x 1e6 tokens = 1 ms.
    assert ours.mean_delay_s == pytest.approx(0.051)
    assert not outcome.broken_in_force
    assert not outcome.degraded


async def test_shadow_writes_nothing_and_counts_the_users_own_weights() -> None:
    for resources in (fleet({"mode": Mode.SHADOW}), fleet(demand={"mode": Mode.SHADOW})):
        planner = Planner(a_route(700, 300))
        outcome = await planner.plan(resources)
        assert not planner.routes.written
        assert total(outcome.in_force.values()).cost == pytest.approx(0.7 * 0.1 + 0.3 * 0.05)
        assert total(outcome.planned.values()).cost == pytest.approx(0.05)
        assert {(row.site, row.weight, row.held_by) for row in outcome.weights} == {
            ("near", 700, "Shadow"), ("cheap", 300, "Shadow")
        }  # fmt: skip
        later = await planner.plan(resources, NOW + HOUR)
        assert total(later.ledger.in_force.values()).cost == pytest.approx(0.7 * 0.1 + 0.3 * 0.05)


async def test_suspended_traffic_stays_and_takes_its_room() -> None:
    # Suspended at the near site: 1,000,000 tokens of its 10,800,000; the plan must keep them there.
    planner = Planner()
    outcome = await planner.plan(fleet(demand={"suspend": True}))
    assert not planner.routes.written
    assert {row.held_by for row in outcome.weights} == {"Suspended"}
    assert outcome.result is not None
    assert outcome.result.plan.shares[0, :, 0, 0].tolist() in ([0.0, 1.0], [1.0, 0.0])
    assert outcome.in_force["near"].queries == pytest.approx(1000.0)


async def test_the_ramp_moves_a_part_and_says_what_it_breaks_meanwhile() -> None:
    # The near site has room for 40 % of the tokens; moving at most 20 % at a time, 80 % are there after the first write.
    small = {"capacity": (ResourceCapacity("gpu", 0.4 * 1e6 * 0.001 / 3600),)}
    resources = fleet({"guardrails": Guardrails(max_shift=0.2)}, near=small)
    planner = Planner()
    outcome = await planner.plan(resources)
    assert planner.weights == {"llm-near": 800, "llm-cheap": 200}
    (broken,) = outcome.broken_in_force
    assert broken.message.startswith("gpu at near is 100 % short in slot 0")
    assert outcome.result is not None
    assert not outcome.result.diagnosis
    for row in outcome.weights:
        assert row.held_by == "Ramp"
        assert row.planned == pytest.approx({"near": 0.0, "cheap": 1.0}[row.site])
    for expected in (600, 400, 200, 0, 0):
        outcome = await planner.plan(resources)
        assert planner.weights["llm-near"] == expected
    assert not outcome.broken_in_force
    assert not outcome.weights[0].written


async def test_weights_that_are_whole_numbers_break_no_limit() -> None:
    # The cheap site has room for two thirds of the tokens: 667 of 1,000 is 0.05 % more.
    room = {"capacity": (ResourceCapacity("gpu", 2 / 3 * 1e6 * 0.001 / 3600),)}
    planner = Planner()
    outcome = await planner.plan(fleet(cheap=room))
    assert planner.weights == {"llm-near": 333, "llm-cheap": 667}
    assert not outcome.broken_in_force
    assert not outcome.degraded


async def test_nothing_delays_taking_traffic_off_a_draining_site() -> None:
    rails = Guardrails(max_shift=0.1, deadband=0.5, min_write_seconds=3600)
    planner = Planner()
    await planner.plan(fleet({"guardrails": Guardrails()}))
    assert planner.weights["llm-cheap"] == 1000
    outcome = await planner.plan(
        fleet({"guardrails": rails}, cheap={"state": SiteState.DRAINING}), NOW + timedelta(seconds=1)
    )
    assert planner.weights == {"llm-near": 1000, "llm-cheap": 0}
    assert all(row.written for row in outcome.weights)


async def test_a_forbidden_site_gets_nothing() -> None:
    classes = {"chat": QueryClass("chat", "large", 600.0, 400.0, 4.0, None, 0.1, Selector({"region": "eu"}))}
    planner = Planner(a_route(0, 1000))
    await planner.plan(fleet(demand={"classes": classes}, near={"labels": {"region": "eu"}}))
    assert planner.weights == {"llm-near": 1000, "llm-cheap": 0}


async def test_no_allowed_site_fails_closed_and_loud() -> None:
    classes = {"chat": QueryClass("chat", "large", 600.0, 400.0, 4.0, None, 0.1, Selector({"region": "eu"}))}
    planner = Planner(a_route(500, 500))
    outcome = await planner.plan(fleet(demand={"classes": classes}))
    assert not planner.routes.written
    assert outcome.result is not None
    assert outcome.result.termination is Termination.INFEASIBLE
    assert "has no allowed site" in outcome.result.diagnosis[0].message
    assert outcome.degraded


async def test_capacity_too_small_is_the_least_violation() -> None:
    # Room for 300 and 500 of 1,000 thousand tokens: routed in that proportion, and both named as short.
    rooms = {
        s: {"capacity": (ResourceCapacity("gpu", share * 1e6 * 0.001 / 3600),)}
        for s, share in (("near", 0.3), ("cheap", 0.5))
    }
    planner = Planner()
    outcome = await planner.plan(fleet(**rooms))
    assert planner.weights == {"llm-near": 375, "llm-cheap": 625}
    assert outcome.degraded
    assert len(outcome.result.overload) == 2 * 4  # every slot of the horizon


async def test_a_site_without_a_signal_keeps_its_share_then_leaves_by_the_ramp() -> None:
    resources = fleet({"guardrails": Guardrails(max_shift=0.5, hold_seconds=1800)})
    gone = replace(resources, sources={n: s for n, s in resources.sources.items() if n != "price-cheap"})
    # A source that exists but has nothing: the site is claimed, its signal is missing.
    gone = replace(gone, sources={**gone.sources, "price-cheap": static("price-cheap", 50.0, "g/kWh")})
    planner = Planner(a_route(400, 600))
    outcome = await planner.plan(gone)
    assert planner.weights == {"llm-near": 400, "llm-cheap": 600}
    assert outcome.held_sites == {"cheap": "electricityPrice"}
    messages = [problem.message for problem in outcome.book.problems]
    assert any(
        "InferenceSite cheap: signals.electricityPrice[0]: SignalSource price-cheap: spec.static.unit" in m
        for m in messages
    )
    assert any("no source has a fresh value for the slot from 2026-10-20T12:00Z" in m for m in messages)
    outcome = await planner.plan(gone, NOW + timedelta(seconds=1799))
    assert planner.weights["llm-cheap"] == 600
    outcome = await planner.plan(gone, NOW + timedelta(seconds=1800))
    assert planner.weights == {"llm-near": 900, "llm-cheap": 100}
    outcome = await planner.plan(gone, NOW + timedelta(seconds=1900))
    assert planner.weights == {"llm-near": 1000, "llm-cheap": 0}
    # Back again.
    outcome = await planner.plan(resources, NOW + timedelta(seconds=2000))
    assert planner.weights["llm-cheap"] == 500
    assert not outcome.held_sites


async def test_a_site_is_held_on_to_where_the_rest_has_no_room() -> None:
    small = {"capacity": (ResourceCapacity("gpu", 0.5 * 1e6 * 0.001 / 3600),)}
    resources = fleet({"guardrails": Guardrails(hold_seconds=0)}, near=small)
    gone = replace(resources, sources={**resources.sources, "price-cheap": static("price-cheap", 50.0, "g/kWh")})
    planner = Planner(a_route(400, 600))
    outcome = await planner.plan(gone)
    assert planner.weights == {"llm-near": 400, "llm-cheap": 600}
    assert outcome.held_sites == {"cheap": "electricityPrice"}


async def test_all_signals_missing_leaves_everything_as_it_is() -> None:
    resources = fleet()
    gone = replace(resources, sources={**resources.sources, "carbon": static("carbon", 1.0, "USD/MWh")})
    planner = Planner(a_route(400, 600))
    outcome = await planner.plan(gone)
    assert outcome.result is None
    assert "no site can be planned with" in (outcome.error or "")
    assert not planner.routes.written


async def test_a_failed_write_is_said_and_the_rest_goes_on() -> None:
    planner = Planner()

    async def refuse(_change: RouteWrite) -> Route:
        raise StoreError("disk is full")

    planner.routes.write = refuse  # type: ignore[method-assign]
    outcome = await planner.plan(fleet())
    assert outcome.writes_failed == {ROUTE: "disk is full"}
    assert {row.weight for row in outcome.weights} == {1000, 0}
    assert not any(row.written for row in outcome.weights)
    assert total(outcome.in_force.values()).cost == pytest.approx(0.1), "what is in force is what is there"


async def test_demand_without_routes_is_planned_but_counted_nowhere() -> None:
    areas = (DemandArea("iowa", (DemandEntry("chat", (1000.0,) * 24),)),)
    outcome = await Planner().plan(fleet(demand={"areas": areas}))
    assert outcome.unrouted == {
        ("inference/assistant", "iowa", "chat"): {"cheap": pytest.approx(1.0), "near": pytest.approx(0.0)}
    }
    assert total(outcome.in_force.values()).queries == 0


async def test_pairs_that_share_a_rule_move_together() -> None:
    classes = {
        name: QueryClass(name, "large", tokens, 0.0, 4.0, None, 0.1)
        for name, tokens in (("chat", 600.0), ("code", 900.0))
    }
    target = RouteTarget(ROUTE, {"chat": "chat", "code": "chat"})
    entries = tuple(DemandEntry(name, (100.0,) * 24) for name in classes)
    planner = Planner()
    outcome = await planner.plan(fleet(demand={"classes": classes, "areas": (DemandArea("iowa", entries, (target,)),)}))
    assert outcome.instance is not None
    assert len(outcome.instance.share_groups) == 1
    assert planner.weights["llm-cheap"] == 1000
    assert {(row.query_class, row.weight) for row in outcome.weights if row.site == "cheap"} == {
        ("chat", 1000),
        ("code", 1000),
    }


async def test_on_site_sun_is_used_first() -> None:
    signals = {
        SignalKind.ELECTRICITY_PRICE: (SignalRef("price-near"),),
        SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),),
        SignalKind.SOLAR_OUTPUT: (SignalRef("sun"),),
    }
    resources = fleet(
        near={"signals": signals, "renewables": (Renewable(RenewableType.SOLAR, 2.0),), "other_load_kw": 0.6}
    )
    resources = replace(resources, sources={**resources.sources, "sun": static("sun", 0.5, "kW/kW")})
    planner = Planner()
    outcome = await planner.plan(resources)
    # 2 kW x 0.5 = 1 kW, of which other load takes 0.6: 0.4 kWh for nothing.
    assert planner.weights == {"llm-near": 400, "llm-cheap": 600}
    assert outcome.in_force["near"].grid_energy_kwh == pytest.approx(0.0)


async def test_sold_certificates_count_in_the_account_and_steer_nothing() -> None:
    signals = {
        SignalKind.ELECTRICITY_PRICE: (SignalRef("price-near"),),
        SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),),
        SignalKind.SOLAR_OUTPUT: (SignalRef("sun"),),
    }
    found = []
    for sold in (None, 0.35):
        panels = (Renewable(RenewableType.SOLAR, 1.0), Renewable(RenewableType.SOLAR, 3.0, sold_kg_per_kwh=sold))
        resources = fleet(near={"signals": signals, "renewables": panels})
        resources = replace(resources, sources={**resources.sources, "sun": static("sun", 0.125, "kW/kW")})
        planner = Planner()
        outcome = await planner.plan(resources)
        assert planner.weights == {"llm-near": 500, "llm-cheap": 500}, "half a kWh of sun, whoever has its certificates"
        found.append(outcome.in_force)
    kept, sold_too = found
    assert kept["near"].emissions_kg == pytest.approx(0.0)
    # Three quarters of half a kWh by the residual mix.
    assert sold_too["near"].emissions_kg == pytest.approx(0.5 * 0.75 * 0.35)
    assert sold_too["cheap"] == kept["cheap"]


async def test_marginal_emissions_are_shown_as_differences_alone() -> None:
    marginal = CarbonAccounting("Marginal", "Direct", "Consumption")
    resources = fleet(policy={"accounting": marginal})
    sources = {name: replace(source, accounting=marginal) for name, source in resources.sources.items()}
    sources["dirty"] = replace(sources["carbon"], name="dirty", settings=StaticSettings(900.0, "g/kWh"))
    near = {
        SignalKind.ELECTRICITY_PRICE: (SignalRef("price-near"),),
        SignalKind.CARBON_INTENSITY: (SignalRef("dirty"),),
    }
    resources = replace(resources, sources=sources, sites={**resources.sites, "near": a_site("near", signals=near)})
    outcome = await Planner().plan(resources)
    status = policy_status(outcome)
    assert "emissionsKilograms" not in status["perHour"]
    assert status["savings"]["emissionsKilograms"] == "0.5"
    assert [entry["unit"] for entry in status["objectives"]][1] == "kgCO2 (marginal)"
    recorder = Recorder()
    recorder.record(outcome)
    text = generate_latest(recorder.registry).decode()
    assert 'greenllm_avoided_emissions_grams_per_hour{policy="default",signal="Marginal"} 500.0' in text
    assert not re.search(r"^greenllm_(in_force|planned|nearest)_(emissions|carbon_cost)\w*\{", text, re.MULTILINE)
    assert "emissions_kg" not in outcome_document(outcome)["in_force_per_hour"]["cheap"]


async def test_a_fall_back_is_counted() -> None:
    chain = (SignalRef("gone"), SignalRef("price-near"))
    signals = {SignalKind.ELECTRICITY_PRICE: chain, SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),)}
    resources = fleet(near={"signals": signals})
    recorded = Source(name="gone", settings=CsvSettings("gone.csv"))
    outcome = await Planner().plan(replace(resources, sources={**resources.sources, "gone": recorded}))
    recorder = Recorder()
    recorder.record(outcome)
    text = generate_latest(recorder.registry).decode()
    assert re.findall(r"^greenllm_signal_fallbacks_total\{.*", text, re.MULTILINE) == [
        'greenllm_signal_fallbacks_total{kind="electricityPrice",policy="default",site="near",source="price-near"} 1.0'
    ]


@pytest.mark.parametrize(
    ("currency", "rates", "price", "used"),
    [
        ("USD", (), 21_000.0, False),
        ("JPY", (), 30_000.0, True),
        ("JPY", (), 3_100_000.0, False),
        ("EUR", (ExchangeRate("USD", 0.5, date(2026, 11, 1)),), 10_500.0, False),
        ("EUR", (), 10_500.0, True),
        ("XXX", (), 1e9, True),
    ],
)
async def test_prices_are_plausible_by_what_they_are_worth(
    currency: str, rates: tuple[ExchangeRate, ...], price: float, *, used: bool
) -> None:
    resources = fleet(policy={"currency": currency, "exchange_rates": rates})
    sources = {name: static(name, price, f"{currency}/MWh") for name in ("price-near", "price-cheap")}
    outcome = await Planner().plan(replace(resources, sources={**resources.sources, **sources}))
    assert (outcome.result is not None) == used
    if not used:
        assert f"gives {price:g} {currency}/MWh" in outcome.book.problems[0].message


@pytest.mark.parametrize("length", [(24, 3600), (96, 900), (12, 7200)])
async def test_results_do_not_depend_on_the_slot_length(length: tuple[int, int]) -> None:
    slots, seconds = length
    # Half the traffic fits at the cheap site; with 4 bytes a token, 1,000 queries take transfer and processing time.
    room = {"capacity": (ResourceCapacity("gpu", 0.5 * 1e6 * 0.001 / 3600),)}
    planner = Planner()
    outcome = await planner.plan(fleet({"slots": slots, "slot_seconds": seconds}, cheap=room))
    assert planner.weights == {"llm-near": 500, "llm-cheap": 500}
    ours = total(outcome.in_force.values())
    assert (ours.cost, ours.energy_kwh, ours.queries) == pytest.approx((0.075, 1.0, 1000.0))
    assert ours.mean_delay_s == pytest.approx(0.031)


async def test_the_users_order_decides() -> None:
    resources = fleet({"order": Order((Objective.DELAY, Objective.COST), (Tolerance(0.0),) * 2)})
    planner = Planner(a_route(0, 1000))
    await planner.plan(resources)
    assert planner.weights == {"llm-near": 1000, "llm-cheap": 0}


async def test_two_policies_do_not_meet() -> None:
    other = a_policy(name="other", created=NOW, sites=Selector())
    resources = replace(fleet(), policies={"default": a_policy(), "other": other})
    planner = Planner()
    assert (await planner.plan(resources)).result is not None
    outcome = await planner.plan(resources, policy="other")
    assert outcome.result is None
    assert "no demand takes part" in (outcome.error or "")


async def test_a_route_that_two_demands_name_belongs_to_the_older(capsys: Any) -> None:
    del capsys
    younger = a_demand("younger", created=NOW)
    resources = replace(fleet(), demands={"inference/assistant": a_demand(), "inference/younger": younger})
    planner = Planner()
    outcome = await planner.plan(resources)
    assert planner.weights["llm-cheap"] == 1000
    (problem,) = [p for p in outcome.skipped if p.reason == "RuleTaken"]
    assert problem.key.name == "younger"
    assert "is steered by InferenceDemand inference/assistant, which is older" in problem.message


async def test_a_stranger_with_weight_refuses_the_rule_but_its_traffic_stays() -> None:
    stranger = backend("near")._replace(name="llm-elsewhere")
    rule = RouteRule("chat", {backend("near"): 500, backend("cheap"): 0, stranger: 500})
    planner = Planner(Route(ROUTE, "uid", (rule,)))
    outcome = await planner.plan(fleet())
    assert not planner.routes.written
    (problem,) = [p for p in outcome.skipped if p.reason == "UnmappedBackend"]
    assert "llm-elsewhere" in problem.message


async def test_water_is_charged_once_for_what_has_elapsed() -> None:
    resources = fleet({"water": a_budget(1000.0)})
    planner = Planner()
    await planner.plan(resources)
    # 1 kWh/h x 1 L/kWh: half an hour later 0.5 L, whether asked once or often, whether restarted or not.
    for minutes in (10, 20, 30, 30):
        outcome = await planner.plan(resources, NOW + timedelta(minutes=minutes))
        planner.restart()
    assert outcome.ledger.used_liters == pytest.approx(0.5)
    assert outcome.water.used_liters == pytest.approx(0.5)
    assert total(outcome.ledger.in_force.values()).queries == pytest.approx(500.0)
    # A clock that goes back charges nothing.
    outcome = await planner.plan(resources, NOW)
    assert outcome.ledger.used_liters == pytest.approx(0.5)
    # Two days away: all of it is charged, slot by slot.
    outcome = await planner.plan(resources, NOW + timedelta(hours=48))
    assert outcome.ledger.used_liters == pytest.approx(48.0)
    # A month away: what cannot be known is said, not guessed.
    outcome = await planner.plan(resources, NOW + timedelta(days=32))
    assert outcome.ledger.uncharged_seconds > 20 * 86400


async def test_the_horizons_share_of_the_budget() -> None:
    # 24 L for 24 hours from 12:00; 4 slots of an hour: 4 L for the horizon. At 12:30 half a litre is used of slot 0's
    # own: remaining 23.5, and the 0.5 are added back because the plan holds all of slot 0: 24 x 4 / 24.
    resources = fleet({"water": a_budget(24.0, days=1)})
    planner = Planner()
    start = NOW.replace(minute=0)
    outcome = await planner.plan(resources, start)
    assert outcome.water.horizon_cap_liters == pytest.approx(4.0)
    outcome = await planner.plan(resources, start + timedelta(minutes=30))
    assert outcome.water.remaining_liters == pytest.approx(23.5)
    assert outcome.water.horizon_cap_liters == pytest.approx(4.0)
    # Two hours before the period ends: two hours inside, two of the next period's 24 L.
    outcome = await planner.plan(resources, start + timedelta(hours=22))
    assert outcome.water.remaining_liters == pytest.approx(2.0)
    assert outcome.water.horizon_cap_liters == pytest.approx(2.0 + 2.0)
    # The next period begins anew.
    outcome = await planner.plan(resources, start + timedelta(hours=25))
    assert outcome.water.period_start == start + timedelta(hours=24)
    assert outcome.water.used_liters == pytest.approx(1.0)


async def test_a_day_stays_within_budget_and_an_exhausted_one_is_said() -> None:
    # The cheap site takes 1 L/kWh, the near one 0.2: 12 L for 24 kWh need 10 kWh at the near one.
    resources = fleet({"water": a_budget(12.0, days=1)}, near={"wue_l_per_kwh": 0.2})
    planner = Planner()
    start = NOW.replace(minute=0)
    for quarter in range(4 * 24):
        outcome = await planner.plan(resources, start + timedelta(minutes=15 * quarter))
        assert outcome.result.termination is Termination.OPTIMAL
    outcome = await planner.plan(resources, start + timedelta(hours=24) - timedelta(seconds=1))
    assert 11.5 < outcome.water.used_liters <= 12.0 + 0.01  # weights are whole per mille
    # 3 L are not enough for anything: the least violation, named.
    planner = Planner()
    tight = fleet({"water": a_budget(3.0, days=1)}, near={"wue_l_per_kwh": 0.2})
    outcome = await planner.plan(tight, start)
    assert outcome.degraded
    assert planner.weights["llm-near"] == 1000
    assert "water cap 0.5 L is 0.3 L short" in outcome.result.diagnosis[0].message


PRICES = "start,end,value,unit,quality,issued_at\n" + "".join(
    f"2026-10-20T{h:02}:00Z,2026-10-20T{h + 1:02}:00Z,{40 + h},USD/MWh,,2026-10-19T18:00Z\n" for h in range(14)
)


async def test_a_horizon_that_signals_do_not_cover_is_shortened_and_said() -> None:
    # Prices are known until 14:00: two of four slots.
    signals = {
        SignalKind.ELECTRICITY_PRICE: (SignalRef("recorded", basis="DayAhead"),),
        SignalKind.CARBON_INTENSITY: (SignalRef("carbon"),),
    }
    from green_llm.domain.request import CsvSettings, Source  # noqa: PLC0415 - used by this test only

    resources = fleet(cheap={"signals": signals})
    resources = replace(
        resources, sources={**resources.sources, "recorded": Source(name="recorded", settings=CsvSettings("p.csv"))}
    )
    planner = Planner(files={"p.csv": PRICES})
    outcome = await planner.plan(resources)
    assert outcome.horizon_shortened_to == 2
    assert outcome.result is not None
    assert outcome.book.values["cheap", SignalKind.ELECTRICITY_PRICE][0].value == 52.0
