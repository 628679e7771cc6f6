"""What elapsed time came to, beside the baselines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from green_llm.domain.amounts import Amounts
from green_llm.domain.request import Policy

Read = Callable[[Amounts], float]
QUANTITIES: tuple[tuple[str, str, Read], ...] = (
    ("cost", "{currency}", lambda a: a.cost),
    ("emissions", "kgCO2e", lambda a: a.emissions_kg),
    ("water", "L", lambda a: a.water_l),
    ("energy", "kWh", lambda a: a.energy_kwh),
)


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What elapsed time came to, as charged."""

    name: str
    unit: str
    in_force: float | None
    """None where only the difference means something: marginal emissions."""
    nearest: float | None
    """Had every query gone to its nearest site."""
    static: float | None
    """Had the weights stayed that were found at adoption."""
    difference: float
    """``in_force`` − ``nearest``: negative is saved."""
    change: float | None
    """The same as a share of ``nearest``; None where that is 0 or no amount."""
    static_difference: float
    """``in_force`` − ``static``."""


def sums(policy: Policy, in_force: Amounts, nearest: Amounts, static: Amounts) -> Iterable[Sum]:
    """Every quantity of three totals of the same time."""
    for name, unit, read in QUANTITIES:
        ours, near, same = read(in_force), read(nearest), read(static)
        amounts = has_amounts(name, policy)
        yield Sum(
            name=name,
            unit=unit_in(unit, policy, amounts=amounts),
            in_force=ours if amounts else None,
            nearest=near if amounts else None,
            static=same if amounts else None,
            difference=ours - near,
            change=(ours - near) / abs(near) if amounts and near else None,
            static_difference=ours - same,
        )


def has_amounts(name: str, policy: Policy) -> bool:
    """Whether a quantity may be shown as an amount; marginal emissions mean something only as differences."""
    return name != "emissions" or policy.takes_inventory


def unit_in(unit: str, policy: Policy, *, amounts: bool) -> str:
    """A unit in the policy's currency, saying where it is of differences only."""
    return unit.format(currency=policy.currency) + ("" if amounts else " (marginal)")
