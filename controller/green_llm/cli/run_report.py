"""Outcomes for people and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from green_llm.api import slo_status
from green_llm.domain.amounts import Amounts, SiteAmounts, total
from green_llm.domain.request import Problem
from green_llm.services.outcome import Outcome, WeightRow
from green_llm.services.wording import shortfalls

BAR = 10
SHOWN = 0.0005
"""Shares below it are not shown."""


def outcome_document(outcome: Outcome, problems: Iterable[Problem] = ()) -> dict[str, Any]:
    """An outcome as `green-llm run --json` prints it: all that its metrics say, without having gone through them."""
    skipped = dict.fromkeys([*outcome.skipped, *problems])
    return {
        "termination": outcome.result.termination.value if outcome.result else "none",
        "error": outcome.error,
        "mode": outcome.policy.mode.value,
        "at": outcome.now.isoformat(),
        "values": asdict(outcome.result.values) if outcome.result else None,
        **_routing(outcome),
        **_amounts_by_site(outcome),
        "water": None if outcome.water is None else asdict(outcome.water),
        **_inputs(outcome),
        "valid_until": outcome.valid_until.isoformat() if outcome.result else None,
        "phases": [asdict(phase) for phase in outcome.result.phases] if outcome.result else [],
        "avoided_emissions_kg_per_hour": total(outcome.nearest.values()).emissions_kg
        - total(outcome.in_force.values()).emissions_kg,
        **_troubles(outcome),
        "held_sites": dict(outcome.held_sites),
        "slo": slo_status.entries(outcome),
        "skipped": [
            {"object": str(p.key), "field": p.field, "reason": p.reason, "message": p.message} for p in skipped
        ],
        "comparison": _comparison(outcome),
        "seconds": dict(outcome.seconds),
    }


def _routing(outcome: Outcome) -> dict[str, Any]:
    """Where traffic is to go: by rule, and of pairs that have none."""
    return {
        "weights": [
            {
                "demand": row.demand,
                "area": row.area,
                "class": row.query_class,
                "route": row.route.name,
                "rule": row.rule,
                "site": row.site,
                "planned": row.planned,
                "wanted": row.wanted,
                "weight": row.weight,
                "written": row.written,
                "held_by": row.held_by,
            }
            for row in outcome.weights
        ],
        "unrouted": [
            {"demand": demand, "area": area, "class": query_class, "shares": shares}
            for (demand, area, query_class), shares in outcome.unrouted.items()
        ],
    }


def _amounts_by_site(outcome: Outcome) -> dict[str, Any]:
    """Rates of the present slot, and what the ledger has summed."""
    return {
        "planned_per_hour": _by_site(outcome, outcome.planned),
        "in_force_per_hour": _by_site(outcome, outcome.in_force),
        "nearest_per_hour": _by_site(outcome, outcome.nearest),
        "static_per_hour": _by_site(outcome, outcome.static),
        "totals": None
        if outcome.ledger is None
        else {
            "in_force": _by_site(outcome, outcome.ledger.in_force),
            "nearest": _by_site(outcome, outcome.ledger.nearest),
            "static": _by_site(outcome, outcome.ledger.static),
            "uncharged_seconds": outcome.ledger.uncharged_seconds,
        },
    }


def _inputs(outcome: Outcome) -> dict[str, Any]:
    """What was planned with."""
    return {
        "signals": [
            {"site": site, "kind": kind.value, "unit": kind.unit(outcome.policy.currency)} | asdict(value)
            for (site, kind), value in sorted(outcome.current_signals().items())
        ],
        "known_ahead": [
            {"site": site, "kind": kind.value, "seconds": outcome.known_ahead_seconds(site, kind)}
            for site, kind in sorted(outcome.book.values)
        ],
        "arrivals": [
            {
                "demand": demand,
                "area": area,
                "class": query_class,
                "queries_per_hour": float(found.queries[outcome.first_slot] / outcome.book.slots.slot_hours),
                "forecast_error_ratio": found.error_ratio,
            }
            for (demand, area, query_class), found in sorted(outcome.arrivals.items())
        ],
    }


def _troubles(outcome: Outcome) -> dict[str, Any]:
    """What is wrong with the plan, with what is in force, and around them."""
    return {
        "troubled_demands": [{"demand": demand, "reason": reason} for demand, reason in outcome.troubled_demands],
        "writes_failed": {str(key): message for key, message in outcome.writes_failed.items()},
        "broken_in_force": [entry.message for entry in outcome.broken_in_force],
        "broken_kinds": {
            "plan": [entry.kind.value for entry in outcome.result.diagnosis] if outcome.result else [],
            "in_force": [entry.kind.value for entry in outcome.broken_in_force],
        },
        "diagnosis": [entry.message for entry in outcome.result.diagnosis] if outcome.result else [],
        "audit_error": outcome.audit_error,
        "signal_problems": [problem.message for problem in outcome.book.problems],
        "unusable_sources": [{"site": p.site, "kind": p.kind.value} for p in outcome.book.problems],
    }


def _comparison(outcome: Outcome) -> list[dict[str, Any]]:
    """What was measured beside what the model says."""
    return [
        {"quantity": quantity, "of": list(key)} | asdict(compared)
        for quantity, found in (
            ("pair_delay_s", outcome.comparison.pair_delays_s),
            ("site_delay_s", outcome.comparison.site_delays_s),
            ("site_it_watts", outcome.comparison.site_it_watts),
        )
        for key, compared in found.items()
    ]


def _by_site(outcome: Outcome, amounts: SiteAmounts) -> dict[str, dict[str, float]]:
    return {site: _amounts(outcome, own) for site, own in amounts.items()}


def _amounts(outcome: Outcome, amounts: Amounts) -> dict[str, float]:
    """Fields of amounts; marginal emissions are given as a difference alone, market-based ones by the account."""
    hidden = ["market_emissions_kg", *([] if outcome.policy.takes_inventory else ["emissions_kg", "carbon_cost"])]
    return {name: value for name, value in asdict(amounts).items() if name not in hidden}


def print_line(outcome: Outcome) -> None:
    """One interval in one line: what is in force beside the nearest site, and where traffic goes."""
    ours, theirs, currency = total(outcome.in_force.values()), total(outcome.nearest.values()), outcome.policy.currency
    ending = outcome.result.termination.value if outcome.result else "no plan"
    head = f"{outcome.now:%m-%d %H:%MZ} {outcome.policy.name} {ending}"
    parts = [
        f"{ours.cost:.2f} {currency}/h ({change(ours.cost, theirs.cost)})",
        f"{ours.emissions_kg:.1f} kgCO2/h ({change(ours.emissions_kg, theirs.emissions_kg)})"
        if outcome.policy.takes_inventory
        else f"{ours.emissions_kg - theirs.emissions_kg:+.1f} kgCO2/h (marginal) against nearest",
        f"{ours.water_l:.0f} L/h ({change(ours.water_l, theirs.water_l)})",
        f"{ours.mean_delay_s * 1000:.0f} ms",
    ]
    typer.echo(f"{head}  {'  '.join(parts)}  {_traffic(outcome)}")


def troubles(outcome: Outcome) -> list[str]:
    """Why there is no plan, why weights are not written, and what could not be kept."""
    return [
        *([outcome.error] if outcome.error else []),
        *(f"{key}: {message}" for key, message in outcome.writes_failed.items()),
        *(f"{site} keeps its share: no value for {kinds}" for site, kinds in outcome.held_sites.items()),
        *([outcome.audit_error] if outcome.audit_error else []),
    ]


def print_outcome(outcome: Outcome) -> None:
    """One interval as tables."""
    console = Console()
    ending = outcome.result.termination.value if outcome.result else "no plan"
    console.print(
        f"[bold]{outcome.policy.name}[/] {outcome.now:%Y-%m-%d %H:%MZ}: {ending}, {outcome.policy.mode.value}"
    )
    for message in troubles(outcome):
        console.print(f"[red]✗[/] {message}", highlight=False, soft_wrap=True)
    if outcome.weights:
        print_weights(console, outcome)
    print_rates(console, outcome)
    print_comparison(console, outcome)
    diagnosis = outcome.result.diagnosis if outcome.result else ()
    for message in (*shortfalls(outcome, diagnosis), *shortfalls(outcome, outcome.broken_in_force)):
        console.print(f"[red]✗[/] {message}", highlight=False, soft_wrap=True)
    for _, state, _, message in slo_status.condition(outcome):
        if state != "True":
            console.print(f"[yellow]![/] SLO: {message}", highlight=False, soft_wrap=True)
    for problem in outcome.book.problems:
        console.print(f"[yellow]![/] {problem.message}", highlight=False, soft_wrap=True)


def print_weights(console: Console, outcome: Outcome) -> None:
    """A table per demand, a row per rule and class: where the plan sends it, and the weights in force."""
    demands: dict[str, dict[tuple[str, str, str], list[WeightRow]]] = {}
    for row in outcome.weights:
        rules = demands.setdefault(row.demand, {})
        rules.setdefault((row.area, row.query_class, f"{row.route.name}/{row.rule}"), []).append(row)
    for demand, rules in demands.items():
        table = Table("area", "class", "planned", "in force", "held by", title=demand, title_justify="left")
        for (area, query_class, _), found in rules.items():
            planned = [
                f"{r.site} {r.planned:.1%}" for r in sorted(found, key=lambda r: -r.planned) if r.planned >= SHOWN
            ]
            weights = [f"{r.site} {r.weight}" for r in sorted(found, key=lambda r: -(r.weight or 0)) if r.weight]
            held = found[0].held_by or ""
            table.add_row(area, query_class, "\n".join(planned), "\n".join(weights) or "none", held)
        console.print(table)


def print_rates(console: Console, outcome: Outcome) -> None:
    """Rates now: planned, in force, nearest."""
    table = Table("per hour, now", "planned", "in force", "nearest site", "in force vs nearest")
    planned, ours, theirs = (total(x.values()) for x in (outcome.planned, outcome.in_force, outcome.nearest))
    for name, pick in _SHOWN:
        label = name.format(currency=outcome.policy.currency)
        values = [pick(amounts) for amounts in (planned, ours, theirs)]
        table.add_row(label, *_cells(outcome, pick, values), _change(outcome, pick, values[1], values[2]))
    console.print(table)


def print_comparison(console: Console, outcome: Outcome) -> None:
    """The model beside what was measured, where something was."""
    found = outcome.comparison
    rows = [
        *(
            (f"{area} / {query_class}: delay ms", 1000.0, c)
            for (_, area, query_class), c in found.pair_delays_s.items()
        ),
        *((f"{site} / {profile}: delay there ms", 1000.0, c) for (site, profile), c in found.site_delays_s.items()),
        *((f"{site} / {profile}: IT power W", 1.0, c) for (site, profile), c in found.site_it_watts.items()),
    ]
    title = "the model, of the weights in force now, beside what was measured in the past hour"
    table = Table("", "planned", "model", "measured", "difference", title=title, title_justify="left")
    for label, factor, compared in rows:
        if compared.measured is None:
            continue
        numbers = (compared.planned, compared.model, compared.measured)
        cells = ["" if number is None else f"{number * factor:,.1f}" for number in numbers]
        table.add_row(label, *cells, "" if compared.model is None else change(compared.measured, compared.model))
    if table.row_count:
        console.print(table)


def print_totals(outcome: Outcome) -> None:
    """What a replay came to."""
    if outcome.ledger is None:
        return
    console = Console()
    ours, theirs = total(outcome.ledger.in_force.values()), total(outcome.ledger.nearest.values())
    table = Table(f"{outcome.policy.name}, totals", "in force", "nearest site", "difference")
    for name, pick in _SHOWN:
        label = name.format(currency=outcome.policy.currency)
        values = [pick(ours), pick(theirs)]
        table.add_row(label, *_cells(outcome, pick, values), _change(outcome, pick, *values))
    console.print(table)
    if outcome.water is not None:
        water = outcome.water
        console.print(f"water budget: {water.used_liters:,.0f} of {water.budget_liters:,.0f} L used in this period")


def _emissions(amounts: Amounts) -> float:
    return amounts.emissions_kg


def _cells(outcome: Outcome, pick: Callable[[Amounts], float], values: Iterable[float]) -> list[str]:
    """Amounts, save those that mean something only as a difference."""
    hidden = pick is _emissions and not outcome.policy.takes_inventory
    return ["marginal" if hidden else f"{value:,.2f}" for value in values]


def _change(outcome: Outcome, pick: Callable[[Amounts], float], value: float, reference: float) -> str:
    if pick is _emissions and not outcome.policy.takes_inventory:
        return f"{value - reference:+,.2f}"
    return change(value, reference)


_SHOWN: tuple[tuple[str, Callable[[Amounts], float]], ...] = (
    ("cost {currency}", lambda a: a.cost),
    ("emissions kgCO2e", _emissions),
    ("water L", lambda a: a.water_l),
    ("energy kWh", lambda a: a.energy_kwh),
    ("mean delay ms", lambda a: a.mean_delay_s * 1000.0),
)


def change(value: float, reference: float) -> str:
    """A difference in per cent, with its sign."""
    return f"{100 * (value - reference) / abs(reference):+.1f} %" if reference else "-"


def _traffic(outcome: Outcome) -> str:
    """Queries by site as bars."""
    everything = total(outcome.in_force.values()).queries
    if not everything:
        return ""
    shares = sorted(((a.queries / everything, site) for site, a in outcome.in_force.items()), reverse=True)
    return " ".join(f"{site} {'█' * max(1, round(share * BAR))} {share:.0%}" for share, site in shares if share > 0.005)
