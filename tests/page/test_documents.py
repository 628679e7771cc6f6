"""The documents say what the outcomes are worth."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from green_llm.domain.amounts import total
from green_llm.domain.plan import Binding, LimitKind, Objective, Order, ShadowPrice, Tolerance, Where
from green_llm.domain.request import CarbonAccounting, CsvSettings, Guardrails, Mode
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import ResourceCapacity
from green_llm.page import figures, words
from green_llm.page.account import account
from green_llm.page.horizon import horizon
from green_llm.page.matrix import matrix
from green_llm.page.now import Rate, now
from green_llm.services.wording import number
from support.planner import outcomes
from support.resources import NOW, a_budget, a_demand, a_fleet, a_policy, a_site


def rate(found: tuple[Rate, ...], name: str) -> Rate:
    return next(entry for entry in found if entry.name == name)


async def test_now_sets_what_is_in_force_against_the_nearest_site() -> None:
    (outcome,) = await outcomes(a_fleet())
    document = now(outcome, {})
    # 1 kWh an hour at 50 instead of 100 USD/MWh, 51 instead of 11 ms.
    cost, delay = rate(document.rates, "cost"), rate(document.rates, "delay")
    assert (cost.in_force, cost.nearest, cost.change) == (pytest.approx(0.05), pytest.approx(0.10), pytest.approx(-0.5))
    assert cost.unit == "USD/h"
    assert (delay.in_force, delay.nearest) == (pytest.approx(51.0), pytest.approx(11.0))
    assert [pair.shares["cheap"].in_force for pair in document.pairs] == [1.0]
    assert document.pairs[0].queries_per_hour == pytest.approx(1000.0)
    signal = next(entry for entry in document.signals if (entry.site, entry.kind) == ("near", "electricityPrice"))
    assert (signal.value, signal.unit, signal.source, signal.quality) == (100.0, "USD/MWh", "price-near", "static")
    assert signal.age_seconds is None


async def test_marginal_emissions_are_a_difference_only() -> None:
    accounting = CarbonAccounting("Marginal", "Lifecycle", "Consumption")
    plain = a_fleet(policies={"default": a_policy(accounting=accounting)})
    sources = {name: replace(source, accounting=accounting) for name, source in plain.sources.items()}
    (outcome,) = await outcomes(replace(plain, sources=sources))
    emissions = rate(now(outcome, {}).rates, "emissions")
    assert (emissions.in_force, emissions.planned, emissions.nearest, emissions.change) == (None,) * 4
    assert emissions.difference == pytest.approx(0.0)
    assert "marginal" in emissions.unit


async def test_the_next_write_is_the_next_interval_but_not_before_the_guardrails() -> None:
    rails = Guardrails(max_shift=0.2, min_write_seconds=5400.0)
    ramping = a_fleet(policies={"default": a_policy(guardrails=rails, period_seconds=300)})
    (outcome,) = await outcomes(ramping)
    found = now(outcome, {}).next
    assert found.plan == NOW + timedelta(seconds=300)
    (rule,) = found.rules
    assert (rule.held_by, rule.last_write, rule.next_write) == ("Ramp", NOW, NOW + timedelta(seconds=5400))
    assert now(outcome, {}, period_seconds=7200.0).next.rules[0].next_write == NOW + timedelta(seconds=7200)


async def test_shadow_has_no_next_write() -> None:
    (outcome,) = await outcomes(a_fleet(policies={"default": a_policy(mode=Mode.SHADOW)}))
    document = now(outcome, {})
    assert [rule.next_write for rule in document.next.rules] == [None]
    # What is in force are the user's own weights; the plan differs and is shown beside it.
    ((_, cells),) = matrix(document, None).rows
    assert {cell.text: cell.planned for cell in cells} == {"100 %": "0 %", "0 %": "100 %"}


async def test_a_binding_capacity_is_said_in_the_users_units() -> None:
    sites = {"near": a_site("near"), "cheap": a_site("cheap", capacity=(ResourceCapacity("gpu", 0.1),))}
    (outcome,) = await outcomes(replace(a_fleet(), sites=sites))
    (limit,) = [entry for entry in words.limits(outcome) if entry.limit == "capacity"]
    # 0.1 gpu serves 360 of 1,000 queries (1 gpu-second each, 3600 s); one more gpu takes all: 0.05 USD on 1 kWh per 3.6e3 gpu-s.
    assert limit.words.startswith("gpu at cheap is full (at most 0.100 of 0.100 used, headroom aside) in 4 of 4 slots")
    price = next(entry for entry in limit.prices if entry.objective == "cost")
    assert (price.per, price.unit) == ("gpu", "USD")
    assert price.value == pytest.approx(-0.05 * 3.6)
    assert "One more gpu would lower cost by up to 0.180 USD" in limit.words


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (Binding(limit=LimitKind.WATER_CAP, where=Where(), used=120.0, cap=120.0, unit="L",
                 prices=(ShadowPrice(Objective.COST, -0.075, "$/L"), ShadowPrice(Objective.EMISSIONS, 0.001, "kgCO2/L"))),
         "All water that the budget leaves for these 4 slots is used: 120 L. "
         "One more litre would lower cost by 0.0750 USD and raise emissions by 0.00100 kgCO2e."),
        (Binding(limit=LimitKind.GRID_LIMIT, where=Where(site="near", slot=1), used=4500.0, cap=4500.0, unit="kW"),
         "The grid connection of near is full (at most 4,500 of 4,500 kW) in the slot of 20 Oct 13:00 UTC. "
         "More of it would change nothing."),
        (Binding(limit=LimitKind.DELAY_LIMIT, where=Where(area="iowa", query_class="chat", slot=0), used=0.01, cap=0.05,
                 unit="s", prices=(ShadowPrice(Objective.COST, -2.0, "$/s"),)),
         "chat from iowa is below its delay limit (at most 10.0 of 50.0 ms) in the slot of 20 Oct 12:00 UTC, but limits "
         "how low cost can get. "
         "One more millisecond would lower cost by 0.00200 USD."),
    ],
)  # fmt: skip
async def test_limits_in_words(limit: Binding, expected: str) -> None:
    (outcome,) = await outcomes(a_fleet())
    assert outcome.result is not None
    (found,) = words.limits(replace(outcome, result=replace(outcome.result, binding=(limit,))))
    assert found.words == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.6, "12,346"), (-1234.0, "−1,234"), (99.96, "100"), (1.234, "1.23"), (-0.000123, "−0.000123"),
     (1.2e-9, "1.20e−09"), (float("nan"), "–"), (None, "–")],
)  # fmt: skip
def test_numbers_in_words(value: float | None, text: str) -> None:
    assert number(value) == text


async def test_limits_with_and_without_room_are_told_apart() -> None:
    (outcome,) = await outcomes(a_fleet())
    assert outcome.result is not None
    full, roomy = (
        Binding(limit=LimitKind.CAPACITY, where=Where(site="near", slot=slot, resource="gpu"), used=used, cap=3600.0, unit="gpu",
                prices=(ShadowPrice(Objective.EMISSIONS, -1e-4, "kgCO2/gpu"),))
        for slot, used in ((0, 3600.0), (2, 360.0))
    )  # fmt: skip
    found = [
        limit.words for limit in words.limits(replace(outcome, result=replace(outcome.result, binding=(full, roomy))))
    ]
    assert found == [
        "gpu at near is full (at most 1.00 of 1.00 used, headroom aside) in the slot of 20 Oct 12:00 UTC. "
        "One more gpu would lower emissions by 0.360 kgCO2e.",
        "gpu at near has room (at most 0.100 of 1.00 used, headroom aside) in the slot of 20 Oct 14:00 UTC, but limits how "
        "low emissions can get. One more gpu would lower emissions by 0.360 kgCO2e.",
    ]


async def test_why_begins_with_what_each_objective_gave_up() -> None:
    order = Order((Objective.COST, Objective.DELAY), (Tolerance(0.5), Tolerance(0.0)))
    (outcome,) = await outcomes(a_fleet(policies={"default": a_policy(order=order)}))
    cost, delay = now(outcome, {}).phases
    # 0.05 USD an hour at the cheap site; half as much more sends half of the queries to the near one, at 0.10.
    assert (cost.optimum, cost.budget, cost.planned) == (pytest.approx(0.2), pytest.approx(0.3), pytest.approx(0.3))
    assert cost.words == (
        "Cost: 0.200 USD at the least over the horizon. Up to 0.300 (+50.0 %) may be given for what comes after it; "
        "the plan takes 0.300 (+50.0 %)."
    )
    assert delay.words.startswith("Delay penalty: ")
    assert (delay.budget, delay.planned) == (None, pytest.approx(delay.optimum))


async def test_an_infeasible_plan_is_said_once_per_limit_in_the_users_units() -> None:
    sites = {name: a_site(name, capacity=(ResourceCapacity("gpu", 0.1),)) for name in ("near", "cheap")}
    (outcome,) = await outcomes(replace(a_fleet(), sites=sites))
    document = now(outcome, {})
    assert document.termination == "infeasible"
    first, *limits = document.messages
    assert first == "No plan keeps every limit. Planned is the one that breaks them least:"
    # 1,000 queries of 1 gpu-second in each of four hours, on two times 0.1 gpu.
    assert [text.partition(":")[0] for text in sorted(limits)] == [
        f"gpu at {site} does not suffice in 4 of 4 slots, the worst that of 20 Oct 12" for site in ("cheap", "near")
    ]
    assert all(text.endswith("0.139 needed, 0.100 usable") for text in limits)


async def test_what_was_asked_for_is_no_trouble() -> None:
    demand = replace(a_demand(), suspend=True)
    (outcome,) = await outcomes(a_fleet(demands={demand.key: demand}))
    document = now(outcome, {})
    assert document.messages == ()
    assert "InferenceDemand inference/assistant: suspended: its weights stay as they are" in document.notes


async def test_a_missing_signal_and_a_fall_back_are_shown() -> None:
    plain, kind = a_fleet(), SignalKind.CARBON_INTENSITY
    near = plain.sites["near"]
    chain = (SignalRef("gone"), *near.signals[kind])
    sites = {**plain.sites, "near": replace(near, signals={**near.signals, kind: chain})}
    gone = replace(plain.sources["carbon"], name="gone", settings=CsvSettings(file="gone.csv"))
    sources = {**plain.sources, "gone": gone}
    (outcome,) = await outcomes(replace(plain, sites=sites, sources=sources))
    document = now(outcome, {})
    assert document.messages == ()
    fall_back, reason = document.notes
    assert fall_back == "Fall-back of the carbon intensity at near: sources before it have no fresh value for now"
    assert "signals.carbonIntensity[0]: gone.csv: does not exist" in reason
    # The same reason at many places is said once.
    both = {name: replace(site, signals={**site.signals, kind: chain}) for name, site in plain.sites.items()}
    (outcome,) = await outcomes(replace(plain, sites=both, sources=sources))
    assert now(outcome, {}).notes[1].startswith("SignalSource gone, for 2 signals of 2 sites: gone.csv: does not exist")
    # Without the fall-back nobody knows it: no number stands where there is none.
    alone = {**sites, "near": replace(near, signals={**near.signals, kind: chain[:1]})}
    (outcome,) = await outcomes(replace(plain, sites=alone, sources=sources))
    document = now(outcome, {})
    signal = next(entry for entry in document.signals if (entry.site, entry.kind) == ("near", kind.value))
    assert (signal.value, signal.quality, signal.source) == (None, "missing", "")
    assert "near keeps its share: no value for carbonIntensity" in document.messages
    assert any(text.startswith("Amounts leave out near") for text in document.notes)


async def test_horizon_is_the_plan_by_slot() -> None:
    (outcome,) = await outcomes(a_fleet())
    document = horizon(outcome)
    assert document is not None
    by_site = {site.site: site for site in document.sites}
    assert by_site["cheap"].price_per_mwh == pytest.approx((50.0,) * 4)
    assert by_site["near"].carbon_g_per_kwh == pytest.approx((400.0,) * 4)
    assert by_site["cheap"].share == pytest.approx((1.0,) * 4)
    assert by_site["cheap"].grid_kw == pytest.approx((1.0,) * 4)
    assert [start.hour for start in document.starts] == [12, 13, 14, 15]
    share, price = figures.of_horizon(document)[:2]
    assert share.plot["data"][0]["type"] == "bar"
    # A step to the end of the last slot; no plot of sun and wind that nobody has.
    assert (price.plot["data"][0]["x"][-1], len(price.plot["data"][0]["y"])) == ("2026-10-20 16:00:00", 5)
    assert [figure.name for figure in figures.of_horizon(document)] == ["share", "price-per-mwh", "carbon-g-per-kwh"]
    assert price.summary == "Electricity price, from 50 to 100 USD/MWh. On average: cheap 50 USD/MWh, near 100 USD/MWh."
    assert figures.of_horizon(document)[2].summary == "Carbon intensity: 400 gCO2e/kWh throughout."
    assert dict(price.table.rows)["near"] == pytest.approx((100.0,) * 4)


async def test_without_a_plan_there_is_no_horizon_and_it_is_said_why() -> None:
    (outcome,) = await outcomes(replace(a_fleet(), sources={}))
    assert horizon(outcome) is None
    document = now(outcome, {})
    assert document.termination == "none"
    assert document.error is not None
    assert document.error in document.messages[0]
    assert (document.rates, document.phases, document.limits) == ((), (), ()), "what is not known is not zero"


async def test_a_water_budget_and_an_order_are_shown() -> None:
    order = Order((Objective.WATER, Objective.COST), (Tolerance(0.03), Tolerance(0.0)))
    (outcome,) = await outcomes(a_fleet(policies={"default": a_policy(water=a_budget(1000.0), order=order)}))
    document = now(outcome, {})
    assert document.order == ("water", "cost")
    assert document.water is not None
    assert (document.water.budget_liters, document.water.remaining_liters) == (1000.0, 1000.0)


async def test_the_account_is_the_ledgers_months() -> None:
    *_, outcome = await outcomes(a_fleet(), steps=3)
    assert outcome.ledger is not None
    (month,) = account(outcome).months
    cost = next(entry for entry in month.sums if entry.name == "cost")
    # Two hours at 0.05 instead of 0.10 USD; at adoption everything went to the near site.
    assert (month.month, cost.in_force) == ("2026-10", pytest.approx(total(outcome.ledger.in_force.values()).cost))
    assert (cost.nearest, cost.static) == (pytest.approx(0.2), pytest.approx(0.2))
    (entry,) = month.classes
    assert entry.name == "inference/assistant/chat"
    assert entry.tokens == pytest.approx(1000.0 * entry.queries)
    assert entry.per_thousand_tokens["energy"] == pytest.approx(1e-3)
    assert month.measured_share == 0.0
