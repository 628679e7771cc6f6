"""What one interval of one policy came to: the source of its status, metrics and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from green_llm.domain.amounts import Amounts, Ledger, SiteAmounts
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.instance import Instance
from green_llm.domain.plan import Diagnosis, Result
from green_llm.domain.request import Kind, Policy, Problem
from green_llm.domain.routes import RouteKey, Verified
from green_llm.domain.series import MeasureKey, SignalBook, SignalKind, SlotValue
from green_llm.domain.slo import GuardKey, Judgement
from green_llm.domain.time import Slots

INTERVALS_VALID = 3
"""A plan is good for this many periods; then, with nothing newer, the weights in force are stale."""


@dataclass(frozen=True, kw_only=True)
class WeightRow:
    """The share of one site in one rule: planned, and in force. One row per back-end site of each rule and class."""

    demand: str
    """``namespace/name``."""
    area: str
    query_class: str
    route: RouteKey
    rule: str
    site: str
    planned: float
    """Share in slot 0 of the plan, 0 … 1."""
    wanted: int
    """Weight the plan and the guardrails ask for."""
    weight: int | None
    """Weight in force after this interval (read or written); None where the route could not be read."""
    written: bool
    """Whether this interval wrote it."""
    held_by: str | None = None
    """Why ``weight`` differs from the plan: ``Shadow``, ``Suspended``, ``Ramp``, ``Deadband``, ``MinWriteInterval``."""


@dataclass(frozen=True, kw_only=True)
class WaterAccount:
    """The water budget at the start of this interval's plan, L."""

    budget_liters: float
    period_start: datetime
    period_end: datetime
    used_liters: float
    remaining_liters: float
    """May be negative: more was used than budgeted."""
    horizon_cap_liters: float
    """What the plan was given for the horizon."""


@dataclass(frozen=True)
class Compared:
    """One quantity; None where there is nothing to show."""

    model: float | None
    """By the model, under the weights in force."""
    measured: float | None
    """The mean of the past hour."""
    planned: float | None = None
    """By the model, under the plan."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The model beside what was measured."""

    pair_delays_s: Mapping[tuple[str, str, str], Compared] = field(default_factory=dict)
    """Mean delay of a query by (demand, area, class): the model's D; what its gateway counts from the rule on."""
    site_delays_s: Mapping[tuple[str, str], Compared] = field(default_factory=dict)
    """The same by (site, profile), without the way there: the model's v (h+f) λ; what the site's servers count."""
    site_it_watts: Mapping[tuple[str, str], Compared] = field(default_factory=dict)
    """IT power by (site, profile): energy per token times planned tokens, or times those that the servers count."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One interval of one policy."""

    policy: Policy
    now: datetime
    slots: Slots
    book: SignalBook
    result: Result | None
    """None where there is no plan; ``error`` says why and the routes keep their weights."""
    error: str | None = None
    instance: Instance | None = None
    planned: SiteAmounts = field(default_factory=dict)
    """Rates per hour in slot 0 under the plan's shares."""
    in_force: SiteAmounts = field(default_factory=dict)
    """Rates per hour in slot 0 under the weights in force after this interval."""
    in_force_by_demand: Mapping[str, Amounts] = field(default_factory=dict)
    """The same by demand, ``namespace/name``."""
    nearest: SiteAmounts = field(default_factory=dict)
    """Rates per hour in slot 0, had every query gone to its nearest site."""
    static: SiteAmounts = field(default_factory=dict)
    """Rates per hour in slot 0, had the weights stayed that were found at adoption."""
    broken_in_force: tuple[Diagnosis, ...] = ()
    """Limits that the weights in force break in slot 0 though the plan keeps them (the ramp, or weights not ours)."""
    weights: tuple[WeightRow, ...] = ()
    unrouted: Mapping[tuple[str, str, str], Mapping[str, float]] = field(default_factory=dict)
    """Planned shares in slot 0 by site, of (demand, area, class) without a route."""
    skipped: tuple[Problem, ...] = ()
    """Resources left out of this plan, or whose traffic is fixed, and why."""
    writes_failed: Mapping[RouteKey, str] = field(default_factory=dict)
    verified: Mapping[RouteKey, Verified] = field(default_factory=dict)
    """What the gateways say of each route."""
    excluded: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By demand: sites whose back-ends cannot be sent to now, and why."""
    held_sites: Mapping[str, str] = field(default_factory=dict)
    """Sites kept at their share because a signal of the current slot is missing, and which."""
    horizon_shortened_to: int | None = None
    """Slots planned where signals cover less than the policy's horizon."""
    arrivals: Mapping[tuple[str, str, str], Arrivals] = field(default_factory=dict)
    """By (demand, area, class); over the slots of the book."""
    measured: Mapping[MeasureKey, float] = field(default_factory=dict)
    """What servers say of the past hour."""
    comparison: Comparison = field(default_factory=Comparison)
    judged: Mapping[GuardKey, Judgement] = field(default_factory=dict)
    """What the SLO guard says of each site and profile; what follows from it is in the ledger."""
    ledger: Ledger | None = None
    audit_error: str | None = None
    """Why the audit could not be written; its rows are kept for the next time."""
    water: WaterAccount | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time by step: signals, assemble, solve, write."""

    @property
    def valid_until(self) -> datetime:
        """Until when a plan of this interval is good."""
        return self.now + timedelta(seconds=INTERVALS_VALID * self.policy.period_seconds)

    @property
    def troubled_demands(self) -> tuple[tuple[str, str], ...]:
        """Demands (``namespace/name``) that are not served as they ask, each with the reasons its status gives."""
        found = {
            (f"{problem.key.namespace}/{problem.key.name}", problem.reason)
            for problem in self.skipped
            if problem.key.kind is Kind.DEMAND and problem.reason != "Suspended"
        }
        found |= {(row.demand, "WriteFailed") for row in self.weights if row.route in self.writes_failed}
        found |= {(demand, "SitesUnavailable") for demand, sites in self.excluded.items() if sites}
        return tuple(sorted(found))

    @property
    def first_slot(self) -> int:
        """The current slot's place in the book, which may begin before it."""
        return round((self.slots.start - self.book.slots.start).total_seconds()) // self.book.slots.slot_seconds

    def current_signals(self) -> dict[tuple[str, SignalKind], SlotValue]:
        """The value of the current slot by (site, kind), where there is one."""
        first = self.first_slot
        found = {key: values[first] for key, values in self.book.values.items() if first < len(values)}
        return {key: value for key, value in found.items() if value is not None}

    def known_ahead_seconds(self, site: str, kind: SignalKind) -> float:
        """Time from slot 0 on for which a signal has values, without a gap, s."""
        values = self.book.values[site, kind][self.first_slot :]
        length = next((n for n, value in enumerate(values) if value is None), len(values))
        return float(length * self.book.slots.slot_seconds)

    @property
    def degraded(self) -> bool:
        """Whether the plan is less than asked for: infeasible, out of time, or absent."""
        return self.result is None or self.result.termination.value != "optimal"
