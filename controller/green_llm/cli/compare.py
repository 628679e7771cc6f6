"""``green-llm compare``: the lexicographic plan beside the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from green_llm.cli.errors import interruptible, of_result
from green_llm.cli.options import DEFAULT_ORDER, numbers_of, order_of, weights_of

if TYPE_CHECKING:
    from green_llm.domain.instance import Instance
    from green_llm.domain.plan import Order, Result

Comparison = dict[str, "Result"]


def compare(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Instance file (green-llm-instance/1).")],
    objectives: Annotated[str, typer.Option(help="Order of the lexicographic plan.")] = DEFAULT_ORDER,
    tolerance: Annotated[str | None, typer.Option(help="As for solve.")] = None,
    weighted: Annotated[str, typer.Option(help="Weights of the weighted sum.")] = "cost=1,carbon=1,delay=1",
    static: Annotated[str | None, typer.Option(help="Also a fixed split: SITE=SHARE,… summing to 1.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compare the lexicographic plan with the baselines on the same instance.

    Baselines: cost, carbon, emissions or delay alone, a weighted sum, the nearest site, a uniform and a given split.
    The exit status is that of the lexicographic plan.
    """
    from green_llm.cli.report import print_json  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.domain import instance_file  # noqa: PLC0415

    order = order_of(objectives, tolerance)
    weights = weights_of(weighted)
    split = numbers_of(static, "--static") if static is not None else None
    instance = instance_file.read(file)
    results = interruptible(lambda progress: run_all(instance, order, weights, split, progress))
    if as_json:
        print_json({"methods": {name: _document(result, results["lexicographic"]) for name, result in results.items()}})
    else:
        _print(results)
    return of_result(results["lexicographic"])


def run_all(
    instance: Instance,
    order: Order,
    weights: dict[Any, float],
    split: dict[str, float] | None,
    progress: Callable[[str], None],
) -> Comparison:
    """Every method's result, by name; the lexicographic plan first."""
    from green_llm import optimizer  # noqa: PLC0415
    from green_llm.domain.plan import Objective, Order  # noqa: PLC0415
    from green_llm.optimizer import baselines  # noqa: PLC0415

    results = {"lexicographic": optimizer.optimize(instance, order, progress=progress)}
    for objective in (Objective.COST, Objective.CARBON, Objective.EMISSIONS, Objective.DELAY):
        results[f"{objective.value}-only"] = optimizer.optimize(instance, Order((objective,)), progress=progress)
    results["weighted"] = optimizer.weighted(instance, weights, progress=progress)
    results["nearest"] = baselines.nearest(instance, order)
    results["uniform"] = baselines.uniform(instance, order)
    if split is not None:
        results["static"] = baselines.static(instance, split, order)
    return results


def difference_percent(result: Result, reference: Result) -> dict[str, float | None]:
    """Each value against the reference's, in per cent of its absolute value; None where that is 0."""
    own, other = asdict(result.values), asdict(reference.values)
    return {name: 100.0 * (own[name] - other[name]) / abs(other[name]) if other[name] else None for name in own}


def _document(result: Result, reference: Result) -> dict[str, Any]:
    from green_llm.cli.report import diagnosis_document  # noqa: PLC0415

    return {
        "termination": result.termination.value,
        "method": result.method,
        "values": asdict(result.values),
        "difference_percent": difference_percent(result, reference),
        "broken": [diagnosis_document(entry) for entry in result.diagnosis],
        "seconds": result.seconds,
    }


def _print(results: Comparison) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    from green_llm.cli.report import UNITS, broken_summary, number  # noqa: PLC0415

    names = ("cost", "carbon", "delay", "emissions", "water")
    table = Table(Column("method", no_wrap=True), *(f"{name} [dim]{UNITS[name]}[/]" for name in names), "broken limits")
    for method, result in results.items():
        change = difference_percent(result, results["lexicographic"])
        cells = [_cell(number(asdict(result.values)[name]), change[name], method) for name in names]
        table.add_row(method, *cells, broken_summary(result.diagnosis))
    Console().print(table)


def _cell(value: str, percent: float | None, method: str) -> str:
    return value if method == "lexicographic" or percent is None else f"{value}\n[dim]{percent:+.1f} %[/]"
