"""What an interval is worth: the plan, the weights in force and the nearest site, on the same slot; and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from green_llm.domain.amounts import Amounts, Ledger, SiteAmounts, total
from green_llm.domain.instance import FloatArray
from green_llm.domain.plan import Diagnosis, Order
from green_llm.domain.series import SignalBook
from green_llm.domain.time import Slots
from green_llm.optimizer.baselines import nearest_shares
from green_llm.optimizer.coefficients import delay_seconds, facility_energy_kwh
from green_llm.optimizer.evaluate import best_grid_energy, mean_delays
from green_llm.optimizer.verify import check_loads, late_queries
from green_llm.services.accounting import SlotAmounts, charge, per_hour, slot_amounts
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Assembled, Traffic, assemble

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
    instance = found.instance
    counted = np.zeros((len(instance.areas), 1, len(instance.classes), 1))
    for (i, k), known in zip(found.place, shares, strict=True):
        counted[i, 0, k, 0] = known is not None
    return counted


def charged(
    request: PolicyRequest, ledger: Ledger, traffic: Sequence[Traffic], book: SignalBook, past: int, now: datetime
) -> Ledger:
    """The ledger with everything up to ``now`` charged, under the weights in force; ``past`` slots come before slot 0."""
    window = (0, past + 1)
    slots = Slots(book.slots.start, book.slots.slot_seconds, past + 1)
    found = ground(request, traffic, book, window)
    shares = [entry.current for entry in traffic]
    ours, theirs = amounts_of(request, found, shares), nearest_amounts(request, found, shares)
    return charge(ledger, now, slots, ours, theirs, request.policy.water)


def rates(found: Assembled, amounts: list[SlotAmounts]) -> dict[str, Amounts]:
    """The first slot's amounts per hour."""
    return per_hour(amounts[0][0], found.instance.slot_hours) if amounts else {}


def by_demand(found: Assembled, shares: PairShares, of_sites: SiteAmounts) -> dict[str, Amounts]:
    """What each demand (``namespace/name``) has of its sites' rates in the first slot: in proportion to its energy there.

    Queries and delays are its own.
    """
    if _nothing(found):
        return {}
    instance, array = found.instance, share_array(found, shares)[..., 0]
    energy = (facility_energy_kwh(instance)[..., 0] * array).sum(axis=0)
    part = np.divide(energy, energy.sum(axis=1, keepdims=True), out=np.zeros_like(energy), where=energy > 0)
    arriving = instance.demand[:, None, :, 0] * array
    queries = arriving.sum(axis=(0, 1)) / instance.slot_hours
    waiting = (delay_seconds(instance)[..., 0] * arriving).sum(axis=(0, 1)) / instance.slot_hours
    result: dict[str, Amounts] = {}
    for k, name in enumerate(instance.classes):
        sites = (of_sites[site].scaled(float(part[j, k])) for j, site in enumerate(instance.sites) if site in of_sites)
        own = replace(total(sites), queries=float(queries[k]), query_delay_s=float(waiting[k]))
        demand = name.rpartition("/")[0]
        result[demand] = result.get(demand, Amounts()) + own
    return result


def broken_limits(found: Assembled, shares: PairShares) -> tuple[Diagnosis, ...]:
    """Capacity, grid and delay limits that shares break in the first slot; a site without signals breaks none."""
    if _nothing(found):
        return ()
    instance, array = found.instance, share_array(found, shares)
    grid = np.nan_to_num(best_grid_energy(instance, array, Order(())))
    broken = list(check_loads(instance, array, grid))
    delays = mean_delays(instance, array)
    served = array.sum(axis=1) > 0
    for i, k, t in np.argwhere(served & (delays > instance.delay_limit[..., None] * (1 + 1e-7))).tolist():
        broken.append(late_queries(instance, i, k, t, float(delays[i, k, t])))
    return tuple(entry.diagnosis() for entry in broken if (entry.where.slot or 0) == 0)


def only_in_force(in_force: Sequence[Diagnosis], planned: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """What the weights in force break and the plan keeps."""
    known = {(entry.kind, entry.where) for entry in planned}
    return tuple(entry for entry in in_force if (entry.kind, entry.where) not in known)
