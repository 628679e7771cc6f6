"""The document behind the view "Now": one interval of one policy, what is in force and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from green_llm.domain.amounts import Amounts, total
from green_llm.domain.request import Mode, ObjectKey
from green_llm.page import troubles, words
from green_llm.services.outcome import Outcome, WeightRow

NEVER = ("Shadow", "Suspended", "AllSitesExcluded")
"""What holds weights for as long as it lasts."""
TROUBLED = {("Degraded", "True"), ("Contended", "True"), ("WithinSLO", "False")}


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A quantity per hour (the delay: per query), of the current slot."""

    name: str
    unit: str
    in_force: float | None
    """None where only the difference means something: marginal emissions."""
    planned: float | None
    nearest: float | None
    """The baseline: had every query gone to its nearest site."""
    static: float | None
    """The other one: had the weights stayed that were found at adoption; None where they are not known."""
    difference: float
    """``in_force`` − ``nearest``: negative is saved."""
    change: float | None
    """The same as a share of the baseline; None where that is 0 or no amount."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The share of one site in one pair, 0 … 1."""

    in_force: float | None
    """None where the route cannot be read, or there is none."""
    planned: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Where one class of one area goes."""

    demand: str
    area: str
    query_class: str
    queries_per_hour: float | None
    shares: Mapping[str, Cell]
    """By site; sites with neither are left out."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """The value of a signal in the current slot."""

    site: str
    kind: str
    value: float | None
    """None where no source of the chain has one."""
    unit: str
    source: str
    fall_back: bool
    """Whether it is not the first source of its chain."""
    quality: str
    issued: datetime | None
    age_seconds: float | None
    """At the interval's time; None for what does not age."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of a resource."""

    type: str
    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True, kw_only=True)
class Resource:
    """The conditions of one resource."""

    kind: str
    namespace: str
    name: str
    ready: bool
    degraded: bool
    """Whether it works, but not as it should: ``Degraded`` or ``Contended`` is true, or ``WithinSLO`` false."""
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When the weights of one rule may be written next."""

    route: str
    rule: str
    held_by: str | None
    """What keeps its weights from the plan's; None where they are the plan's."""
    last_write: datetime | None
    next_write: datetime | None
    """The earliest, if nothing changes before; None while what holds it lasts."""


@dataclass(frozen=True, kw_only=True)
class Next:
    """What comes next."""

    plan: datetime
    """The next planned interval; a change of a resource or signal brings one at once."""
    rules: tuple[Rule, ...]


@dataclass(frozen=True, kw_only=True)
class Water:
    """The water budget of the period, at the start of this interval, L."""

    budget_liters: float
    used_liters: float
    remaining_liters: float
    """May be negative: more was used than budgeted."""
    period_end: datetime


@dataclass(frozen=True, kw_only=True)
class Now:
    """One interval of one policy."""

    policy: str
    at: datetime
    mode: str
    currency: str
    order: tuple[str, ...]
    termination: str
    """``none`` where there is no plan."""
    error: str | None
    messages: tuple[str, ...]
    """Limits that are broken, writes that failed, signals without a value, sites that are held."""
    notes: tuple[str, ...]
    """What is as its owner has asked for, or is made up for: suspensions, fall-backs, a shorter horizon."""
    rates: tuple[Rate, ...]
    """Empty where no traffic takes part."""
    water: Water | None
    """None without a budget."""
    sites: tuple[str, ...]
    pairs: tuple[Pair, ...]
    phases: tuple[words.Turn, ...]
    """What each objective in its turn has given up for those after it; empty without a plan."""
    limits: tuple[words.Limit, ...]
    signals: tuple[Signal, ...]
    resources: tuple[Resource, ...]
    next: Next


def now(outcome: Outcome, statuses: Mapping[ObjectKey, Mapping[str, Any]], period_seconds: float | None = None) -> Now:
    """The document; ``period_seconds`` is the time between intervals where it is not the policy's."""
    policy, result = outcome.policy, outcome.result
    pairs = tuple(_pairs(outcome))
    signals = tuple(_signals(outcome))
    sites = {site for pair in pairs for site in pair.shares} | {s.site for s in signals} | set(outcome.held_sites)
    return Now(
        policy=policy.name,
        at=outcome.now,
        mode=policy.mode.value,
        currency=policy.currency,
        order=tuple(words.NAMES[objective] for objective in policy.order.objectives),
        termination=result.termination.value if result else "none",
        error=outcome.error,
        messages=tuple(troubles.messages(outcome)),
        notes=tuple(troubles.notes(outcome)),
        rates=tuple(rates(outcome)),
        water=_water(outcome),
        sites=tuple(sorted(sites)),
        pairs=pairs,
        phases=tuple(words.turns(outcome)),
        limits=tuple(words.limits(outcome)),
        signals=signals,
        resources=tuple(resources(statuses)),
        next=_next(outcome, period_seconds or policy.period_seconds),
    )


