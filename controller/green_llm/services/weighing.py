"""From planned shares to the weights of rules: guardrails, whole numbers, what to write. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from green_llm.domain.guardrails import Decision, Hold, limit, relieve
from green_llm.domain.request import Mode, Policy
from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteWrite
from green_llm.domain.weights import shares_of, spread, to_weights
from green_llm.services.outcome import WeightRow
from green_llm.services.pairing import PairRequest, RuleBinding

SiteShares = dict[str, float]


@dataclass(frozen=True)
class Weighed:
    """One rule: what the plan wants, what the guardrails allow, and what that makes of its back-ends."""

    pair: PairRequest
    binding: RuleBinding
    planned: SiteShares
    decision: Decision
    site_weights: Mapping[str, int]
    """Weight by site that the decision asks for."""
    weights: Mapping[BackendKey, int]
    """The same by back-end."""
    write: bool
    current: SiteShares | None = None
    """Shares that the decision moved on from."""


@dataclass(frozen=True)
class Relief:
    """What the SLO guard wants of rules that carry one hardware profile."""

    over: Mapping[str, float]
    """Sites that carry more than their caps, and which part of what they have above the plan must go."""
    capped: frozenset[str]
    before: Mapping[str, Mapping[str, float]]
    """Shares before the last shift, by rule."""

    def of(self, rule: str, current: SiteShares, planned: SiteShares) -> SiteShares | None:
        """What a rule is to be at once; None where nothing is wanted of it."""
        if not any(current.get(site, 0.0) > 0.0 for site in self.over):
            return None
        return relieve(current, self.over, self.capped, planned, self.before.get(rule))


def rule_id(binding: RuleBinding) -> str:
    """A rule's name in the ledger."""
    route = binding.route
    return f"{route.kind}/{route.namespace}/{route.name}/{binding.rule}"


def rule_shares(binding: RuleBinding, route: Route) -> SiteShares | None:
    """Shares in force of a rule by site; None where no back-end of a site has weight."""
    weight = route.rule(binding.rule).weights.__getitem__
    by_site = {site: sum(map(weight, keys)) for site, keys in binding.backends.items()}
    return shares_of(by_site) if sum(by_site.values()) else None


def ours(binding: RuleBinding, route: Route) -> SiteShares | None:
    """The shares to move on from: what we wrote last where somebody has overwritten it, so that the ramp goes on."""
    rule = route.rule(binding.rule)
    if rule.written is None or rule.written == rule.weights:
        return rule_shares(binding, route)
    by_site = {site: sum(rule.written[key] for key in keys) for site, keys in binding.backends.items()}
    return shares_of(by_site) if sum(by_site.values()) else rule_shares(binding, route)


def original_shares(binding: RuleBinding, route: Route) -> SiteShares | None:
    """Shares by site that a rule was found with; None where that is not noted, or they were for other sites."""
    original = route.rule(binding.rule).original
    if original is None:
        return None
    by_site = {site: sum(original.get(key, 0) for key in keys) for site, keys in binding.backends.items()}
    return shares_of(by_site) if sum(by_site.values()) else None


def pair_shares(pair: PairRequest, routes: Mapping[RouteKey, Route]) -> SiteShares | None:
    """Shares in force of a pair: the mean of its rules'; None where unknown."""
    return _mean([rule_shares(binding, routes[binding.route]) for binding in pair.bindings if binding.route in routes])


def static_shares(pair: PairRequest, routes: Mapping[RouteKey, Route]) -> SiteShares | None:
    """Shares that a pair was found with; None where none of its rules was adopted."""
    return _mean(
        [original_shares(binding, routes[binding.route]) for binding in pair.bindings if binding.route in routes]
    )


def _mean(found: Sequence[SiteShares | None]) -> SiteShares | None:
    known = [shares for shares in found if shares is not None]
    if len(known) == 1:
        return dict(sorted(known[0].items()))
    sites = {site for shares in known for site in shares}
    return (
        {site: sum(shares.get(site, 0.0) for shares in known) / len(known) for site in sorted(sites)} if known else None
    )


def weigh(
    policy: Policy,
    pair: PairRequest,
    binding: RuleBinding,
    route: Route,
    planned: SiteShares,
    now: datetime,
    last_write: datetime | None,
    relief: Relief | None = None,
) -> Weighed:
    """Decide the weights of one steered rule. Shadow decides too, but writes nothing."""
    current = ours(binding, route)
    must_be_zero = frozenset(binding.backends) - pair.sites
    wanted = {site: planned.get(site, 0.0) for site in binding.backends}
    relieved = None if relief is None or current is None else relief.of(rule_id(binding), current, wanted)
    decision = limit(current, wanted, policy.guardrails, must_be_zero, now, last_write, relieved)
    rule = route.rule(binding.rule)
    if rule.written is not None and rule.written != rule.weights:
        decision = replace(decision, write=True)  # somebody has overwritten ours: neither dead-band nor interval counts
    if Mode.SHADOW in (policy.mode, pair.demand.mode):
        decision = Decision(decision.shares, Hold.SHADOW, write=False)
    site_weights = to_weights(decision.shares, route.scale)
    present = route.rule(binding.rule).weights
    weights = {
        key: weight
        for site, keys in binding.backends.items()
        for key, weight in spread(site_weights.get(site, 0), keys, present).items()
    }
    write = decision.write and any(present[key] != weight for key, weight in weights.items())
    return Weighed(pair, binding, planned, decision, site_weights, weights, write, current)


def writes(weighed: list[Weighed], routes: Mapping[RouteKey, Route]) -> list[RouteWrite]:
    """One change per route, with all its rules."""
    by_route: dict[RouteKey, dict[str, Mapping[BackendKey, int]]] = {}
    for entry in weighed:
        if entry.write:
            by_route.setdefault(entry.binding.route, {})[entry.binding.rule] = entry.weights
    policy = weighed[0].pair.demand.policy if weighed else ""
    return [RouteWrite(routes[key], rules, policy) for key, rules in sorted(by_route.items())]


def rows(weighed: Weighed, route: Route | None, *, written: bool) -> list[WeightRow]:
    """What status and metrics say of a rule."""
    scale = route.scale if route is not None else 0
    in_force = None if route is None else route.rule(weighed.binding.rule).weights
    return [
        WeightRow(
            demand=weighed.pair.demand.key,
            area=weighed.pair.area.name,
            query_class=weighed.pair.query_class.name,
            route=weighed.binding.route,
            rule=weighed.binding.rule,
            site=site,
            planned=weighed.planned.get(site, 0.0),
            wanted=weighed.site_weights.get(site, 0) if scale else 0,
            weight=None if in_force is None else sum(in_force[key] for key in keys),
            written=written,
            held_by=None if weighed.decision.held_by is None else weighed.decision.held_by.value,
        )
        for site, keys in sorted(weighed.binding.backends.items())
    ]


def resting_rows(pair: PairRequest, binding: RuleBinding, route: Route) -> list[WeightRow]:
    """Rows of a rule that is not steered: its weights as they are."""
    weights = route.rule(binding.rule).weights
    shares = rule_shares(binding, route) or {}
    return [
        WeightRow(
            demand=pair.demand.key,
            area=pair.area.name,
            query_class=pair.query_class.name,
            route=binding.route,
            rule=binding.rule,
            site=site,
            planned=shares.get(site, 0.0),
            wanted=sum(weights[key] for key in keys),
            weight=sum(weights[key] for key in keys),
            written=False,
            held_by=pair.fixed.reason if pair.fixed else None,
        )
        for site, keys in sorted(binding.backends.items())
    ]
