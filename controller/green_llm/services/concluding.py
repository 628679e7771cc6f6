"""What an interval came to, from the routes as they are after it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from green_llm.domain.request import Problem
from green_llm.domain.routes import RouteKey
from green_llm.services import valuing
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Traffic
from green_llm.services.comparing import comparison
from green_llm.services.interval import Interval, PairName, Planned, RoutesRead, pair_name
from green_llm.services.outcome import Outcome, WeightRow
from green_llm.services.pairing import RuleKey
from green_llm.services.weighing import SiteShares, Weighed, pair_shares, resting_rows, rows


def _rows(
    traffic: Sequence[Traffic], weighed: list[Weighed], after: RoutesRead, written: set[RuleKey]
) -> list[WeightRow]:
    by_rule = {entry.binding.key: entry for entry in weighed}
    found: list[WeightRow] = []
    for entry in traffic:
        for binding in entry.pair.bindings:
            decided = by_rule.get(binding.key)
            if decided is None or entry.fixed:
                found += resting_rows(entry.pair, binding, after[binding.route])
            else:
                own = replace(decided, pair=entry.pair)
                found += rows(own, after[binding.route], written=binding.key in written)
    return found


def _excluded(request: PolicyRequest) -> dict[str, dict[str, str]]:
    """By demand, the sites that nothing can be sent to, and why."""
    found: dict[str, dict[str, str]] = {}
    for pair in request.pairs:
        if pair.excluded:
            found.setdefault(pair.demand.key, {}).update(pair.excluded)
    return found


def outcome_of(
    interval: Interval,
    planned: Planned,
    shares: Mapping[PairName, SiteShares],
    weighed: list[Weighed],
    after: RoutesRead,
    failed: Mapping[RouteKey, str],
    written: set[RuleKey],
    unknown: list[Problem],
    seconds: Mapping[str, float],
) -> Outcome:
    """Everything there is to say of the interval; what is in force is recomputed from the routes, not from the plan."""
    request, traffic, sites = interval.request, interval.traffic, planned.sites
    ground = valuing.ground(request, traffic, interval.book, (interval.past, interval.past + 1))
    in_force = [pair_shares(entry.pair, after) for entry in traffic]
    wanted = [shares.get(pair_name(entry.pair)) for entry in traffic]
    broken = valuing.broken_limits(ground, in_force)
    fixed = [entry.pair.fixed for entry in traffic if entry.pair.fixed is not None]
    return Outcome(
        policy=request.policy,
        now=interval.now,
        slots=replace(interval.slots, count=sites.slots),
        book=interval.book,
        result=planned.result,
        error=planned.error,
        instance=None if planned.assembled is None else planned.assembled.instance,
        planned=valuing.rates(ground, valuing.amounts_of(request, ground, wanted)),
        in_force=valuing.rates(ground, valuing.amounts_of(request, ground, in_force)),
        in_force_by_demand=valuing.by_demand(request, ground, in_force),
        nearest=valuing.rates(ground, valuing.nearest_amounts(request, ground, in_force)),
        static=valuing.rates(ground, valuing.static_amounts(request, ground, in_force)),
        broken_in_force=valuing.only_in_force(broken, valuing.broken_limits(ground, wanted)),
        weights=tuple(_rows(traffic, weighed, after, written)),
        unrouted=_unrouted(traffic, shares),
        skipped=tuple(dict.fromkeys([*request.skipped, *unknown, *fixed])),
        writes_failed=failed,
        verified={key: route.verified for key, route in after.items()},
        excluded=_excluded(request),
        held_sites={name: ", ".join(kinds) for name, kinds in sites.holding.items()},
        horizon_shortened_to=interval.sites.slots if interval.sites.slots < request.policy.slots else None,
        arrivals={pair_name(entry.pair): entry.arrivals for entry in traffic},
        measured=interval.measured,
        comparison=comparison(ground, in_force, wanted, request.sites, interval.measured),
        judged=interval.guarding.judged,
        ledger=interval.ledger,
        water=interval.water,
        seconds=seconds,
    )


def decision_of(interval: Interval, planned: Planned, shares: Mapping[PairName, SiteShares], *_: object) -> Outcome:
    """The decision alone, without what it is worth: for replays, which charge what really came."""
    return Outcome(
        policy=interval.request.policy,
        now=interval.now,
        slots=replace(interval.slots, count=planned.sites.slots),
        book=interval.book,
        result=planned.result,
        error=planned.error,
        unrouted=_unrouted(interval.traffic, shares),
        ledger=interval.ledger,
    )


def _unrouted(traffic: Sequence[Traffic], shares: Mapping[PairName, SiteShares]) -> dict[PairName, SiteShares]:
    """Planned shares of pairs without a route."""
    names = [pair_name(entry.pair) for entry in traffic if not entry.pair.bindings]
    return {name: shares[name] for name in names if name in shares}
