"""The document behind the view "Account": what each month took, as charged. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from green_llm.domain.amounts import Amounts, Month
from green_llm.domain.request import Policy
from green_llm.page.sums import QUANTITIES, Sum, has_amounts, sums
from green_llm.services.outcome import Outcome

TOKENS = 1000.0
"""The functional unit."""


@dataclass(frozen=True, kw_only=True)
class ClassAccount:
    """What one class of one demand took."""

    name: str
    """``namespace/demand/class``; ``other`` for those that a month has no room for."""
    queries: float
    tokens: float
    amounts: Mapping[str, float]
    """Cost, emissions (kg), water (L) and energy (kWh) by name; marginal emissions are left out."""
    per_thousand_tokens: Mapping[str, float]
    """The same by 1,000 tokens; empty without any."""


@dataclass(frozen=True, kw_only=True)
class MonthAccount:
    """One calendar month, UTC."""

    month: str
    """``YYYY-MM``."""
    sums: tuple[Sum, ...]
    measured_share: float | None
    """Of the energy, where shares were measured at a gateway; the rest is by the weights in force."""
    uncharged_seconds: float
    """Elapsed time that is in no total, for want of signals."""
    classes: tuple[ClassAccount, ...]


@dataclass(frozen=True, kw_only=True)
class Account:
    """The months of one policy, the latest first."""

    policy: str
    currency: str
    months: tuple[MonthAccount, ...]


def account(outcome: Outcome) -> Account:
    """The document."""
    months = outcome.ledger.months if outcome.ledger else {}
    return Account(
        policy=outcome.policy.name,
        currency=outcome.policy.currency,
        months=tuple(_month(outcome.policy, name, months[name]) for name in sorted(months, reverse=True)),
    )


def _month(policy: Policy, name: str, month: Month) -> MonthAccount:
    energy = month.in_force.energy_kwh
    return MonthAccount(
        month=name,
        sums=tuple(sums(policy, month.in_force, month.nearest, month.static)),
        measured_share=month.in_force.measured_kwh / energy if energy else None,
        uncharged_seconds=month.uncharged_seconds,
        classes=tuple(_class(policy, key, month.by_class[key]) for key in sorted(month.by_class)),
    )


def _class(policy: Policy, name: str, amounts: Amounts) -> ClassAccount:
    found = {quantity: read(amounts) for quantity, _, read in QUANTITIES if has_amounts(quantity, policy)}
    per = TOKENS / amounts.tokens if amounts.tokens else 0.0
    return ClassAccount(
        name=name,
        queries=amounts.queries,
        tokens=amounts.tokens,
        amounts=found,
        per_thousand_tokens={quantity: value * per for quantity, value in found.items()} if per else {},
    )
