"""What an interval is worth: the plan, the weights in force and the nearest site, on the same slot; and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from green_llm.domain.amounts import Amounts, Ledger
from green_llm.domain.audit import IN_FORCE, NEAREST, STATIC, AuditBatch
from green_llm.domain.instance import FloatArray
from green_llm.domain.plan import Diagnosis, Order
from green_llm.domain.series import SignalBook
from green_llm.domain.time import Slots
from green_llm.domain.weights import NOTICED
from green_llm.optimizer.baselines import nearest_shares
from green_llm.optimizer.coefficients import may_serve
from green_llm.optimizer.evaluate import best_grid_energy, mean_delays
from green_llm.optimizer.verify import check_loads, late_queries
from green_llm.services.accounting import SlotCharges, charge
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Assembled, Traffic, assemble
from green_llm.services.auditing import audit_batch
from green_llm.services.columns import (
    Columns,
    SlotAmounts,
    by_slot,
    class_columns,
    per_hour,
    site_columns,
    slot_amounts,
)

PairShares = Sequence[Mapping[str, float] | None]
"""Shares by site of each traffic; None where unknown (then it counts nowhere)."""


def ground(request: PolicyRequest, traffic: Sequence[Traffic], book: SignalBook, window: tuple[int, int]) -> Assembled:
    """The instance of all sites and all traffic over some slots, to value shares on; missing values are NaN."""
    return assemble(request.policy.name, request.sites, traffic, book, window, steer=False)


def amounts_of(request: PolicyRequest, found: Assembled, shares: PairShares) -> list[SlotAmounts]:
    """Amounts by slot and site of given shares."""
    if _nothing(found):
        return [({}, bool(found.traffic))] * found.instance.slots
    array = share_array(found, shares)
    return slot_amounts(found.instance, array, request.sites, request.policy.order, found.residual_kg_per_kwh)


def nearest_amounts(request: PolicyRequest, found: Assembled, shares: PairShares) -> list[SlotAmounts]:
    """Amounts by slot and site, had the same traffic gone to its nearest site."""
    if _nothing(found):
        return [({}, bool(found.traffic))] * found.instance.slots
    nearest = nearest_shares(found.instance) * _counted(found, shares)
    return slot_amounts(found.instance, nearest, request.sites, request.policy.order, found.residual_kg_per_kwh)


def _nothing(found: Assembled) -> bool:
    """Whether there is no traffic or no site: nothing to value."""
    return not found.traffic or not found.instance.sites


def share_array(found: Assembled, shares: PairShares) -> FloatArray:
    """Shares by pair as [I,J,K,T], the same in every slot."""
    instance = found.instance
    array = np.zeros((len(instance.areas), len(instance.sites), len(instance.classes), instance.slots))
    for (i, k), known in zip(found.place, shares, strict=True):
        if known is not None:
            array[i, :, k] = np.array([known.get(site, 0.0) for site in instance.sites])[:, None]
    return array


def _counted(found: Assembled, shares: PairShares) -> FloatArray:
    """1 for pairs whose shares are known, [I,1,K,1]: both sides of a comparison must count the same traffic."""
    return _marked(found, [known is not None for known in shares])


def _marked(found: Assembled, marks: Sequence[bool]) -> FloatArray:
    """1 for marked pairs, [I,1,K,1]."""
    instance = found.instance
    marked = np.zeros((len(instance.areas), 1, len(instance.classes), 1))
    for (i, k), mark in zip(found.place, marks, strict=True):
        marked[i, 0, k, 0] = mark
    return marked


@dataclass(frozen=True, kw_only=True)
class Charged:
    """A ledger with what has elapsed, and the audit of what was added."""

    ledger: Ledger
    audit: AuditBatch | None = None


def charged(
    request: PolicyRequest,
    ledger: Ledger,
    traffic: Sequence[Traffic],
    book: SignalBook,
    past: int,
    now: datetime,
    *,
    audited: bool,
) -> Charged:
    """Charge everything up to ``now``; ``past`` slots come before slot 0. Rows of the audit only where it is kept.

    By the shares that gateways have measured, else by the weights in force; and the same traffic by its nearest site,
    and by the weights found at adoption.
    """
    slots = Slots(book.slots.start, book.slots.slot_seconds, past + 1)
    found = ground(request, traffic, book, (0, slots.count))
    if _nothing(found):
        nothing: SlotAmounts = ({}, bool(found.traffic))
        empty = [SlotCharges(in_force=nothing, nearest=nothing, static=nothing)] * slots.count
        return Charged(ledger=charge(ledger, now, slots, empty, request.policy.water))
    instance = found.instance
    shares = [entry.current if entry.served is None else entry.served for entry in traffic]
    array = share_array(found, shares)
    measured = _marked(found, [entry.served is not None for entry in traffic])[:, 0, :, 0]
    of_sites = _site_columns(request, found, array, measured)
    nearest = _site_columns(request, found, nearest_shares(instance) * _counted(found, shares))
    static = _site_columns(request, found, share_array(found, _static(traffic, shares)))
    of_classes = class_columns(instance, array, of_sites, measured)
    classes = _sums_by_class(instance.classes, of_classes)
    charges = [
        SlotCharges(in_force=ours, nearest=near, static=before, by_class=own)
        for ours, near, before, own in zip(
            by_slot(instance, of_sites), by_slot(instance, nearest), by_slot(instance, static), classes, strict=True
        )
    ]
    sides = {IN_FORCE: of_classes, NEAREST: nearest, STATIC: static}
    begun = max(ledger.charged_until, slots.start)
    return Charged(
        ledger=charge(ledger, now, slots, charges, request.policy.water),
        audit=audit_batch(request.policy, request.sites, found, book, sides, begun, now) if audited else None,
    )


def _static(traffic: Sequence[Traffic], shares: PairShares) -> PairShares:
    """Shares found at adoption; where nothing was adopted, those in force. Only of traffic that counts."""
    found = [entry.current if entry.static is None else entry.static for entry in traffic]
    return [None if known is None else before or known for known, before in zip(shares, found, strict=True)]


def static_amounts(request: PolicyRequest, found: Assembled, shares: PairShares) -> list[SlotAmounts]:
    """Amounts by slot and site, had the weights stayed that were found at adoption."""
    return amounts_of(request, found, _static(found.traffic, shares))


def _site_columns(
    request: PolicyRequest, found: Assembled, array: FloatArray, measured: FloatArray | None = None
) -> Columns:
    order, residual = request.policy.order, found.residual_kg_per_kwh
    return site_columns(found.instance, array, request.sites, order, residual, measured)


def _sums_by_class(classes: Sequence[str], columns: Columns) -> list[dict[str, Amounts]]:
    """Amounts of every slot by class, over all sites."""
    sums = {name: np.nan_to_num(values).sum(axis=0) for name, values in columns.items()}
    count = next(iter(sums.values())).shape[1]
    return [
        {
            name: Amounts(**{field: float(values[k, t]) for field, values in sums.items()})
            for k, name in enumerate(classes)
        }
        for t in range(count)
    ]


def rates(found: Assembled, amounts: list[SlotAmounts]) -> dict[str, Amounts]:
    """The first slot's amounts per hour."""
    return per_hour(amounts[0][0], found.instance.slot_hours) if amounts else {}


