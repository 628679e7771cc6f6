"""Instances small enough to work by hand; the arithmetic is in the comments."""

from __future__ import annotations

import numpy as np
import pytest

from green_llm.domain.plan import LimitKind, Objective, Order, Termination, Tolerance
from green_llm.optimizer import optimize, weighted
from support.instances import an_instance

EXACT = Tolerance(relative=0.0)
COST, CARBON, DELAY = Objective.COST, Objective.CARBON, Objective.DELAY


def order(*objectives: Objective, tolerance: Tolerance = EXACT) -> Order:
    return Order(objectives, (tolerance,) * len(objectives))


def test_everything_goes_to_the_cheaper_site() -> None:
    # 100 queries x 1 token x 0.01 kWh = 1 kWh, all at 0.10 $/kWh.
    instance = an_instance(electricity_price=[[0.1], [0.3]])
    result = optimize(instance, order(COST))
    assert result.termination is Termination.OPTIMAL
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([1.0, 0.0])
    assert result.values.cost == pytest.approx(0.1)
    assert result.values.energy == pytest.approx(1.0)
    assert result.values.emissions == pytest.approx(0.4)
    assert result.values.carbon == pytest.approx(0.05 * 0.4)
    assert result.values.delay == pytest.approx(0.01)


def test_capacity_sends_the_rest_elsewhere() -> None:
    # 100 tokens; site 0 has room for 60 of them. Cost: 0.6 kWh x 0.1 + 0.4 kWh x 0.3 = 0.18 $.
    instance = an_instance(electricity_price=[[0.1], [0.3]], resource_capacity=[[60.0, 1000.0]])
    result = optimize(instance, order(COST))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.6, 0.4])
    assert result.values.cost == pytest.approx(0.18)
    # One more token of room moves 0.01 kWh from 0.3 to 0.1 $/kWh: -0.002 $.
    (binding,) = result.binding
    assert (binding.limit, binding.where.site, binding.where.slot) == (LimitKind.CAPACITY, "site-0", 0)
    assert binding.used == pytest.approx(60)
    assert binding.prices[0].value == pytest.approx(-0.002)


def test_headroom_is_kept_free() -> None:
    # 25 % of 80 stay free: 60 usable, as above.
    instance = an_instance(electricity_price=[[0.1], [0.3]], resource_capacity=[[80.0, 1000.0]], headroom=[0.25, 0.0])
    assert optimize(instance, order(COST)).plan.shares[0, :, 0, 0] == pytest.approx([0.6, 0.4])


def test_tolerance_buys_the_next_objective() -> None:
    # Cheapest: all at site 0, 0.10 $. 10 % more is 0.11 $: 0.1(1 - x) + 0.3x = 0.11 gives x = 0.05.
    # Delay: site 1 is at 0 s, site 0 at 0.1 s: 0.1(1 - 0.05) = 0.095 s.
    instance = an_instance(electricity_price=[[0.1], [0.3]], network_delay=[[0.1, 0.0]])
    result = optimize(instance, order(COST, DELAY, tolerance=Tolerance(relative=0.1)))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.95, 0.05])
    assert result.phases[0].optimum == pytest.approx(0.10)
    assert result.phases[0].budget == pytest.approx(0.11)
    assert result.phases[1].optimum == pytest.approx(0.095)
    assert result.phases[1].budget is None
    absolute = optimize(instance, order(COST, DELAY, tolerance=Tolerance(absolute=0.01)))
    assert absolute.plan.shares == pytest.approx(result.plan.shares)


def test_a_negative_optimum_has_a_budget_above_it() -> None:
    # -0.1 $/kWh at site 0: optimum -0.1 $; 10 % of |-0.1| may be given up: budget -0.09 $.
    instance = an_instance(electricity_price=[[-0.1], [0.3]], network_delay=[[0.1, 0.0]])
    result = optimize(instance, order(COST, DELAY, tolerance=Tolerance(relative=0.1)))
    assert result.phases[0].optimum == pytest.approx(-0.1)
    assert result.phases[0].budget == pytest.approx(-0.09)
    # -0.1(1 - x) + 0.3x = -0.09 gives x = 0.025.
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.975, 0.025])


def test_nothing_is_bought_to_be_burnt() -> None:
    # The grid limit is 1000 kWh, but the site uses 1 kWh: at -0.1 $/kWh it buys 1, not 1000.
    result = optimize(an_instance(electricity_price=-0.1), order(COST))
    assert result.plan.grid_energy_kwh.sum() == pytest.approx(1.0)
    assert result.values.cost == pytest.approx(-0.1)


