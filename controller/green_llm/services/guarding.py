"""The SLO guard in an interval: what sites carry, how they do, and what the plan and the rules are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from green_llm.domain import slo as rules
from green_llm.domain.amounts import Ledger
from green_llm.domain.guardrails import Hold
from green_llm.domain.request import Slo
from green_llm.domain.series import Measure, Point
from green_llm.domain.slo import GuardKey, Guards, Judgement, SloLimits
from green_llm.domain.topology import ResourceCapacity, Site
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Traffic
from green_llm.services.pairing import RuleKey
from green_llm.services.ports import SignalCollector
from green_llm.services.weighing import Relief, Weighed, rule_id

SHIFT_WINDOWS = 2
"""A site that breaks within so many windows after a shift breaks because of it."""
PairShares = Sequence[Mapping[str, float] | None]
"""Shares by site of each traffic; None where unknown."""
Judgements = Mapping[GuardKey, Judgement]


@dataclass(frozen=True, kw_only=True)
class Guarding:
    """What the guard says in an interval; empty without an SLO."""

    guards: Guards = field(default_factory=dict)
    judged: Judgements = field(default_factory=dict)
    arriving: Mapping[str, float] = field(default_factory=dict)
    """All traffic of a profile, tokens/s."""
    before: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Shares before the last shift, by rule."""

    def capped(self, sites: Iterable[Site]) -> tuple[Site, ...]:
        """The sites as the plan may use them: a cap is a resource of which there is no more."""
        return tuple(self._capped(site) for site in sites)

    def _capped(self, site: Site) -> Site:
        headroom = max((capacity.headroom for capacity in site.capacity), default=0.0)
        capacity, performance = list(site.capacity), dict(site.performance)
        for (name, profile), guard in sorted(self.guards.items()):
            arriving = self.arriving.get(profile, 0.0)
            if name != site.name or guard.cap is None or arriving <= 0:
                continue
            resource = f"SLO of {profile}"
            # In parts of all that arrives, so that the numbers are near 1. What is kept free for others is no part of it.
            capacity.append(ResourceCapacity(resource, guard.cap / arriving / (1.0 - headroom)))
            needs = {**performance[profile].resource_seconds_per_token, resource: 1.0 / arriving}
            performance[profile] = replace(performance[profile], resource_seconds_per_token=needs)
        return replace(site, capacity=tuple(capacity), performance=performance)

    def over(self, profile: str) -> dict[str, float]:
        """How much sites carry above their caps, tokens/s."""
        return {
            site: guard.load - guard.cap
            for (site, name), guard in self.guards.items()
            if name == profile and guard.cap is not None and guard.load > guard.cap * rules.OVER
        }

    def relief(self, profile: str, above: Mapping[GuardKey, float]) -> Relief | None:
        """What rules of a profile must do at once; None where every site is within its cap.

        ``above`` is by how much the shares in force exceed the plan's at each site, over all rules, tokens/s.
        """
        capped = frozenset(s for (s, name), guard in self.guards.items() if name == profile and guard.cap is not None)
        parts = {
            site: min(1.0, excess / more)
            for site, excess in self.over(profile).items()
            if (more := above.get((site, profile), 0.0)) > 0
        }
        return Relief(parts, capped, self.before) if parts else None


def refuge(shares: Mapping[str, float] | None, gone: Collection[str]) -> dict[str, float] | None:
    """Shares among the sites that are not ``gone``; None where there is no such site."""
    kept = {site: share for site, share in (shares or {}).items() if site not in gone}
    total = sum(kept.values())
    return {site: share / total for site, share in kept.items()} if total > 0 else None


def above_plan(traffic: Sequence[Traffic], wanted: PairShares, slot: int, slot_seconds: int) -> dict[GuardKey, float]:
    """By how much the shares in force of steered traffic exceed the wanted ones, tokens/s by site and profile."""
    more = [
        None
        if plan is None or entry.fixed
        else {s: max(0.0, c - plan.get(s, 0.0)) for s, c in (entry.current or {}).items()}
        for entry, plan in zip(traffic, wanted, strict=True)
    ]
    return _loads(traffic, more, slot, slot_seconds)[0]


async def guarding(
    signals: SignalCollector,
    request: PolicyRequest,
    ledger: Ledger,
    traffic: Sequence[Traffic],
    slot: int,
    slot_seconds: int,
    now: datetime,
) -> Guarding:
    """Look at every site and profile that the policy guards; ``slot`` is the current one's place in the arrivals."""
    slo = request.policy.guardrails.slo
    if slo is None:
        return Guarding()
    loads, arriving = _loads(traffic, [entry.current for entry in traffic], slot, slot_seconds)
    seen = {
        key: rules.observed(ledger.guards.get(key), loads.get(key, 0.0), now, slo.window_seconds)
        for key in _keys(request, slo)
    }
    judged = await judgements(signals, request, seen, now)
    # A site that takes no part for the moment keeps what is known of it.
    guards = {key: guard for key, guard in ledger.guards.items() if key[1] in slo.sources}
    guards |= {key: rules.step(guard, judged[key], slo.backoff_seconds, now) for key, guard in seen.items()}
    return Guarding(guards=guards, judged=judged, arriving=arriving, before=ledger.before)


