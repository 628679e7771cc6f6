"""What the fast path decides for: triples (area, class, slot) with one common share, as dense arrays over sites.

Before delay counts, areas differ in nothing but their demand: triples of one class and slot that may use the same
sites, and whose delay limit no plan can break, merge into one unit, exactly. So do the members of a share group, always.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.coefficients import (
    energy_per_query_kwh,
    grid_prices,
    is_fixed,
    may_serve,
    resource_per_query,
    water_per_facility_kwh,
)
from green_llm.optimizer.layout import IndexArray


@dataclass(frozen=True, eq=False)
class Terms:
    """An objective: delay · Σ ρ D + Σ facility · P^d + Σ grid · P^g + Σ late · e. Sums and multiples are objectives too."""

    delay: float
    facility: FloatArray
    """[J,T], per kWh of P^d."""
    grid: FloatArray
    """[J,T], per kWh of P^g."""
    late: FloatArray | None = None
    """[n] by triple, per second of delay beyond its limit; None: no limit may be exceeded."""
    names: FloatArray | None = None
    """[U,J] per share, to break ties; None: nothing."""

    @classmethod
    def none(cls, instance: Instance) -> Terms:
        """Nothing to minimise."""
        nothing = np.zeros_like(instance.electricity_price)
        return cls(0.0, nothing, nothing)

    def plus(self, other: Terms, times: float) -> Terms:
        """This objective plus a multiple of another, which has neither ``late`` nor ``names``."""
        return Terms(
            self.delay + times * other.delay, self.facility + times * other.facility, self.grid + times * other.grid,
            self.late, self.names,
        )  # fmt: skip


def terms_of(instance: Instance, objective: Objective) -> Terms:
    """One of the five objectives."""
    grid = grid_prices(instance, objective)
    facility = water_per_facility_kwh(instance) if objective is Objective.WATER else np.zeros_like(grid)
    return Terms(float(objective is Objective.DELAY), facility, grid)


@dataclass(frozen=True, eq=False)
class Triples:
    """Every (area, class, slot) with demand, sorted by slot, with what one full share of it takes at every site."""

    areas: IndexArray
    classes: IndexArray
    slots: IndexArray
    serving: BoolArray
    """[n,J] where it may be served."""
    fixed: BoolArray
    """[n] whether its shares are given."""
    given: FloatArray
    """[n,J] the given shares, 0 elsewhere."""
    seconds: FloatArray
    """[n,J] D of one full share, s."""
    penalty: FloatArray
    """[n] ρ, $/s."""
    energy: FloatArray
    """[n,J] P^d of one full share, kWh."""
    use: FloatArray
    """[R,n,J] use of resources by one full share."""
    limit: FloatArray
    """[n] Δ, s; inf where no plan can break it."""

    @classmethod
    def of(cls, instance: Instance) -> Triples:
        """The triples of an instance."""
        slots, areas, classes = np.nonzero(instance.demand.transpose(2, 0, 1) > 0)
        load = instance.demand[areas, classes, slots][:, None]
        tokens = load * instance.tokens_per_query[classes][:, None]
        serving = may_serve(instance).transpose(0, 2, 1)[areas, classes]
        fixed = is_fixed(instance)[areas, classes]
        given = np.broadcast_to(0.0, serving.shape)
        if fixed.any():
            given = np.where(
                fixed[:, None], np.nan_to_num(instance.fixed_shares).transpose(0, 2, 1)[areas, classes], 0.0
            )
        seconds = instance.token_size[areas, classes, slots][:, None] / instance.bandwidth[areas]
        seconds += instance.processing_delay.T[classes]
        seconds *= tokens
        seconds += instance.network_delay[areas]
        per_query = resource_per_query(instance)
        use = np.empty((len(per_query), *seconds.shape))
        for r, taken in enumerate(per_query):
            np.multiply(load, taken.T[classes], out=use[r])
        limit = np.where(fixed, np.inf, instance.delay_limit[areas, classes])
        slowest = np.where(serving, seconds, 0.0).max(axis=1, initial=0.0)
        return cls(
            areas=areas, classes=classes, slots=slots, serving=serving, fixed=fixed, given=given, seconds=seconds,
            penalty=instance.delay_penalty[classes],
            energy=load * energy_per_query_kwh(instance).T[classes], use=use,
            limit=np.where(slowest > limit, limit, np.inf),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Limits:
    """Between what an instance's limits leave room; phases kept without tolerance make some sides equal."""

    grid_least: FloatArray
    """[J,T] of P^g, kWh."""
    grid_most: FloatArray
    balance_least: FloatArray
    """[J,T] of P^d − P^g, kWh."""
    balance_most: FloatArray
    capacity_least: FloatArray
    """[R,J,T], resource units; -inf where there is none."""
    capacity_most: FloatArray
    delay_least: FloatArray
    """[n] of D by triple, s; -inf where there is none."""
    delay_most: FloatArray

    @classmethod
    def of(cls, instance: Instance, triples: Triples) -> Limits:
        """Those of an instance as it is."""
        nothing = np.zeros_like(instance.electricity_price)
        capacity = np.repeat(instance.usable_capacity[..., None], instance.slots, axis=2)
        return cls(
            nothing, instance.grid_limit_kwh, nothing, instance.available_kwh, np.full_like(capacity, -np.inf), capacity,
            np.full_like(triples.limit, -np.inf), triples.limit,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Units:
    """Units sorted by slot, [U]; a triple that is fixed belongs to none and counts in the constants."""

    triples: Triples
    of_triple: IndexArray
    """[n] unit of each triple; -1 where fixed."""
    keys: IndexArray
    """[U] which unit of its slot it is: the same in every slot and interval while areas, sites and classes are."""
    slots: IndexArray
    starts: IndexArray
    """[T+1] first unit of each slot, and the end."""
    serving: BoolArray
    delay: FloatArray
    """[U,J], Σ ρ D of one full share."""
    energy: FloatArray
    """[U,J], kWh."""
    use: FloatArray
    """[R,U,J]."""
    limited: IndexArray
    """Triples whose delay limit can be broken, by unit."""
    limited_starts: IndexArray
    """[T+1] into ``limited``."""
    fixed_energy: FloatArray
    """[J,T], kWh of the fixed triples."""
    fixed_use: FloatArray
    """[R,J,T]."""
    fixed_delay: FloatArray
    """[T], Σ ρ D."""
    limits: Limits
    """With what is fixed still in them."""

    @property
    def columns(self) -> int:
        """Shares to be chosen."""
        sites = self.serving.sum(axis=1)
        return int(sites[sites > 1].sum())


def units(instance: Instance, triples: Triples, *, merged: bool) -> Units:
    """The units of an instance; ``merged`` as far as can be while delay does not count."""
    key = _pair_keys(instance, triples, merged=merged)
    free = np.nonzero(~triples.fixed)[0]
    many = int(key.max(initial=0)) + 1
    labels, first, inverse = np.unique(triples.slots[free] * many + key[free], return_index=True, return_inverse=True)
    of_triple = np.full(len(triples.slots), -1)
    of_triple[free] = inverse
    slots = labels // many
    slot_ends = np.arange(instance.slots + 1)
    order = free[np.argsort(inverse, kind="stable")]
    limited = np.nonzero(np.isfinite(triples.limit))[0]
    limited = limited[np.argsort(of_triple[limited], kind="stable")]

    as_is = len(labels) == len(order) == len(triples.slots) and bool((np.diff(order) > 0).all())

    if len(labels) < len(order):
        ends = np.searchsorted(of_triple[order], np.arange(len(labels) + 1))
        sums = csr_array((np.ones(len(order)), order, ends), shape=(len(labels), len(triples.slots)))

    def total(array: FloatArray) -> FloatArray:
        if as_is:
            # No copy: these arrays are most of what a large plan holds.
            return array
        return array[order] if len(labels) == len(order) else np.asarray(sums @ array)

    none = np.empty((0, len(labels), len(instance.sites)))
    fixed = np.nonzero(triples.fixed)[0]
    given, at = triples.given[fixed], triples.slots[fixed]

    def constant(array: FloatArray) -> FloatArray:
        found = np.zeros((instance.slots, len(instance.sites)))
        np.add.at(found, at, array[fixed] * given)
        return found.T

    delay = triples.penalty[:, None] * triples.seconds
    return Units(
        triples=triples, of_triple=of_triple, keys=labels % many, slots=slots, starts=np.searchsorted(slots, slot_ends),
        serving=triples.serving[free[first]], delay=total(delay), energy=total(triples.energy),
        use=triples.use if as_is else np.stack([total(use) for use in triples.use]) if len(triples.use) else none,
        limited=limited, limited_starts=np.searchsorted(triples.slots[limited], slot_ends),
        fixed_energy=constant(triples.energy),
        fixed_use=np.array([constant(use) for use in triples.use]).reshape(-1, len(instance.sites), instance.slots),
        fixed_delay=constant(delay).sum(axis=0), limits=Limits.of(instance, triples),
    )  # fmt: skip


def loose_units(instance: Instance, triples: Triples) -> Units:
    """The units if no delay limit could be broken: as few as can be."""
    return units(instance, replace(triples, limit=np.full_like(triples.limit, np.inf)), merged=True)


def coarse(fine: Units, merged: Units, few: int) -> Units:
    """At most ``few`` members of every merged unit, each standing for its part of them; no delay limit is theirs.

    Energy and use of every merged unit stay what they are, and so does every other limit; its delay is an estimate.
    """
    triples, owner = fine.triples, _owners(fine, merged)
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(merged.slots))
    taken = np.minimum(counts, few)
    begins = np.repeat(np.cumsum(counts) - counts, taken)
    of_merged = np.repeat(np.arange(len(counts)), taken)
    number = np.arange(len(of_merged)) - np.repeat(np.cumsum(taken) - taken, taken)
    # Another choice in every merged unit, so that together they are like all.
    step = (number * counts[of_merged]) // taken[of_merged] + of_merged
    chosen = np.sort(order[begins + step % counts[of_merged]])
    of_merged = owner[chosen]
    weight = counts[of_merged] / taken[of_merged]
    place = np.full(len(fine.slots), -1)
    place[chosen] = np.arange(len(chosen))
    return replace(
        fine, of_triple=np.where(triples.fixed, -1, place[fine.of_triple]), keys=fine.keys[chosen], slots=fine.slots[chosen],
        starts=np.searchsorted(fine.slots[chosen], np.arange(len(fine.starts))), serving=fine.serving[chosen],
        delay=fine.delay[chosen] * weight[:, None], energy=merged.energy[of_merged] / taken[of_merged][:, None],
        use=merged.use[:, of_merged] / taken[of_merged][:, None],
        limited=fine.limited[:0], limited_starts=np.zeros_like(fine.limited_starts),
    )  # fmt: skip


