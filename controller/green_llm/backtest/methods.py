"""What a back-test compares: ways to decide, all on the same days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Objective, Order, Result
from green_llm.domain.request import Policy
from green_llm.errors import InvalidInputError
from green_llm.optimizer import optimize, weighted
from green_llm.services.planning import Solve

MONEY = {Objective.COST: 1.0, Objective.CARBON: 1.0, Objective.DELAY: 1.0}
"""The default weighted sum: energy, the internal price of carbon and the penalty of delay, all in money."""


class Method(StrEnum):
    """A way to decide where queries go."""

    OURS = "ours"
    """The policy as it is."""
    FORESIGHT = "foresight"
    """The policy's order with every value known in advance. No bound: its guardrails and order are the user's."""
    STATIC = "static"
    """One split for ever: the weights found at adoption, or a given one."""
    NEAREST = "nearest"
    UNIFORM = "uniform"
    CHEAPEST = "cheapest"
    GREENEST = "greenest"
    FASTEST = "fastest"
    WEIGHTED = "weighted"
    """A weighted sum of objectives."""

    @property
    def splits(self) -> bool:
        """Whether it is a fixed rule that looks at no signal."""
        return self in (Method.STATIC, Method.NEAREST, Method.UNIFORM)


SINGLE = {
    Method.CHEAPEST: Order((Objective.COST,)),
    Method.GREENEST: Order((Objective.EMISSIONS,)),
    Method.FASTEST: Order((Objective.DELAY,)),
}
"""One objective and no other, planned over the same horizon under the same limits."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user may choose of the baselines."""

    split: Mapping[str, float] = field(default_factory=dict)
    """Of ``static``, by site; empty: the weights found at adoption."""
    weights: Mapping[Objective, float] = field(default_factory=lambda: dict(MONEY))


def policy_of(method: Method, policy: Policy) -> Policy:
    """The policy a method plans with."""
    return replace(policy, order=SINGLE[method]) if method in SINGLE else policy


def solver_of(method: Method, settings: Settings) -> Solve:
    """What solves a method's intervals."""
    return partial(_weighted, settings.weights) if method is Method.WEIGHTED else optimize


def _weighted(weights: Mapping[Objective, float], instance: Instance, _order: Order, **options: Any) -> Result:
    """A weighted sum in the place of the lexicographic order."""
    return weighted(instance, weights, time_limit_s=options.get("time_limit_s"), session=options.get("session"))


def methods_of(names: str) -> tuple[Method, ...]:
    """``nearest,static`` as methods.

    Raises:
        InvalidInputError: one is unknown.
    """
    found = []
    for name in filter(None, (name.strip() for name in names.split(","))):
        try:
            found.append(Method(name))
        except ValueError:
            known = ", ".join(method for method in Method if method is not Method.OURS)
            raise InvalidInputError(f'--against: "{name}" is unknown (known: {known})') from None
    return tuple(dict.fromkeys(method for method in found if method is not Method.OURS))
