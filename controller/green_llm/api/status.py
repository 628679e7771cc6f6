"""From outcomes to the status of resources: what is in force, what was planned, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from green_llm.api import slo_status
from green_llm.api.v1alpha1.policy import OBJECTIVES
from green_llm.domain.amounts import Amounts, total
from green_llm.domain.plan import Termination
from green_llm.domain.request import Kind, Mode, ObjectKey, Policy, Problem
from green_llm.domain.routes import Rung
from green_llm.domain.series import SourceHealth
from green_llm.services.outcome import Outcome, WeightRow
from green_llm.services.wording import shortfalls

Status = dict[str, Any]
NAMES = {objective: name for name, objective in OBJECTIVES.items()}
"""How a GreenPolicy calls each objective."""
MOST_WEIGHTS = 512
STEADY = 0.01


def decimal(value: float) -> str:
    """A number as a decimal string: resources have no floats."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def moment(value: datetime) -> str:
    """A time as Kubernetes writes it."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def policy_status(outcome: Outcome, previous: Mapping[str, Any] | None = None) -> Status:
    """The status of a policy after an interval."""
    result = outcome.result
    status: Status = {"observedGeneration": outcome.policy.generation}
    degraded, reason, message = _degraded(outcome)
    last = (previous or {}).get("plan")
    verdict = _ready(outcome, last)
    if verdict[1] == "PlanExpired":
        reason = "PlanExpired"
    status["conditions"] = conditions(
        [
            ("Ready", *verdict),
            ("Degraded", "True" if degraded else "False", reason, message),
            *slo_status.condition(outcome),
        ],
        outcome.policy.generation,
        outcome.now,
        previous,
    )
    status["mode"] = outcome.policy.mode.value
    if result is not None:
        status["plan"] = {
            "solvedTime": moment(outcome.now),
            "validUntilTime": moment(outcome.valid_until),
            "termination": result.termination.value,
            "slots": outcome.slots.count,
        }
        budgets = {phase.objective: phase.budget for phase in result.phases}
        status["objectives"] = [
            {
                "name": NAMES[objective],
                "value": decimal(result.values.of(objective)),
                "unit": in_currency(objective.unit, outcome),
            }
            | ({"budget": decimal(budget)} if (budget := budgets.get(objective)) is not None else {})
            for objective in outcome.policy.order.objectives
        ]
        status["binding"] = [
            {"limit": b.limit.value, "shadowPrice": decimal(price.value), "unit": in_currency(price.unit, outcome)}
            for b in result.binding
            if b.limit.value == "water_cap"
            for price in b.prices
        ]
    elif last is not None:
        status["plan"] = last
    if outcome.water is not None:
        status["water"] = {
            "periodStartTime": moment(outcome.water.period_start),
            "usedLiters": decimal(outcome.water.used_liters),
            "remainingLiters": decimal(outcome.water.remaining_liters),
        }
    if outcome.judged:
        status["slo"] = slo_status.entries(outcome)
    status["perHour"] = per_hour(total(outcome.in_force.values()), outcome.policy)
    status["savings"] = _savings(outcome)
    return status


def _ready(outcome: Outcome, last: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Status, reason and message of a policy's Ready. A plan stays good for some intervals that bring no new one."""
    if outcome.result is not None:
        return "True", "Planned", "planned"
    why = outcome.error or "no plan"
    if last is None:
        return "False", "NoPlan", why
    until = datetime.fromisoformat(last["validUntilTime"])
    if outcome.now < until:
        return "True", "LastPlanInForce", f"the plan of {last['solvedTime']} stays in force: {why}"
    return "False", "PlanExpired", f"the last plan was good until {last['validUntilTime']}; its weights stay: {why}"


def in_currency(unit: str, outcome: Outcome) -> str:
    """A unit of the model, whose money is "$", in the policy's currency; marginal emissions say that they are."""
    marginal = "" if outcome.policy.takes_inventory else " (marginal)"
    return unit.replace("$", outcome.policy.currency).replace("kgCO2", f"kgCO2{marginal}")


