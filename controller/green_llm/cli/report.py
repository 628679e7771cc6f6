"""Results as JSON objects and as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from green_llm.domain.plan import Binding, Diagnosis, Objective, Result, Values, Where

UNITS = {objective.value: objective.unit for objective in Objective} | {
    "energy": "kWh",
    "displaced_renewables_kwh": "kWh",
}
SHOWN_LIMITS = 12
"""Rows of a table of limits; JSON has them all."""


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    # As it is: a console would lay out every line of what can be megabytes.
    print(json.dumps(clean(document), indent=2, default=str))  # noqa: T201 - the command's result


def print_json_line(document: Mapping[str, Any]) -> None:
    """One JSON object as a line on stdout, at once: for a program that reads along."""
    print(json.dumps(clean(document), default=str), flush=True)  # noqa: T201 - not for people


def clean(value: Any) -> Any:
    """The same with null for numbers JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: clean(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [clean(entry) for entry in value]
    return value


def result_document(result: Result) -> dict[str, Any]:
    """A result as `green-llm solve --json` prints it."""
    return {
        "termination": result.termination.value,
        "method": result.method,
        "fallback_reason": result.fallback_reason,
        "phases": [asdict(phase) for phase in result.phases],
        "phases_not_reached": list(result.phases_not_reached),
        "values": asdict(result.values),
        "binding": [binding_document(binding) for binding in result.binding],
        "diagnosis": [diagnosis_document(diagnosis) for diagnosis in result.diagnosis],
        "overload": [diagnosis_document(diagnosis) for diagnosis in result.overload],
        "seconds": result.seconds,
        "finishing_seconds": result.finishing_seconds,
    }


def binding_document(binding: Binding) -> dict[str, Any]:
    """A binding limit: which, used, cap, and its price by phase."""
    return {
        "limit": binding.limit.value,
        **where_document(binding.where),
        "used": binding.used,
        "cap": binding.cap,
        "unit": binding.unit,
        "prices": [{"objective": p.objective.value, "value": p.value, "unit": p.unit} for p in binding.prices],
    }


def diagnosis_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """A limit that is broken: which, by how much, and in words."""
    return {
        "kind": diagnosis.kind.value,
        **where_document(diagnosis.where),
        "required": diagnosis.required,
        "available": diagnosis.available,
        "shortfall": diagnosis.shortfall,
        "unit": diagnosis.unit,
        "message": diagnosis.message,
    }


def where_document(where: Where) -> dict[str, Any]:
    """The indices a limit has."""
    named = {"class" if name == "query_class" else name: value for name, value in asdict(where).items()}
    return {name: value for name, value in named.items() if value is not None}


def print_result(result: Result) -> None:
    """A result as tables on stdout."""
    console = Console()
    console.print(f"[bold]{result.termination.value}[/] by {result.method} in {result.seconds:.3g} s")
    if result.fallback_reason is not None:
        console.print(f"not by decomposition: {result.fallback_reason}")
    if result.phases_not_reached:
        console.print(f"phases not reached: {', '.join(result.phases_not_reached)}")
    if result.phases:
        table = Table("phase", "optimum", "budget", "lower bound", "seconds", title="Phases", title_justify="left")
        for phase in result.phases:
            cells = (phase.optimum, phase.budget, phase.lower_bound, phase.seconds)
            table.add_row(f"{phase.objective.value} [dim]{phase.objective.unit}[/]", *(number(cell) for cell in cells))
        console.print(table)
    console.print(values_table(result.values))
    print_limits(console, result)


def values_table(values: Values) -> Table:
    """What a plan is worth."""
    table = Table("value", "", "unit", title="Plan", title_justify="left")
    for name, value in asdict(values).items():
        table.add_row(name.removesuffix("_kwh").replace("_", " "), number(value), UNITS[name])
    return table


def print_limits(console: Console, result: Result) -> None:
    """Binding limits with their prices, and what is broken."""
    if result.binding:
        table = Table("limit", "used", "cap", "price", title="Binding limits", title_justify="left")
        for binding in result.binding[:SHOWN_LIMITS]:
            prices = "\n".join(f"{p.objective.value} {number(p.value)} {p.unit}" for p in binding.prices)
            name = " ".join([binding.limit.value.replace("_", " "), *map(str, where_document(binding.where).values())])
            table.add_row(name, number(binding.used), f"{number(binding.cap)} {binding.unit}", prices or "-")
        console.print(table)
        _more(console, len(result.binding))
    for diagnosis in result.diagnosis[:SHOWN_LIMITS]:
        console.print(f"[red]✗[/] {diagnosis.message}")
    _more(console, len(result.diagnosis))


def broken_summary(diagnosis: Iterable[Diagnosis]) -> str:
    """Broken limits in a cell: how many of each kind."""
    kinds = [entry.kind.value for entry in diagnosis]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "-"


def number(value: float | None) -> str:
    """Six significant digits; a dash for what is not known."""
    return "-" if value is None else f"{value:.6g}"


def _more(console: Console, count: int) -> None:
    if count > SHOWN_LIMITS:
        console.print(f"[dim]and {count - SHOWN_LIMITS} more; --json lists all[/]")
