"""Routes as the planner sees them: rules with weighted back-ends. Nothing else in a route concerns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple


class RouteKey(NamedTuple):
    """Which route: API group, kind, namespace, name."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """``HTTPRoute inference/iowa``, as messages name it."""
        return f"{self.kind} {self.namespace}/{self.name}"


class BackendKey(NamedTuple):
    """Which back-end: API group (empty = core), kind, namespace, name, port (0 = none)."""

    group: str
    kind: str
    namespace: str
    name: str
    port: int = 0

    def __str__(self) -> str:
        """``Service inference/llm-us-west1:8000``, as messages name it."""
        return f"{self.kind} {self.namespace}/{self.name}" + (f":{self.port}" if self.port else "")


RuleWeights = Mapping[BackendKey, int]
"""Weight per back-end of one rule."""


@dataclass(frozen=True)
class RouteRule:
    """One rule of a route, in the route's order; ``name`` is empty where the rule has none."""

    name: str
    weights: RuleWeights
    """A back-end without a weight has weight 1 (Gateway API)."""
    written: RuleWeights | None = None
    """What we wrote last, where that is noted on the route. It differs from ``weights`` where somebody else has written."""
    original: RuleWeights | None = field(default=None, compare=False)
    """The weights that were found at adoption, where that is noted; no reading differs by them."""


class Rung(StrEnum):
    """How far it is known that a route's weights are in use."""

    WRITTEN = "Written"
    """They are in the route; its gateway has not said anything of this generation."""
    ACCEPTED = "Accepted"
    """Every gateway that it names has taken this generation over."""
    IMPAIRED = "Impaired"
    """A gateway has taken it over, and says that some of its traffic is served otherwise or not at all."""
    REFUSED = "Refused"
    """A gateway has refused it: it carries no traffic there."""


@dataclass(frozen=True)
class Verified:
    """What the gateways say of a route."""

    rung: Rung = Rung.WRITTEN
    message: str = ""


@dataclass(frozen=True)
class Route:
    """A route that exists, as last read. Two readings are equal where the weights and what carries them are."""

    key: RouteKey
    uid: str
    rules: tuple[RouteRule, ...]
    scale: int = 1000
    """What the weights of a rule are made to sum to."""
    verified: Verified = field(default=Verified(), compare=False)
    contended: bool = field(default=False, compare=False)
    """Whether somebody else keeps writing its weights."""
    forbidden: frozenset[BackendKey] = field(default=frozenset(), compare=False)
    """Back-ends in other namespaces that no ReferenceGrant lets it refer to."""
    owner: str | None = field(default=None, compare=False)
    """The demand (``namespace/name``) whose managed route it is; None where it is a user's own."""

    def rule(self, name: str) -> RouteRule:
        """The rule called ``name``; KeyError where none or more than one has that name."""
        found = [rule for rule in self.rules if rule.name == name]
        if len(found) != 1:
            raise KeyError(name)
        return found[0]


@dataclass(frozen=True)
class WeightEdit:
    """A new weight at a place in a route's document; or a new text, where the rule is kept as one."""

    path: tuple[str | int, ...]
    """Of the back-end's reference, such as ``("spec", "rules", 0, "backendRefs", 1)``; of the text."""
    weight: int | str


@dataclass(frozen=True)
class RouteWrite:
    """New weights for some rules of one route; every back-end of a rule is given, other rules stay as they are."""

    route: Route
    weights: Mapping[str, RuleWeights]
    """By rule name."""
    policy: str = ""
    """On whose behalf: there is one writer per policy."""

    @property
    def expected(self) -> Route:
        """The route as it is to be read back."""
        rules = tuple(
            replace(rule, weights={**rule.weights, **self.weights.get(rule.name, {})}) for rule in self.route.rules
        )
        return replace(self.route, rules=rules)