def tables_of_weights(outcome: Outcome) -> dict[str, str]:
    """The weights of demands that have more than their status holds: CSV by ``NAMESPACE.NAME``."""
    rows: dict[str, list[WeightRow]] = {}
    for row in outcome.weights:
        rows.setdefault(row.demand.replace("/", "."), []).append(row)
    header = "area,class,route,rule,site,plannedBasisPoints,weight"
    return {
        demand: "\n".join([header, *map(_line, found), ""])
        for demand, found in rows.items()
        if len(found) > MOST_WEIGHTS
    }


def _line(row: WeightRow) -> str:
    weight = "" if row.weight is None else row.weight
    return f"{row.area},{row.query_class},{row.route.name},{row.rule},{row.site},{round(row.planned * 10_000)},{weight}"


def demand_statuses(outcome: Outcome, previous: Mapping[ObjectKey, Mapping[str, Any]]) -> dict[ObjectKey, Status]:
    """The status of every demand of a policy."""
    generations = {p.key: 0 for p in outcome.skipped if p.key.kind is Kind.DEMAND}
    rows: dict[ObjectKey, list[WeightRow]] = {key: [] for key in generations}
    for row in outcome.weights:
        namespace, _, name = row.demand.partition("/")
        rows.setdefault(ObjectKey(Kind.DEMAND, namespace, name), []).append(row)
    for demand, _, _ in outcome.unrouted:
        namespace, _, name = demand.partition("/")
        rows.setdefault(ObjectKey(Kind.DEMAND, namespace, name), [])
    policy = previous.get(ObjectKey(Kind.POLICY, "", outcome.policy.name)) or {}
    planned, without, _ = _ready(outcome, policy.get("plan"))
    missing = None if planned == "True" else without
    return {key: _demand_status(outcome, key, found, previous.get(key), missing) for key, found in rows.items()}


def rejected_status(problems: Iterable[Problem], now: datetime, previous: Mapping[str, Any] | None = None) -> Status:
    """The status of a resource that takes part in nothing."""
    found = list(problems)
    text = "; ".join(f"{problem.field}: {problem.message}" for problem in found)
    verdicts = [("Ready", "False", found[0].reason, text), ("Accepted", "False", found[0].reason, text)]
    return {"conditions": conditions(verdicts, 0, now, previous)}


def site_statuses(outcome: Outcome, previous: Mapping[ObjectKey, Mapping[str, Any]]) -> dict[ObjectKey, Status]:
    """The status of every site that has signals: who claims it, and what its signals say now."""
    signals: dict[str, list[Status]] = {}
    for (site, kind), value in sorted(outcome.current_signals().items()):
        entry: Status = {"kind": kind.value, "source": value.source, "value": decimal(value.value)}
        entry |= {"unit": kind.unit(outcome.policy.currency), "quality": value.quality.value}
        entry["intervalStartTime"] = moment(outcome.slots.start)
        signals.setdefault(site, []).append(
            entry | ({"issuedTime": moment(value.issued_at)} if value.issued_at else {})
        )
    found: dict[ObjectKey, Status] = {}
    for site in sorted({name for name, _ in outcome.book.values}):
        key = ObjectKey(Kind.SITE, "", site)
        missing = outcome.held_sites.get(site)
        verdict = ("Ready", "False", "SignalsMissing", f"no value for {missing}; its share is held") if missing else (
            "Ready", "True", "SignalsFresh", "every signal has a value")  # fmt: skip
        found[key] = {
            "claimedBy": outcome.policy.name,
            "conditions": conditions([verdict], 0, outcome.now, previous.get(key)),
            "signals": signals.get(site, []),
        }
    return found


