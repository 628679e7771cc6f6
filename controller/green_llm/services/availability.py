"""Which sites an interval can plan with, and what becomes of those whose signals are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from green_llm.domain.amounts import Ledger
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.series import SignalBook, SignalKind
from green_llm.domain.topology import Site
from green_llm.services.assemble import Traffic, covered_slots

Missing = Mapping[str, tuple[SignalKind, ...]]
"""The signals a site misses in the current slot, by site."""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """The sites of one interval."""

    usable: tuple[Site, ...]
    slots: int
    """How many slots of the horizon all usable sites cover."""
    holding: Missing
    """Sites that keep their share as fixed load."""
    expired: Missing
    """Sites without signals for longer than the policy holds them: their traffic leaves by the ramp."""

    def holding_on(self) -> Availability:
        """The same with expired sites held on to: the rest cannot take their traffic."""
        return replace(self, holding={**self.holding, **self.expired}, expired={})

    def describe(self) -> str:
        """The sites that cannot be planned with, and what they miss."""
        missing = {**self.holding, **self.expired}
        return ", ".join(f"{name} ({', '.join(kinds)})" for name, kinds in sorted(missing.items())) or "none selected"


def availability(
    sites: Iterable[Site], book: SignalBook, first: int, ledger: Ledger, now: datetime, hold_seconds: float
) -> Availability:
    """Sort sites by their signals from slot ``first`` of the book on."""
    usable: list[Site] = []
    lengths = [book.slots.count - first]
    holding: dict[str, tuple[SignalKind, ...]] = {}
    expired: dict[str, tuple[SignalKind, ...]] = {}
    for site in sites:
        covered, missing = covered_slots(site, book, first)
        if not missing:
            usable.append(site)
            lengths.append(covered)
            continue
        since = ledger.held_since.get(site.name, now)
        over = (now - since).total_seconds() >= hold_seconds
        (expired if over else holding)[site.name] = missing
    return Availability(usable=tuple(usable), slots=min(lengths), holding=holding, expired=expired)


def held_since(ledger: Ledger, found: Availability, now: datetime) -> Mapping[str, datetime]:
    """Since when each site without signals has been without."""
    return {name: ledger.held_since.get(name, now) for name in sorted({*found.holding, *found.expired})}


def held_share(entry: Traffic, found: Availability) -> dict[str, float]:
    """What sites that are held keep of a pair's traffic."""
    current = entry.current or {}
    return {name: current[name] for name in found.holding if current.get(name, 0.0) > 0}


def remaining_traffic(traffic: Sequence[Traffic], found: Availability) -> list[Traffic]:
    """The traffic that usable sites must serve, with its current shares among them."""
    usable = {site.name for site in found.usable}
    rest = []
    for entry in traffic:
        held = sum(held_share(entry, found).values())
        if held >= 1.0 - 1e-9:
            continue
        current = {name: share for name, share in (entry.current or {}).items() if name in usable}
        known = current if sum(current.values()) > 0 else None
        if entry.fixed and known is None:
            continue
        rest.append(Traffic(entry.pair, Arrivals(entry.arrivals.queries * (1.0 - held)), known))
    return rest


def held_water_liters(
    traffic: Sequence[Traffic], sites: Iterable[Site], found: Availability, window: tuple[int, int]
) -> float:
    """Litres that held sites use over the window, L: all their energy from the grid, where their factors are known."""
    liters = 0.0
    for site in sites:
        if site.name not in found.holding or site.wue_l_per_kwh is None or site.ewif_l_per_kwh is None:
            continue
        for entry in traffic:
            performance = site.performance.get(entry.pair.query_class.profile)
            share = held_share(entry, found).get(site.name, 0.0)
            if performance is None or not share:
                continue
            query = entry.pair.query_class
            per_query = (
                performance.kwh_per_input_token * query.input_tokens
                + performance.kwh_per_output_token * query.output_tokens
            )
            energy = float(np.sum(entry.arrivals.queries[window[0] : window[1]])) * share * per_query
            liters += energy * (site.wue_l_per_kwh + site.pue * site.ewif_l_per_kwh)
    return liters
