"""Tolerances over time: what earlier plans have given up is not given up again.

Every re-solve would get a fresh allowance, of which the slot that is executed can take all. So a ledger keeps, for each
objective below the ones before it, what its executed slots were worth and by how much they missed that phase's own optimum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from green_llm.domain.amounts import Ledger, Promise
from green_llm.domain.instance import Instance
from green_llm.domain.plan import Order, Result, Spent, Termination
from green_llm.optimizer.evaluate import slot_values


def names(order: Order) -> Iterator[str]:
    """What each objective's tolerance is kept as: another order before it is another promise."""
    for number in range(1, len(order.objectives) + 1):
        yield "/".join(order.objectives[:number])


def over_time(order: Order, ledger: Ledger) -> Order:
    """The order with what its tolerances have used so far."""
    spent = [ledger.spent.get(name, Spent()) for name in names(order)]
    return replace(order, tolerances=tuple(replace(t, spent=s) for t, s in zip(order.tolerances, spent, strict=True)))


def promised(ledger: Ledger, order: Order, instance: Instance, result: Result, now: datetime) -> Ledger:
    """The ledger with what slot 0 of a plan is worth; it counts once it has been executed."""
    kept = result.phases if result.termination is not Termination.INFEASIBLE else ()
    found = {
        name: Promise(phase.first_slot, float(slot_values(instance, result.plan, phase.objective)[0]))
        for name, phase in zip(names(order), kept[:-1], strict=False)
    }
    return replace(ledger, promised=found, promised_at=now)


def executed(ledger: Ledger, now: datetime, slot_seconds: int, slots: int) -> Ledger:
    """The ledger with the time since the last plan counted: in force until now, but no longer than it was made for."""
    if ledger.promised_at is None:
        return ledger
    part = min(max(0.0, (now - ledger.promised_at).total_seconds() / slot_seconds), float(slots))
    more = {name: _added(ledger.spent.get(name, Spent()), entry, part) for name, entry in ledger.promised.items()}
    return replace(ledger, spent={**ledger.spent, **more}, promised={}, promised_at=None)


def _added(spent: Spent, entry: Promise, part: float) -> Spent:
    return Spent(
        optimum=spent.optimum + part * abs(entry.optimum),
        excess=spent.excess + part * (entry.value - entry.optimum),
    )