def by_demand(request: PolicyRequest, found: Assembled, shares: PairShares) -> dict[str, Amounts]:
    """What each demand (``namespace/name``) has of its sites' rates in the first slot: in proportion to its energy there.

    Queries and delays are its own.
    """
    if _nothing(found):
        return {}
    array = share_array(found, shares)
    columns = class_columns(found.instance, array, _site_columns(request, found, array))
    result: dict[str, Amounts] = {}
    for name, amounts in _sums_by_class(found.instance.classes, columns)[0].items():
        demand = name.rpartition("/")[0]
        result[demand] = result.get(demand, Amounts()) + amounts.scaled(1.0 / found.instance.slot_hours)
    return result


def broken_limits(found: Assembled, shares: PairShares) -> tuple[Diagnosis, ...]:
    """Capacity, grid and delay limits that shares break in the first slot by more than weights are rounded.

    A site without signals breaks none.
    """
    if _nothing(found):
        return ()
    instance, array = found.instance, share_array(found, shares)
    grid = np.nan_to_num(best_grid_energy(instance, array, Order(())))
    broken = list(check_loads(instance, array, grid))
    delays = mean_delays(instance, array)
    served = array.sum(axis=1) > 0
    serving = may_serve(instance)
    for i, k, t in np.argwhere(served & (delays > instance.delay_limit[..., None] * (1 + 1e-7))).tolist():
        broken.append(late_queries(instance, serving[i, :, k], i, k, t, float(delays[i, k, t])))
    first = (entry.diagnosis() for entry in broken if (entry.where.slot or 0) == 0)
    return tuple(entry for entry in first if entry.shortfall > NOTICED * entry.available)


def only_in_force(in_force: Sequence[Diagnosis], planned: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """What the weights in force break and the plan keeps."""
    known = {(entry.kind, entry.where) for entry in planned}
    return tuple(entry for entry in in_force if (entry.kind, entry.where) not in known)