async def judgements(signals: SignalCollector, request: PolicyRequest, guards: Guards, now: datetime) -> Judgements:
    """A verdict on each site and profile as it was observed."""
    slo = request.policy.guardrails.slo
    if slo is None:
        return {}
    sites = {site.name: site for site in request.sites}
    keys = [key for key in guards if key[0] in sites and key[1] in slo.sources]
    found = await asyncio.gather(
        *(signals.recent(sites[site], slo.sources[profile], request.sources, now) for site, profile in keys)
    )
    return {
        key: _judge(measured, _limits(request, key[1], slo), guards[key], slo, now)
        for key, measured in zip(keys, found, strict=True)
    }


def _judge(
    measured: Mapping[Measure, Sequence[Point] | str],
    limits: SloLimits,
    guard: rules.SiteGuard,
    slo: Slo,
    now: datetime,
) -> Judgement:
    """A verdict on what has a limit, and a note of what has none."""
    notes = []
    if limits.p95_delay_s is None:
        measured = {measure: points for measure, points in measured.items() if measure is not Measure.P95_DELAY}
        notes.append("p95Delay is not guarded: no class has a delay limit")
    elif Measure.P95_DELAY not in measured:
        notes.append("p95Delay is not guarded: its source does not measure it")
    if Measure.ERROR_RATIO not in measured:
        notes.append("errorRatio is not guarded: its source does not measure it")
    return replace(rules.judge(measured, limits, guard, slo.window_seconds, now), note="; ".join(notes))


def _keys(request: PolicyRequest, slo: Slo) -> list[GuardKey]:
    return [
        (site.name, profile) for site in request.sites for profile in sorted(slo.sources) if profile in site.performance
    ]


def guards_after(
    guarded: Guarding,
    slo: Slo | None,
    traffic: Sequence[Traffic],
    after: PairShares,
    slot: int,
    slot_seconds: int,
    now: datetime,
) -> Guards:
    """The guards with the loads that the weights just written make; ``after`` are the shares in force of each traffic."""
    if slo is None:
        return {}
    loads, _ = _loads(traffic, after, slot, slot_seconds)
    return {
        key: rules.observed(guard, loads.get(key, 0.0), now, slo.window_seconds) if key in guarded.judged else guard
        for key, guard in guarded.guards.items()
    }


def _loads(
    traffic: Sequence[Traffic], shares: PairShares, slot: int, slot_seconds: int
) -> tuple[dict[GuardKey, float], dict[str, float]]:
    """Tokens per second by site and profile under some shares, and all of a profile."""
    loads: dict[GuardKey, float] = {}
    arriving: dict[str, float] = {}
    for entry, current in zip(traffic, shares, strict=True):
        query = entry.pair.query_class
        tokens = float(entry.arrivals.queries[slot]) * (query.input_tokens + query.output_tokens) / slot_seconds
        arriving[query.profile] = arriving.get(query.profile, 0.0) + tokens
        for site, share in (current or {}).items():
            key = (site, query.profile)
            loads[key] = loads.get(key, 0.0) + share * tokens
    return loads, arriving


def _limits(request: PolicyRequest, profile: str, slo: Slo) -> SloLimits:
    """The strictest delay limit among the classes of a profile: its servers do not tell them apart."""
    limits = [
        pair.query_class.delay_limit_s
        for pair in request.pairs
        if pair.query_class.profile == profile and pair.query_class.delay_limit_s is not None
    ]
    return SloLimits(p95_delay_s=min(limits, default=None), error_ratio=slo.max_error)


def shares_before(
    slo: Slo | None,
    ledger: Ledger,
    weighed: Iterable[Weighed],
    written: set[RuleKey],
    last_write: Mapping[str, datetime],
    now: datetime,
) -> Mapping[str, Mapping[str, float]]:
    """The shares that each rule's last shift began from, while that has yet to prove itself; a rollback has none."""
    if slo is None:
        return {}
    young = now - timedelta(seconds=SHIFT_WINDOWS * slo.window_seconds)
    found: dict[str, Mapping[str, float]] = {}
    for entry in weighed:
        name = rule_id(entry.binding)
        if entry.binding.key not in written:
            if name in ledger.before and last_write.get(name, young) > young:
                found[name] = ledger.before[name]
        elif entry.decision.held_by is not Hold.ROLLBACK and entry.current is not None:
            found[name] = entry.current
    return found
