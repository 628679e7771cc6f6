"""What shares cost, emit and use, per site: rates of a slot, and the ledger of what has elapsed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from green_llm.domain.amounts import Amounts, Ledger, SiteAmounts
from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Order, Plan
from green_llm.domain.request import WaterBudget
from green_llm.domain.time import Slots, floor_to_slot
from green_llm.domain.topology import Site
from green_llm.optimizer.coefficients import delay_seconds
from green_llm.optimizer.evaluate import best_grid_energy, facility_kwh, water_liters
from green_llm.services.outcome import WaterAccount

SlotAmounts = tuple[dict[str, Amounts], bool]
"""Amounts of a whole slot by site, and whether a value was missing for some of the traffic."""


def slot_amounts(
    instance: Instance, shares: FloatArray, sites: Sequence[Site], order: Order, residual_kg_per_kwh: FloatArray
) -> list[SlotAmounts]:
    """Amounts of every slot, by site, for shares [I,J,K,T]; what has no value is left out and said.

    On-site energy is without carbon, save by ``residual_kg_per_kwh`` [J,T] where its certificates are sold.
    """
    facility = facility_kwh(instance, shares)
    grid = best_grid_energy(instance, shares, order)
    least = np.maximum(0.0, facility - instance.available_kwh)
    cost = instance.electricity_price * grid
    emissions = instance.carbon_intensity * grid
    on_site = instance.wue / instance.pue[:, None] * facility
    off_site = instance.ewif * grid
    arriving = shares * instance.demand[:, None]
    delays = delay_seconds(instance)
    columns: dict[str, FloatArray] = {
        "cost_paid": np.maximum(0.0, cost),
        "cost_earned": np.maximum(0.0, -cost),
        "carbon_cost": instance.carbon_price[:, None] * emissions,
        "emissions_kg": emissions + residual_kg_per_kwh * (facility - grid),
        "water_on_site_l": on_site,
        "water_off_site_l": off_site,
        "water_weighted_l": _weighted_water(sites, on_site, off_site),
        "energy_kwh": facility,
        "grid_energy_kwh": grid,
        "displaced_renewables_kwh": np.maximum(0.0, grid - least),
        "delay_penalty": np.einsum(
            "k,ijkt,ijkt->jt", instance.delay_penalty, delays, np.where(instance.demand[:, None] > 0, shares, 0.0)
        ),
        "queries": arriving.sum(axis=(0, 2)),
        "query_delay_s": np.einsum("ijkt,ijkt->jt", delays, arriving),
    }
    missing = np.isnan(np.array([cost, emissions, on_site, off_site])).any(axis=0) & (facility > 0)
    known = {name: np.nan_to_num(values, nan=0.0) for name, values in columns.items()}
    return [
        (
            {
                site: Amounts(**{name: float(values[j, t]) for name, values in known.items()})
                for j, site in enumerate(instance.sites)
            },
            bool(missing[:, t].any()),
        )
        for t in range(instance.slots)
    ]


def _weighted_water(sites: Sequence[Site], on_site: FloatArray, off_site: FloatArray) -> FloatArray:
    near = np.array([site.scarcity_on_site for site in sites])[:, None]
    far = np.array([site.scarcity_off_site for site in sites])[:, None]
    weighted: FloatArray = near * on_site + far * off_site
    return weighted


def per_hour(amounts: SiteAmounts, slot_hours: float) -> dict[str, Amounts]:
    """Amounts of a slot as rates per hour."""
    return {site: amount.scaled(1.0 / slot_hours) for site, amount in amounts.items()}


def open_ledger(now: datetime, slot_seconds: int) -> Ledger:
    """A ledger that begins now; its first water period begins with the current slot."""
    start = floor_to_slot(now, slot_seconds)
    return Ledger(charged_until=now, period_start=start, slot_start=start)


def charge(
    ledger: Ledger,
    until: datetime,
    slots: Slots,
    in_force: Sequence[SlotAmounts],
    nearest: Sequence[SlotAmounts],
    budget: WaterBudget | None,
) -> Ledger:
    """Charge the time since the ledger's end, slot by slot, with the amounts of each slot in proportion.

    ``slots`` covers it, save what is too long ago; that is uncharged. Nothing is charged twice: a moment before the
    ledger's end adds nothing.
    """
    if slots.count and ledger.charged_until < slots.start:
        gap = (slots.start - ledger.charged_until).total_seconds()
        ledger = replace(ledger, charged_until=slots.start, uncharged_seconds=ledger.uncharged_seconds + gap)
    for (start, end), ours, theirs in zip(slots, in_force, nearest, strict=True):
        begun, ended = max(start, ledger.charged_until), min(end, until)
        if ended > begun:
            ledger = _charge_part(ledger, begun, ended, slots, start, ours, theirs, budget)
    return ledger


def _charge_part(
    ledger: Ledger,
    begun: datetime,
    ended: datetime,
    slots: Slots,
    slot_start: datetime,
    ours: SlotAmounts,
    theirs: SlotAmounts,
    budget: WaterBudget | None,
) -> Ledger:
    part = (ended - begun).total_seconds() / slots.slot_seconds
    used = {site: amount.scaled(part) for site, amount in ours[0].items()}
    liters = sum(amount.water_l for amount in used.values())
    ledger = roll_period(ledger, slot_start, budget)
    same_slot = ledger.slot_start == slot_start
    return replace(
        ledger,
        charged_until=ended,
        in_force=_added(ledger.in_force, used),
        nearest=_added(ledger.nearest, {site: amount.scaled(part) for site, amount in theirs[0].items()}),
        uncharged_seconds=ledger.uncharged_seconds + ((ended - begun).total_seconds() if ours[1] else 0.0),
        used_liters=ledger.used_liters + liters,
        slot_start=slot_start,
        slot_liters=liters + (ledger.slot_liters if same_slot else 0.0),
    )


def roll_period(ledger: Ledger, moment: datetime, budget: WaterBudget | None) -> Ledger:
    """The ledger in the water period that contains ``moment``."""
    if budget is None or ledger.period_start is None:
        return ledger
    length = timedelta(days=budget.period_days)
    if moment < ledger.period_start + length:
        return ledger
    passed = (moment - ledger.period_start) // length
    return replace(ledger, period_start=ledger.period_start + passed * length, used_liters=0.0, slot_liters=0.0)


def water_account(ledger: Ledger, budget: WaterBudget, slots: Slots) -> WaterAccount:
    """The budget at the start of slot 0, and the horizon's cap.

    max(0, remaining) × (horizon hours inside the period / hours left) + budget × (hours beyond / period hours). Hours
    count from slot 0's start; what slot 0 was already charged is added back, since the plan holds all of slot 0.
    """
    ledger = roll_period(ledger, slots.start, budget)
    start = ledger.period_start or slots.start
    end = start + timedelta(days=budget.period_days)
    charged_in_slot = ledger.slot_liters if ledger.slot_start == slots.start else 0.0
    remaining = budget.liters - ledger.used_liters
    inside = max(0.0, (min(slots.end, end) - slots.start).total_seconds())
    left = max((end - slots.start).total_seconds(), 1.0)
    beyond = max(0.0, (slots.end - end).total_seconds())
    period = timedelta(days=budget.period_days).total_seconds()
    cap = max(0.0, remaining + charged_in_slot) * inside / left + budget.liters * beyond / period
    return WaterAccount(
        budget_liters=budget.liters,
        period_start=start,
        period_end=end,
        used_liters=ledger.used_liters,
        remaining_liters=remaining,
        horizon_cap_liters=cap,
    )


def slots_in_period(ledger: Ledger, budget: WaterBudget, slots: Slots) -> int:
    """How many of the slots begin before the water period of slot 0 ends."""
    start = roll_period(ledger, slots.start, budget).period_start or slots.start
    end = start + timedelta(days=budget.period_days)
    return sum(begun < end for begun, _ in slots)


def plan_water_liters(instance: Instance, plan: Plan) -> FloatArray:
    """Litres that a plan uses in each slot, [T]."""
    liters: FloatArray = water_liters(instance, facility_kwh(instance, plan.shares), plan.grid_energy_kwh).sum(axis=0)
    return liters


def _added(totals: SiteAmounts, more: SiteAmounts) -> Mapping[str, Amounts]:
    return {site: totals.get(site, Amounts()) + more.get(site, Amounts()) for site in sorted({*totals, *more})}
