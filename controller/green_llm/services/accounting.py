"""The ledger: what has elapsed is charged once, by slot and month, and against the water budget. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from green_llm.domain.amounts import OTHER_CLASSES, Amounts, Ledger, Month, SiteAmounts, total
from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Plan
from green_llm.domain.request import WaterBudget
from green_llm.domain.time import Slots, floor_to_slot, hours
from green_llm.optimizer.evaluate import facility_kwh, water_liters
from green_llm.services.columns import SlotAmounts
from green_llm.services.outcome import WaterAccount

MOST_MONTHS, MOST_DETAILED_MONTHS, MOST_CLASSES = 13, 2, 256
"""A ledger has to fit into a ConfigMap; what is older is in the audit files."""


@dataclass(frozen=True, kw_only=True)
class SlotCharges:
    """What the traffic of one whole slot takes: under the weights in force, and under two baselines."""

    in_force: SlotAmounts
    nearest: SlotAmounts
    static: SlotAmounts
    by_class: Mapping[str, Amounts] = field(default_factory=dict)
    """``in_force`` by ``namespace/demand/class``."""


def open_ledger(now: datetime, slot_seconds: int) -> Ledger:
    """A ledger that begins now; its first water period begins with the current slot."""
    start = floor_to_slot(now, slot_seconds)
    return Ledger(charged_until=now, period_start=start, slot_start=start)


def charge(
    ledger: Ledger,
    until: datetime,
    slots: Slots,
    charges: Sequence[SlotCharges],
    budget: WaterBudget | None,
) -> Ledger:
    """Charge the time since the ledger's end, slot by slot, with the amounts of each slot in proportion.

    ``slots`` covers it, save what is too long ago; that is uncharged. Nothing is charged twice: a moment before the
    ledger's end adds nothing.
    """
    if slots.count and ledger.charged_until < slots.start:
        ledger = _with_gap(ledger, slots.start)
    for (start, end), entry in zip(slots, charges, strict=True):
        for begun, ended in hours(max(start, ledger.charged_until), min(end, until)):
            ledger = _charge_part(ledger, begun, ended, slots, start, entry, budget)
    return ledger


def _with_gap(ledger: Ledger, until: datetime) -> Ledger:
    """The ledger with the time up to then uncharged."""
    months, missed = ledger.months, dict[str, float]()
    for begun, ended in hours(ledger.charged_until, until):
        name = f"{begun:%Y-%m}"
        missed[name] = missed.get(name, 0.0) + (ended - begun).total_seconds()
    for name, seconds in missed.items():
        months = _with_month(months, name, Month(uncharged_seconds=seconds))
    uncharged = ledger.uncharged_seconds + sum(missed.values())
    return replace(ledger, charged_until=until, months=months, uncharged_seconds=uncharged)


def _charge_part(
    ledger: Ledger,
    begun: datetime,
    ended: datetime,
    slots: Slots,
    slot_start: datetime,
    entry: SlotCharges,
    budget: WaterBudget | None,
) -> Ledger:
    seconds = (ended - begun).total_seconds()
    part = seconds / slots.slot_seconds
    ours, nearest, static = (_part_of(side, part) for side in (entry.in_force, entry.nearest, entry.static))
    liters = sum(amount.water_l for amount in ours.values())
    uncharged = seconds if entry.in_force[1] else 0.0
    ledger = roll_period(ledger, slot_start, budget)
    same_slot = ledger.slot_start == slot_start
    month = Month(
        in_force=total(ours.values()),
        nearest=total(nearest.values()),
        static=total(static.values()),
        by_class={name: amounts.scaled(part) for name, amounts in entry.by_class.items()},
        uncharged_seconds=uncharged,
    )
    return replace(
        ledger,
        charged_until=ended,
        in_force=_added(ledger.in_force, ours),
        nearest=_added(ledger.nearest, nearest),
        static=_added(ledger.static, static),
        months=_with_month(ledger.months, f"{begun:%Y-%m}", month),
        uncharged_seconds=ledger.uncharged_seconds + uncharged,
        used_liters=ledger.used_liters + liters,
        slot_start=slot_start,
        slot_liters=liters + (ledger.slot_liters if same_slot else 0.0),
    )


def _part_of(side: SlotAmounts, part: float) -> dict[str, Amounts]:
    return {site: amount.scaled(part) for site, amount in side[0].items()}


def _with_month(months: Mapping[str, Month], name: str, more: Month) -> dict[str, Month]:
    """The months with something added to one; what is old keeps its totals, then goes."""
    before = months.get(name, Month())
    added = Month(
        in_force=before.in_force + more.in_force,
        nearest=before.nearest + more.nearest,
        static=before.static + more.static,
        by_class=_bounded(before.by_class, more.by_class),
        uncharged_seconds=before.uncharged_seconds + more.uncharged_seconds,
    )
    kept = sorted({**months, name: added}.items())[-MOST_MONTHS:]
    detailed = {name for name, _ in kept[-MOST_DETAILED_MONTHS:]}
    return {name: month if name in detailed else replace(month, by_class={}) for name, month in kept}


def _bounded(before: SiteAmounts, more: SiteAmounts) -> SiteAmounts:
    """Both by class, at most so many; the sum stays."""
    found = dict(before)
    for name, amounts in sorted(more.items()):
        key = name if name in found or len(found) < MOST_CLASSES else OTHER_CLASSES
        found[key] = found.get(key, Amounts()) + amounts
    return found


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
