"""``green-llm verify``: recompute a plan without a solver."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from green_llm.cli.errors import Exit


def verify(
    instance_path: Annotated[Path, typer.Argument(metavar="INSTANCE", help="Instance file (green-llm-instance/1).")],
    plan_path: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file (green-llm-plan/1).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Recompute every balance, limit and value of a plan; name each one that is broken.

    Exit status: 0 all kept, 2 wrong input, 3 something is broken.
    """
    from rich.console import Console  # noqa: PLC0415 - heavy: --help must not wait for it

    from green_llm.cli.report import print_json, values_table, where_document  # noqa: PLC0415
    from green_llm.domain import instance_file, plan_file  # noqa: PLC0415
    from green_llm.optimizer.evaluate import values  # noqa: PLC0415
    from green_llm.optimizer.verify import check  # noqa: PLC0415

    instance = instance_file.read(instance_path)
    plan = plan_file.read(plan_path, instance)
    broken, worth = check(instance, plan), values(instance, plan)
    if as_json:
        entries = [
            {
                "kind": violation.equation,
                **where_document(violation.where),
                "required": violation.required,
                "available": violation.available,
                "shortfall": violation.shortfall,
                "unit": violation.unit,
                "message": violation.message,
            }
            for violation in broken
        ]
        print_json({"valid": not broken, "values": asdict(worth), "broken": entries})
    else:
        console = Console()
        console.print(values_table(worth))
        for violation in broken:
            console.print(f"[red]✗[/] {violation.message}", highlight=False)
        console.print(f"{len(broken)} broken" if broken else "[green]✓[/] every balance and limit is kept")
    return Exit.INFEASIBLE if broken else Exit.OPTIMAL