def rates(outcome: Outcome) -> Iterable[Rate]:
    """What is in force beside the plan and the baselines; nothing where no traffic takes part."""
    if not outcome.in_force:
        return
    ours, planned, theirs = (total(x.values()) for x in (outcome.in_force, outcome.planned, outcome.nearest))
    shown: tuple[tuple[str, str, Callable[[Amounts], float]], ...] = (
        ("cost", f"{outcome.policy.currency}/h", lambda a: a.cost),
        ("emissions", "kgCO2e/h", lambda a: a.emissions_kg),
        ("water", "L/h", lambda a: a.water_l),
        ("delay", "ms", lambda a: a.mean_delay_s * 1e3),
        ("power", "kW", lambda a: a.energy_kwh),
    )
    for name, unit, read in shown:
        amounts = name != "emissions" or outcome.policy.takes_inventory
        difference, reference = read(ours) - read(theirs), read(theirs)
        yield Rate(
            name=name,
            unit=unit if amounts else f"{unit} (marginal)",
            in_force=read(ours) if amounts else None,
            planned=read(planned) if amounts and outcome.result else None,
            nearest=reference if amounts else None,
            static=read(total(outcome.static.values())) if amounts and outcome.static else None,
            difference=difference,
            change=difference / abs(reference) if amounts and reference else None,
        )


def _water(outcome: Outcome) -> Water | None:
    budget = outcome.water
    if budget is None:
        return None
    return Water(
        budget_liters=budget.budget_liters,
        used_liters=budget.used_liters,
        remaining_liters=budget.remaining_liters,
        period_end=budget.period_end,
    )


def _pairs(outcome: Outcome) -> Iterable[Pair]:
    groups: dict[tuple[str, str, str], list[WeightRow]] = {}
    for row in outcome.weights:
        groups.setdefault((row.demand, row.area, row.query_class), []).append(row)
    for name, rows in groups.items():
        in_force = _in_force(rows)
        planned = {row.site: row.planned for row in rows}
        yield _pair(outcome, name, planned, in_force)
    for name, shares in outcome.unrouted.items():
        if name not in groups:
            yield _pair(outcome, name, shares, {})


def _in_force(rows: Iterable[WeightRow]) -> dict[str, float]:
    """Shares by site, the mean over the pair's rules; empty where none can be read."""
    rules: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        if row.weight is not None:
            rules.setdefault((str(row.route), row.rule), {})[row.site] = row.weight
    known = [rule for rule in rules.values() if sum(rule.values())]
    found: dict[str, float] = {}
    for rule in known:
        for site, weight in rule.items():
            found[site] = found.get(site, 0.0) + weight / sum(rule.values()) / len(known)
    return found


def _pair(
    outcome: Outcome, name: tuple[str, str, str], planned: Mapping[str, float], in_force: Mapping[str, float]
) -> Pair:
    arrivals = outcome.arrivals.get(name)
    queries = None
    if arrivals is not None and outcome.first_slot < len(arrivals.queries):
        queries = float(arrivals.queries[outcome.first_slot]) / outcome.slots.slot_hours
    shares = {
        site: Cell(in_force=in_force.get(site, 0.0) if in_force else None, planned=planned.get(site, 0.0))
        for site in sorted(planned.keys() | in_force.keys())
        if planned.get(site) or in_force.get(site)
    }
    return Pair(demand=name[0], area=name[1], query_class=name[2], queries_per_hour=queries, shares=shares)


def _signals(outcome: Outcome) -> Iterable[Signal]:
    current = outcome.current_signals()
    for site, kind in sorted(outcome.book.values):
        value = current.get((site, kind))
        issued = None if value is None else value.issued_at
        yield Signal(
            site=site,
            kind=kind.value,
            value=None if value is None else value.value,
            unit=kind.unit(outcome.policy.currency),
            source="" if value is None else value.source,
            fall_back=value is not None and value.rank > 0,
            quality="missing" if value is None else value.quality.value,
            issued=issued,
            age_seconds=None if issued is None else (outcome.now - issued).total_seconds(),
        )


def resources(statuses: Mapping[ObjectKey, Mapping[str, Any]]) -> list[Resource]:
    """Every resource that has conditions, those first that are not ready, then those that are degraded."""
    found = []
    for key, status in statuses.items():
        conditions = tuple(
            Condition(
                type=str(entry.get("type", "")),
                status=str(entry.get("status", "")),
                reason=str(entry.get("reason", "")),
                message=str(entry.get("message", "")),
                since=str(entry.get("lastTransitionTime", "")),
            )
            for entry in status.get("conditions") or ()
        )
        said = {(c.type, c.status) for c in conditions}
        if conditions:
            found.append(
                Resource(
                    kind=key.kind.value,
                    namespace=key.namespace,
                    name=key.name,
                    ready=("Ready", "True") in said,
                    degraded=bool(said & TROUBLED),
                    conditions=conditions,
                )
            )
    return sorted(found, key=lambda r: (r.ready, not r.degraded, r.kind, r.namespace, r.name))


def _next(outcome: Outcome, period_seconds: float) -> Next:
    """When each rule may be written: at the next interval, but no sooner than the guardrails allow."""
    plan = outcome.now + timedelta(seconds=period_seconds)
    pause = timedelta(seconds=outcome.policy.guardrails.min_write_seconds)
    before = outcome.ledger.last_write if outcome.ledger else {}
    rules: dict[tuple[str, str], Rule] = {}
    for row in outcome.weights:
        route = row.route
        last = before.get(f"{route.kind}/{route.namespace}/{route.name}/{row.rule}")
        never = outcome.policy.mode is Mode.SHADOW or row.held_by in NEVER
        rules[str(route), row.rule] = Rule(
            route=str(route),
            rule=row.rule,
            held_by=row.held_by,
            last_write=last,
            next_write=None if never else plan if last is None else max(plan, last + pause),
        )
    return Next(plan=plan, rules=tuple(rules.values()))