def clustered(fine: Units, merged: Units, most: int) -> Units:
    """At most ``most`` clusters of every merged unit: members that are nearest to the same site by as much per kWh."""
    triples, owner = fine.triples, _owners(fine, merged)
    delay = np.where(fine.serving, fine.delay, np.inf)
    least = np.partition(delay, min(1, delay.shape[1] - 1), axis=1)
    lead = (least[:, min(1, delay.shape[1] - 1)] - least[:, 0]) / np.maximum(fine.energy.max(axis=1), 1e-9)
    order = np.lexsort((lead, delay.argmin(axis=1), owner))
    counts = np.bincount(owner, minlength=len(merged.slots))
    taken = np.minimum(counts, most)
    sorted_owner = owner[order]
    number = np.arange(len(order)) - (np.cumsum(counts) - counts)[sorted_owner]
    label = (np.cumsum(taken) - taken)[sorted_owner] + number * taken[sorted_owner] // counts[sorted_owner]
    begins = np.searchsorted(label, np.arange(int(taken.sum())))
    place = np.empty(len(order), dtype=np.intp)
    place[order] = label
    of_label = sorted_owner[begins]
    # Members of a merged unit may go to the same sites, also where a phase before has closed some.
    slots = merged.slots[of_label]
    return replace(
        fine, of_triple=np.where(triples.fixed, -1, place[fine.of_triple]), keys=np.arange(len(slots)), slots=slots,
        starts=np.searchsorted(slots, np.arange(len(fine.starts))), serving=fine.serving[order[begins]],
        delay=np.add.reduceat(fine.delay[order], begins, axis=0), energy=np.add.reduceat(fine.energy[order], begins, axis=0),
        use=np.stack([np.add.reduceat(use[order], begins, axis=0) for use in fine.use])
        if len(fine.use) else merged.use[:, of_label],
    )  # fmt: skip


