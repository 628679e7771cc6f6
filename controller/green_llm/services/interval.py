"""One interval of a policy: what is known before it is planned, and what planning came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from green_llm.domain.amounts import Ledger
from green_llm.domain.audit import AuditBatch
from green_llm.domain.plan import Result, Termination
from green_llm.domain.routes import Route, RouteKey
from green_llm.domain.series import MeasureKey, SignalBook
from green_llm.domain.time import Slots
from green_llm.optimizer.diagnosis import routed_shares
from green_llm.services.accounting import water_account
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Assembled, Traffic
from green_llm.services.availability import Availability, held_share, held_water_liters
from green_llm.services.guarding import Guarding
from green_llm.services.outcome import WaterAccount
from green_llm.services.pairing import PairRequest
from green_llm.services.weighing import SiteShares

RoutesRead = Mapping[RouteKey, Route]
PairName = tuple[str, str, str]
"""(demand, area, class)."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What is known of one interval before it is planned."""

    request: PolicyRequest
    now: datetime
    slots: Slots
    book: SignalBook
    past: int
    """How many slots of the book come before slot 0."""
    traffic: tuple[Traffic, ...]
    ledger: Ledger
    audit: AuditBatch | None
    """What the ledger was charged with just now."""
    sites: Availability
    measured: Mapping[MeasureKey, float]
    water: WaterAccount | None
    guarding: Guarding


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What planning an interval came to."""

    sites: Availability
    result: Result | None = None
    assembled: Assembled | None = None
    error: str | None = None

    def shares(self, traffic: Sequence[Traffic]) -> dict[PairName, SiteShares]:
        """Slot 0's shares of every pair in the plan, with what held sites keep; what routes can do with them."""
        if self.result is None or self.assembled is None:
            return {}
        instance = self.assembled.instance
        infeasible = self.result.termination is Termination.INFEASIBLE
        first = (routed_shares(instance, self.result.plan) if infeasible else self.result.plan.shares)[..., 0]
        place = {pair_name(e.pair): ik for e, ik in zip(self.assembled.traffic, self.assembled.place, strict=True)}
        found: dict[PairName, SiteShares] = {}
        for entry in traffic:
            name = pair_name(entry.pair)
            held = held_share(entry, self.sites)
            rest = 1.0 - sum(held.values())
            if name in place:
                i, k = place[name]
                held |= {site: rest * float(first[i, j, k]) for j, site in enumerate(instance.sites)}
            if sum(held.values()) > 0:
                found[name] = held
        return found


def water_cap(interval: Interval, sites: Availability, slots: int) -> float | None:
    """What usable sites may use in the first slots, L; None without a budget."""
    budget = interval.request.policy.water
    if budget is None:
        return None
    window = (interval.past, interval.past + slots)
    held = held_water_liters(interval.traffic, interval.request.sites, sites, window)
    account = water_account(interval.ledger, budget, replace(interval.slots, count=slots))
    return max(0.0, account.horizon_cap_liters - held)


def pair_name(pair: PairRequest) -> PairName:
    """(demand, area, class)."""
    return pair.demand.key, pair.area.name, pair.query_class.name