def source_status(health: SourceHealth, now: datetime, previous: Mapping[str, Any] | None = None) -> Status:
    """The status of a live source."""
    if health.reason is not None:
        reason = "".join(part.capitalize() for part in health.reason.split("_"))
        verdict = ("Ready", "False", f"{reason}Error", health.last_error or "")
    else:
        verdict = ("Ready", "True", "Answering", "it answers")
    status: Status = {"conditions": conditions([verdict], 0, now, previous)}
    status |= {"lastError": health.last_error[:1024]} if health.last_error else {}
    return status | ({"lastSuccessTime": moment(health.last_success)} if health.last_success else {})


def conditions(
    verdicts: Iterable[tuple[str, str, str, str]], generation: int, now: datetime, previous: Mapping[str, Any] | None
) -> list[Status]:
    """metav1.Conditions; the transition time moves only when the status does."""
    before = {entry["type"]: entry for entry in (previous or {}).get("conditions", [])}
    found = []
    for kind, status, reason, message in verdicts:
        old = before.get(kind, {})
        same = old.get("status") == status
        found.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message[:1024],
                "lastTransitionTime": old["lastTransitionTime"] if same else moment(now),
                "observedGeneration": generation,
            }
        )
    return found


def per_hour(amounts: Amounts, policy: Policy) -> Status:
    """Rates as a status shows them."""
    emissions = {"emissionsKilograms": decimal(amounts.emissions_kg)} if policy.takes_inventory else {}
    return {
        "cost": decimal(amounts.cost),
        **emissions,
        "waterLiters": decimal(amounts.water_l),
        "meanDelayMilliseconds": round(amounts.mean_delay_s * 1000),
    }


def _degraded(outcome: Outcome) -> tuple[bool, str, str]:  # noqa: PLR0911 - a table of cases, worst first
    result = outcome.result
    if result is None:
        return True, "NoPlan", outcome.error or "no plan"
    if result.termination is Termination.INFEASIBLE:
        return True, "Infeasible", "; ".join(islice(shortfalls(outcome, result.diagnosis), 5))
    if result.termination is Termination.TIME_LIMIT:
        missed = ", ".join(result.phases_not_reached) or "finishing"
        return True, "TimeLimit", f"time was up before {missed}"
    if outcome.held_sites:
        return True, "SignalsMissing", f"held for want of signals: {', '.join(outcome.held_sites)}"
    if outcome.horizon_shortened_to is not None:
        return True, "HorizonShortened", f"signals cover {outcome.horizon_shortened_to} slots"
    if outcome.broken_in_force:
        return True, "Ramping", "; ".join(islice(shortfalls(outcome, outcome.broken_in_force), 5))
    return False, "Optimal", "the plan keeps every limit"


def _savings(outcome: Outcome) -> Status:
    ours, theirs = total(outcome.in_force.values()), total(outcome.nearest.values())
    return {
        "versus": "nearest",
        "cost": decimal(theirs.cost - ours.cost),
        "emissionsKilograms": decimal(theirs.emissions_kg - ours.emissions_kg),
        "waterLiters": decimal(theirs.water_l - ours.water_l),
    }


NOT_A_REFUSAL = ("Suspended", "Contended", "RouteNotAccepted", "NoSiteAvailable")
"""Reasons why a demand that is accepted is not steered."""


