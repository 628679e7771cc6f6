"""Amounts and totals: what serving traffic costs, emits and uses, per site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import add, attrgetter

from green_llm.domain.plan import Spent
from green_llm.domain.slo import Guards


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What one site (or a sum) takes over some time; per hour where it is a rate. Money in the policy's currency."""

    cost_paid: float = 0.0
    """Grid energy bought at positive prices."""
    cost_earned: float = 0.0
    """Grid energy taken at negative prices, as a positive number."""
    carbon_cost: float = 0.0
    """Internal carbon price times emissions; never part of the cost."""
    emissions_kg: float = 0.0
    """kgCO2e of grid energy, and of on-site energy whose certificates are sold by the residual mix."""
    water_on_site_l: float = 0.0
    water_off_site_l: float = 0.0
    water_weighted_l: float = 0.0
    """Both, weighted by the site's scarcity factors."""
    energy_kwh: float = 0.0
    """Facility energy."""
    grid_energy_kwh: float = 0.0
    displaced_renewables_kwh: float = 0.0
    delay_penalty: float = 0.0
    queries: float = 0.0
    query_delay_s: float = 0.0
    """Sum over queries of their delay, s: divided by ``queries`` it is the mean delay."""
    tokens: float = 0.0
    """Input and output tokens."""
    measured_kwh: float = 0.0
    """The part of ``energy_kwh`` whose shares a gateway has measured; the rest is by the weights in force."""
    market_emissions_kg: float = 0.0
    """kgCO2e of grid energy by what the site has contracted: beside ``emissions_kg``, never netted against it."""

    @property
    def cost(self) -> float:
        """Net cost of grid energy; negative where more was earned than paid."""
        return self.cost_paid - self.cost_earned

    @property
    def water_l(self) -> float:
        """Litres on and off site."""
        return self.water_on_site_l + self.water_off_site_l

    @property
    def mean_delay_s(self) -> float:
        """Mean delay of a query, s; 0 without queries."""
        return self.query_delay_s / self.queries if self.queries else 0.0

    def __add__(self, other: Amounts) -> Amounts:
        """Sum, field by field."""
        return Amounts(**dict(zip(NAMES, map(add, VALUES(self), VALUES(other)), strict=True)))

    def scaled(self, factor: float) -> Amounts:
        """Every field times ``factor``."""
        return Amounts(**{name: value * factor for name, value in zip(NAMES, VALUES(self), strict=True)})


NAMES = tuple(entry.name for entry in fields(Amounts))
VALUES = attrgetter(*NAMES)
"""All fields of amounts, in the order of their names."""


def total(parts: Iterable[Amounts]) -> Amounts:
    """Sum of all parts."""
    return sum(parts, start=Amounts())


SiteAmounts = Mapping[str, Amounts]
"""Amounts by site."""


@dataclass(frozen=True, kw_only=True)
class Month:
    """Totals of one calendar month (UTC), over all sites of a policy."""

    in_force: Amounts = field(default_factory=Amounts)
    nearest: Amounts = field(default_factory=Amounts)
    static: Amounts = field(default_factory=Amounts)
    by_class: Mapping[str, Amounts] = field(default_factory=dict)
    """``in_force`` by ``namespace/demand/class``; of ``OTHER_CLASSES`` what is beyond the bound."""
    uncharged_seconds: float = 0.0


OTHER_CLASSES = "other"
"""In place of a class, for those that a month has no room for."""


@dataclass(frozen=True)
class Promise:
    """What slot 0 of the last plan is worth in one objective, a whole slot of it."""

    optimum: float
    """In that phase's own optimum."""
    value: float
    """In the plan."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What a policy's traffic has taken so far. Kept outside the process; charged with elapsed time only."""

    charged_until: datetime
    """Everything before this moment is in the totals, nothing after it."""
    in_force: SiteAmounts = field(default_factory=dict)
    """Totals since the ledger began, under the weights in force."""
    nearest: SiteAmounts = field(default_factory=dict)
    """Totals of the same traffic had every query gone to its nearest site."""
    static: SiteAmounts = field(default_factory=dict)
    """Totals of the same traffic had the weights stayed that were found at adoption."""
    months: Mapping[str, Month] = field(default_factory=dict)
    """By ``YYYY-MM``, the latest ones."""
    uncharged_seconds: float = 0.0
    """Elapsed time that could not be charged, because a signal had no value or the gap was too long."""
    period_start: datetime | None = None
    """Start of the water period; None without a budget."""
    used_liters: float = 0.0
    """Litres charged to the current period."""
    slot_start: datetime | None = None
    """The slot that was charged last."""
    slot_liters: float = 0.0
    """Part of ``used_liters`` that was charged to that slot."""
    held_since: Mapping[str, datetime] = field(default_factory=dict)
    """Since when a site without signals keeps its share, by site."""
    last_write: Mapping[str, datetime] = field(default_factory=dict)
    """When the weights of a rule were written last, by ``route/rule`` as ``services.weighing`` names it."""
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """What executed slots have used of each tolerance, by the order up to the objective (``cost/emissions``)."""
    promised: Mapping[str, Promise] = field(default_factory=dict)
    """The same of the plan that is being executed; not yet in ``spent``."""
    promised_at: datetime | None = None
    """When that plan was made."""
    before: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Shares by site before a rule's last shift, while it has yet to prove itself; with an SLO only."""
    guards: Guards = field(default_factory=dict)
    """What the SLO guard knows, by (site, profile)."""