def least_delay(units: Units) -> float:
    """Σ ρ D if every unit went to its nearest site."""
    return float(np.where(units.serving, units.delay, np.inf).min(axis=1, initial=np.inf).sum())


def _owners(fine: Units, merged: Units) -> IndexArray:
    """[U] the merged unit of every unit."""
    owner = np.empty(len(fine.slots), dtype=np.intp)
    free = np.nonzero(~fine.triples.fixed)[0]
    owner[fine.of_triple[free]] = merged.of_triple[free]
    return owner


def _pair_keys(instance: Instance, triples: Triples, *, merged: bool) -> IndexArray:
    """[n] equal for triples of one slot that merge."""
    classes = len(instance.classes)
    pair = np.arange(len(instance.areas) * classes).reshape(-1, classes)
    for group in instance.share_groups:
        for member in group[1:]:
            pair[member] = pair[group[0]]
    key = pair[triples.areas, triples.classes]
    if not merged:
        return key
    single = np.isfinite(triples.limit)
    for group in instance.share_groups:
        for area, query_class in group:
            single |= (triples.areas == area) & (triples.classes == query_class)
    serving = may_serve(instance).transpose(0, 2, 1).reshape(pair.size, -1)
    _, pattern = np.unique(serving, axis=0, return_inverse=True)
    of_pair = triples.areas * classes + triples.classes
    return np.where(single, key, pair.size + pattern[of_pair] * classes + _alike(instance)[triples.classes])


def _alike(instance: Instance) -> IndexArray:
    """[K] the first class whose queries take the same energy and resources at every site."""
    taken = [instance.energy_per_query[None], resource_per_query(instance)]
    per_query = np.concatenate(taken).reshape(-1, len(instance.classes)).T
    _, first, kind = np.unique(per_query, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[kind.ravel()])
