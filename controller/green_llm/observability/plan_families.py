"""Metrics of plans, demands in trouble, and budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client.core import Metric

from green_llm.domain.plan import Objective
from green_llm.domain.slo import Verdict
from green_llm.observability.families import Outcomes, add, counter, gauge
from green_llm.services.outcome import Outcome

Lifetime = tuple[datetime, datetime]
"""When a plan was made, and until when it is good."""


def lifetimes(plans: Mapping[str, Lifetime], turned: float | None) -> Iterator[Metric]:
    """When the last plan was made and until when it is good (an interval without one leaves both), and the loop's turn."""
    turn = gauge("loop_turn_timestamp_seconds", "When the planning loop last turned", [])
    add(turn, [], turned)
    made = gauge("plan_timestamp_seconds", "When the last plan was made", ["policy"])
    good = gauge("plan_valid_until_timestamp_seconds", "Until when the last plan is good", ["policy"])
    for policy, (since, until) in sorted(plans.items()):
        add(made, [policy], since.timestamp())
        add(good, [policy], until.timestamp())
    yield from (turn, made, good)


def demands(outcomes: Outcomes) -> Iterator[Metric]:
    """Demands that are not served as they ask."""
    family = gauge(
        "demand_trouble", "1 where a demand is not served as it asks, and why", ["policy", "demand", "reason"]
    )
    for outcome in outcomes:
        for demand, reason in outcome.troubled_demands:
            add(family, [outcome.policy.name, demand, reason], 1.0)
    yield family


def plans(outcomes: Outcomes) -> Iterator[Metric]:
    """The plan: how long, how it ended, what it is worth and what binds."""
    per_policy = ["policy"]
    degraded = gauge("plan_degraded", "1 where the plan is absent, out of time or breaks a limit", per_policy)
    horizon = gauge("plan_horizon_seconds", "Time planned ahead", per_policy)
    held = gauge("plan_held_sites", "Sites kept at their share for want of signals", per_policy)
    broken = gauge("plan_broken_limits", "Limits that the plan breaks", [*per_policy, "kind"])
    in_force = gauge("in_force_broken_limits", "Limits only the weights in force break", [*per_policy, "kind"])
    skipped = gauge("skipped_resources", "Resources left out or whose traffic is fixed", [*per_policy, "reason"])
    optimum = gauge("plan_objective_optimum", "Optimum of a phase", [*per_policy, "objective", "unit"])
    value = gauge("plan_objective_value", "Value of an objective over the horizon", [*per_policy, "objective", "unit"])
    price = gauge(
        "plan_shadow_price",
        "What one more unit of a binding limit would change",
        [*per_policy, "limit", "objective", "unit"],
    )
    for outcome in outcomes:
        name = [outcome.policy.name]
        add(degraded, name, float(outcome.degraded))
        add(held, name, len(outcome.held_sites))
        for family, kinds in (
            (broken, [d.kind.value for d in outcome.result.diagnosis] if outcome.result else []),
            (in_force, [d.kind.value for d in outcome.broken_in_force]),
            (skipped, [problem.reason for problem in outcome.skipped]),
        ):
            for kind in sorted(set(kinds)):
                add(family, [*name, kind], kinds.count(kind))
        if outcome.result is None:
            continue
        add(horizon, name, outcome.slots.count * outcome.slots.slot_seconds)
        for phase in outcome.result.phases:
            add(optimum, [*name, phase.objective.value, _unit(phase.objective.unit, outcome)], phase.optimum)
        for objective in Objective:
            add(value, [*name, objective.value, _unit(objective.unit, outcome)], outcome.result.values.of(objective))
        for binding in outcome.result.binding:
            if binding.limit.value == "water_cap":  # the one limit of the whole horizon; the others are many
                for shadow in binding.prices:
                    add(
                        price,
                        [*name, binding.limit.value, shadow.objective.value, _unit(shadow.unit, outcome)],
                        shadow.value,
                    )
    yield from (degraded, horizon, held, broken, in_force, skipped, optimum, value, price)


def _unit(unit: str, outcome: Outcome) -> str:
    """The model's "$" is the policy's currency; marginal emissions say that they are."""
    marginal = "" if outcome.policy.takes_inventory else " (marginal)"
    return unit.replace("$", outcome.policy.currency).replace("kgCO2", f"kgCO2{marginal}")


def ledgers(outcomes: Outcomes) -> Iterator[Metric]:
    """The water budget, and the time that could not be charged."""
    budget = gauge("water_budget_liters", "Water budget of the period", ["policy"])
    used = gauge("water_budget_used_liters", "Water used in the period", ["policy"])
    cap = gauge("water_budget_horizon_liters", "What the plan may use over its horizon", ["policy"])
    start = gauge("water_budget_period_start_timestamp_seconds", "Start of the period", ["policy"])
    end = gauge("water_budget_period_end_timestamp_seconds", "End of the period", ["policy"])
    uncharged = counter("ledger_uncharged_seconds", "Elapsed time not charged for want of signals", ["policy"])
    for outcome in outcomes:
        name = [outcome.policy.name]
        if outcome.ledger is not None:
            add(uncharged, name, outcome.ledger.uncharged_seconds)
        if outcome.water is not None:
            add(budget, name, outcome.water.budget_liters)
            add(used, name, outcome.water.used_liters)
            add(cap, name, outcome.water.horizon_cap_liters)
            add(start, name, outcome.water.period_start.timestamp())
            add(end, name, outcome.water.period_end.timestamp())
    yield from (budget, used, cap, start, end, uncharged)


_VERDICTS = tuple(verdict.value for verdict in Verdict)


def slo(outcomes: Outcomes) -> Iterator[Metric]:
    """How sites keep the SLO, and what the guard has done."""
    labels = ["policy", "site", "profile"]
    verdict = gauge("slo_verdict", "1 for what measurements say of the site now", [*labels, "verdict"])
    delay = gauge("slo_delay_seconds", "p95 delay that the guard judges by", labels)
    errors = gauge("slo_error_ratio", "Share of failed queries that the guard judges by", labels)
    capped = gauge("slo_site_capped", "1 where a site may not carry what the plan likes", labels)
    cap = gauge("slo_cap_tokens_per_second", "Most that a capped site may carry", labels)
    load = gauge("slo_load_tokens_per_second", "What a site carries by the weights in force", labels)
    rollbacks = counter("slo_rollbacks", "How often a site's load was taken back", labels)
    for outcome in outcomes:
        guards = outcome.ledger.guards if outcome.ledger is not None else {}
        for key, judged in sorted(outcome.judged.items()):
            name, guard = [outcome.policy.name, *key], guards[key]
            for entry in _VERDICTS:
                add(verdict, [*name, entry], float(judged.verdict.value == entry))
            add(delay, name, judged.p95_delay_s)
            add(errors, name, judged.error_ratio)
            add(capped, name, float(guard.cap is not None))
            add(cap, name, guard.cap)
            add(load, name, guard.load)
            add(rollbacks, name, guard.rollbacks)
    yield from (verdict, delay, errors, capped, cap, load, rollbacks)
