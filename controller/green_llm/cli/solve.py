"""``green-llm solve``: one instance, one plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from green_llm.cli.errors import interruptible, of_result
from green_llm.cli.options import DEFAULT_ORDER, order_of, weights_of


def solve(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Instance file (green-llm-instance/1).")],
    objectives: Annotated[
        str, typer.Option(help="Objectives in order: cost, carbon, delay, emissions, water.")
    ] = DEFAULT_ORDER,
    tolerance: Annotated[
        str | None, typer.Option(help="What may be given up: 0.001, or cost=3%,carbon=1%, or cost=5$. Default 0.001.")
    ] = None,
    weighted: Annotated[
        str | None, typer.Option(help="Minimise a weighted sum on raw units instead: cost=1,carbon=1,delay=1.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Write the plan to this file.")] = None,
    time_limit: Annotated[float | None, typer.Option(min=0, help="Seconds for everything.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Slots solved at the same time; 0: one per core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Solve an instance and print the plan's phases, values and binding limits.

    Exit status: 0 optimal, 2 wrong input, 3 infeasible (the least violation is still written), 4 time limit, 1 else.
    """
    from green_llm import optimizer  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.report import print_json, print_result, result_document  # noqa: PLC0415
    from green_llm.domain import instance_file, plan_file  # noqa: PLC0415

    order = order_of(objectives, tolerance)
    weights = weights_of(weighted) if weighted is not None else None
    instance = instance_file.read(file)
    if weights is not None:
        result = interruptible(
            lambda progress: optimizer.weighted(instance, weights, time_limit_s=time_limit, progress=progress)
        )
    else:
        result = interruptible(
            lambda progress: optimizer.optimize(
                instance,
                order,
                time_limit_s=time_limit,
                progress=progress,
                session=optimizer.Session(planner=optimizer.Planner(threads)),
            )
        )
    if plan is not None:
        plan_file.write(plan, result.plan)
    if as_json:
        print_json(result_document(result))
    else:
        print_result(result)
    return of_result(result)