def test_negative_prices_displace_renewables_and_say_so() -> None:
    # 0.4 kWh of sun are there; buying all of the 1 kWh earns 0.1 $ and leaves the 0.4 kWh unused.
    result = optimize(an_instance(sites=1, electricity_price=-0.1, renewable_power=0.4), order(COST))
    assert result.plan.grid_energy_kwh[0, 0] == pytest.approx(1.0)
    assert result.values.displaced_renewables_kwh == pytest.approx(0.4)
    # When carbon comes first nothing is displaced.
    result = optimize(an_instance(sites=1, electricity_price=-0.1, renewable_power=0.4), order(CARBON, COST))
    assert result.plan.grid_energy_kwh[0, 0] == pytest.approx(0.6)
    assert result.values.displaced_renewables_kwh == pytest.approx(0.0, abs=1e-9)


def test_renewables_are_used_before_the_grid() -> None:
    # Site 1 is dear but has 0.7 kWh of wind: 0.7 kWh there for nothing, 0.3 kWh at 0.1 $ at site 0.
    instance = an_instance(electricity_price=[[0.1], [0.3]], renewable_power=[[0.0], [0.7]])
    result = optimize(instance, order(COST))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.3, 0.7])
    assert result.values.cost == pytest.approx(0.03)


def test_water_cap_prices_a_litre() -> None:
    # PUE 1, WUE 2 L/kWh at site 0, 0 at site 1: a cap of 1 L allows 0.5 kWh there; cost 0.05 + 0.15 = 0.2 $.
    # A litre more moves 0.5 kWh: 0.5 x (0.1 - 0.3) = -0.1 $.
    instance = an_instance(electricity_price=[[0.1], [0.3]], wue=[[2.0], [0.0]], water_cap=1.0)
    result = optimize(instance, order(COST))
    assert result.values.water == pytest.approx(1.0)
    assert result.values.cost == pytest.approx(0.2)
    assert result.binding[0].limit is LimitKind.WATER_CAP
    assert (result.binding[0].prices[0].value, result.binding[0].prices[0].unit) == (pytest.approx(-0.1), "$/L")


def test_offsite_water_on_facility_or_on_grid_energy() -> None:
    # PUE 2, 1 kWh of IT energy, WUE 1, EWIF 3, 0.5 kWh of sun: P^d = 2, P^g = 1.5.
    # facility: (1/2 + 3) x 2 = 7 L; grid: 1/2 x 2 + 3 x 1.5 = 5.5 L.
    parts = {"sites": 1, "pue": 2.0, "wue": 1.0, "ewif": 3.0, "renewable_power": 0.5}
    assert optimize(an_instance(**parts, offsite_water="facility"), order(COST)).values.water == pytest.approx(7.0)
    assert optimize(an_instance(**parts, offsite_water="grid"), order(COST)).values.water == pytest.approx(5.5)


def test_delay_is_transfer_plus_network_plus_processing() -> None:
    # beta λ (h+f)/B = 0.002 x 100 x 1 / 10 = 0.02; d = 0.01; v (h+f) λ = 0.0003 x 1 x 100 = 0.03: 0.06 s.
    instance = an_instance(sites=1, token_size=0.002, bandwidth=10.0, processing_delay=0.0003, delay_penalty=2.0)
    assert optimize(instance, order(DELAY)).values.delay == pytest.approx(2.0 * 0.06)


def test_delay_limit_keeps_a_share_near() -> None:
    # Site 0 is cheap and 0.3 s away, site 1 dear and 0.1 s: 0.3x + 0.1(1 - x) <= 0.2 gives x = 0.5.
    instance = an_instance(electricity_price=[[0.1], [0.3]], network_delay=[[0.3, 0.1]], delay_limit=0.2)
    result = optimize(instance, order(COST))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.5, 0.5])
    # A second more would move 1/0.2 = 5 shares of 1 kWh: 5 x (0.1 - 0.3) = -1 $/s.
    assert result.binding[0].prices[0].value == pytest.approx(-1.0)


def test_forbidden_sites_get_nothing() -> None:
    instance = an_instance(electricity_price=[[0.1], [0.3]], allowed=[[[False], [True]]])
    assert optimize(instance, order(COST)).plan.shares[0, :, 0, 0] == pytest.approx([0.0, 1.0])