def _demand_status(
    outcome: Outcome,
    key: ObjectKey,
    rows: list[WeightRow],
    previous: Mapping[str, Any] | None,
    no_plan: str | None,
) -> Status:
    skipped = [problem for problem in outcome.skipped if problem.key == key]
    faults = [problem for problem in skipped if problem.reason not in NOT_A_REFUSAL]
    stopped = {problem.reason: problem.message for problem in skipped if problem.reason in NOT_A_REFUSAL}
    shadow = outcome.policy.mode is Mode.SHADOW or any(row.held_by == "Shadow" for row in rows)
    text = "; ".join(f"{problem.field}: {problem.message}" for problem in faults)
    accepted = ("Accepted", "False", faults[0].reason, text) if faults else ("Accepted", "True", "Accepted", "accepted")
    routed = ("Routed", *_routed(outcome, rows, stopped, shadow=shadow))
    excluded = outcome.excluded.get(f"{key.namespace}/{key.name}", {})
    away = "; ".join(f"{site}: {why}" for site, why in sorted(excluded.items()))
    fought = stopped.get("Contended")
    broken = routed[2] in ("WriteFailed", "Contended", "RouteNotAccepted", "RouteImpaired")
    reason = accepted[2] if faults else routed[2] if broken else no_plan or "Ready"
    ready = reason == "Ready"
    verdicts = [
        ("Ready", "True" if ready else "False", reason, text or ("it does its work" if ready else routed[3])),
        accepted,
        routed,
        ("Degraded", "True", "SitesUnavailable", away) if away else ("Degraded", "False", "AllSitesAvailable", ""),
        ("Contended", "True", "Overwritten", fought) if fought else ("Contended", "False", "NotOverwritten", ""),
    ]
    shown = rows[:MOST_WEIGHTS]
    return {
        "conditions": conditions(verdicts, 0, outcome.now, previous),
        "mode": "Shadow" if shadow else "Active",
        "policy": outcome.policy.name,
        "perHour": _steady(
            outcome.in_force_by_demand.get(f"{key.namespace}/{key.name}", Amounts()), outcome.policy, previous
        ),
        "routes": _routes(outcome, rows),
        "weights": [_weight(row) for row in shown],
        "omittedWeights": len(rows) - len(shown),
    }


def _steady(amounts: Amounts, policy: Policy, previous: Mapping[str, Any] | None) -> Status:
    """Rates, as they were while none has moved by more than a hundredth: that is no reason to write a status."""
    new, old = per_hour(amounts, policy), (previous or {}).get("perHour") or {}
    same = new.keys() == old.keys() and all(
        abs(float(new[name]) - float(old[name])) <= STEADY * abs(float(old[name])) for name in new
    )
    return dict(old) if same else new


def _routed(
    outcome: Outcome, rows: list[WeightRow], stopped: Mapping[str, str], *, shadow: bool
) -> tuple[str, str, str]:
    """Status, reason and message of Routed: the first that keeps weights from being the plan's."""
    failed = sorted({str(row.route) for row in rows if row.route in outcome.writes_failed})
    if failed:
        return "False", "WriteFailed", f"not written: {', '.join(failed)}"
    for reason in NOT_A_REFUSAL:
        if reason in stopped:
            return "False", reason, stopped[reason]
    if shadow:
        return "False", "Shadow", "planned only: no route is written"
    if not rows:
        return "False", "NoRoutes", "it names no route; its shares are planned only"
    waiting = [outcome.verified[row.route] for row in rows if outcome.verified[row.route].rung is not Rung.ACCEPTED]
    impaired = [verified for verified in waiting if verified.rung is Rung.IMPAIRED]
    if impaired:
        return "False", "RouteImpaired", impaired[0].message
    accepted = ("True", "Accepted", "every gateway has accepted the routes")
    return ("True", "Written", waiting[0].message or "weights are in force") if waiting else accepted


def _routes(outcome: Outcome, rows: list[WeightRow]) -> list[Status]:
    """How far each route's weights are known to be in use."""
    keys = sorted({row.route for row in rows})
    return [
        {"kind": key.kind, "name": key.name, "rung": outcome.verified[key].rung.value}
        | ({"message": message[:256]} if (message := outcome.verified[key].message) else {})
        for key in keys
    ]


def _weight(row: WeightRow) -> Status:
    entry: Status = {"area": row.area, "class": row.query_class, "route": row.route.name, "rule": row.rule}
    entry |= {"site": row.site, "plannedBasisPoints": round(row.planned * 10_000)}
    entry |= {"heldBy": row.held_by} if row.held_by else {}
    return entry | ({} if row.weight is None else {"weight": row.weight})