def test_pairs_that_share_a_rule_get_one_share() -> None:
    # Class 0 would go to site 0, class 1 (other energies) to site 1; together they cost 1 + 2 at site 0, 4 + 1 at site 1.
    energies = [[0.01, 0.02], [0.04, 0.01]]
    free = an_instance(classes=2, energy_per_input_token=energies)
    assert optimize(free, order(COST)).plan.shares[0, :, :, 0] == pytest.approx(np.eye(2))
    tied = an_instance(classes=2, energy_per_input_token=energies, share_groups=(((0, 0), (0, 1)),))
    assert optimize(tied, order(COST)).plan.shares[0, 0, :, 0] == pytest.approx([1.0, 1.0])


def test_fixed_shares_stay_and_take_their_room() -> None:
    # Area 0 is fixed half and half: 0.5 kWh at site 0, which has room for 60 tokens in all: area 1 gets 10 of its 100.
    fixed = [[[0.5], [0.5]], [[np.nan], [np.nan]]]
    instance = an_instance(
        areas=2, electricity_price=[[0.1], [0.3]], fixed_shares=fixed, resource_capacity=[[60.0, 1000.0]]
    )
    result = optimize(instance, order(COST))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.5, 0.5])
    assert result.plan.shares[1, :, 0, 0] == pytest.approx([0.1, 0.9])


def test_idle_slots_take_the_shares_of_the_nearest_busy_one() -> None:
    # Slot 0 has no demand and is nearest to slot 1, where site 1 is cheap; slot 3 is nearest to slot 2.
    price = [[0.1, 0.3, 0.1, 0.1], [0.3, 0.1, 0.3, 0.3]]
    instance = an_instance(slots=4, electricity_price=price, demand=[[[0.0, 100.0, 100.0, 0.0]]])
    plan = optimize(instance, order(COST)).plan
    assert plan.shares[0, 1, 0] == pytest.approx([1.0, 1.0, 0.0, 0.0])
    assert plan.grid_energy_kwh[:, 0].sum() == 0.0


def test_a_pair_without_any_demand_has_no_shares() -> None:
    instance = an_instance(classes=2, demand=[[[100.0], [0.0]]])
    assert optimize(instance, order(COST)).plan.shares[0, :, 1].sum() == 0.0


def test_slot_hours_turn_power_into_energy() -> None:
    # 15 minutes: 2 kW of wind are 0.5 kWh, so 0.5 of the 1 kWh comes from the grid.
    result = optimize(an_instance(sites=1, renewable_power=2.0, slot_hours=0.25), order(COST))
    assert result.plan.grid_energy_kwh[0, 0] == pytest.approx(0.5)


def test_the_grid_connection_limits_a_site() -> None:
    # 0.3 kW for an hour at the cheap site: 0.3 kWh there.
    result = optimize(an_instance(electricity_price=[[0.1], [0.3]], grid_limit=[[0.3], [9.0]]), order(COST))
    assert result.plan.shares[0, :, 0, 0] == pytest.approx([0.3, 0.7])
    assert result.binding[0].limit is LimitKind.GRID_LIMIT
    # 1 kW more for an hour moves 1 kWh: 0.1 - 0.3 = -0.2 $/kW.
    assert (result.binding[0].prices[0].value, result.binding[0].prices[0].unit) == (pytest.approx(-0.2), "$/kW")


def test_ties_go_to_the_weights_in_force() -> None:
    # Two equal sites; 70 % are at site 1 now, and no objective asks for anything else.
    instance = an_instance(current_shares=[[[0.3], [0.7]]])
    assert optimize(instance, order(COST)).plan.shares[0, :, 0, 0] == pytest.approx([0.3, 0.7])


def test_weighted_sum_of_raw_units() -> None:
    # Site 0: 0.10 $ + 1 s x 1 $; site 1: 0.30 $ + 0. Equal weights choose site 1; 10 : 1 still (1.0 + 1 > 3.0 is false) site 0.
    instance = an_instance(electricity_price=[[0.1], [0.3]], network_delay=[[1.0, 0.0]])
    assert weighted(instance, {COST: 1.0, DELAY: 1.0}).plan.shares[0, 1, 0, 0] == pytest.approx(1.0)
    assert weighted(instance, {COST: 10.0, DELAY: 1.0}).plan.shares[0, 0, 0, 0] == pytest.approx(1.0)
