"""``green-llm what-if``: the same days in another world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from green_llm.cli.backtest import plain_console, progress_bars, wanted_backtest
from green_llm.cli.errors import Exit
from green_llm.cli.options import check_writable, write_page
from green_llm.errors import InvalidInputError

if TYPE_CHECKING:
    from green_llm.backtest.compare import Backtest
    from green_llm.backtest.what_if import Setting

SHOWN = (("cost", 2, 1.0), ("emissions_kg", 1, 1.0), ("water_l", 0, 1.0), ("mean_delay_s", 0, 1000.0))


def what_if(  # noqa: PLR0917 - options of a command
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources, routes and recordings.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="demand=2, water.budgetLiters=100000, order=Cost:3,Emissions, …"
        ),
    ] = None,
    sweep: Annotated[
        Path | None, typer.Option(metavar="SWEEP.yaml", help="Parameters and their values; every combination is run.")
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Sweep the first objective's tolerance: cost and emissions of each.")
    ] = False,
    pick: Annotated[
        str | None,
        typer.Option(metavar="MEASURE", help="Choose the best on the first two thirds; report on the last third."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="Begin here (ISO 8601).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End here.")] = None,
    policy: Annotated[str | None, typer.Option(help="The policy; needed where there are several.")] = None,
    interval: Annotated[int | None, typer.Option(min=1, help="Seconds between plans; default: the policy's.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Local processes; default: one a core.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on a Dask cluster.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write table and plots into one file that needs no network."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Back-test the policy as it is beside changed worlds: another site, demand, budget, order or tolerance.

    Nothing in the directory changes: settings go through the same checks as the files.
    """
    from green_llm.backtest import scenarios as found  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.backtest.compare import forget  # noqa: PLC0415
    from green_llm.backtest.what_if import setting_of  # noqa: PLC0415
    from green_llm.cli.report import print_json  # noqa: PLC0415

    check_writable(report, "--report")
    wanted = wanted_backtest(directory, start, end, policy, interval, "", None, None, bounds=False)
    if pick is not None:
        found.cut_of(wanted.span, pick)
    given = tuple(setting_of(text) for text in settings or ())
    worlds = _worlds(directory, wanted, given, sweep, pareto=pareto)
    asked = found.Scenarios(backtest=wanted, worlds=worlds)
    with progress_bars() as tell:
        ran = found.run_scenarios(asked, tell, processes=processes or os.cpu_count() or 1, scheduler=scheduler)
    document = found.scenarios_document(ran, found.pick(ran, pick) if pick else None, front=pareto)
    if report is not None:
        from green_llm.backtest.scenarios_report import scenarios_report  # noqa: PLC0415 - Plotly is heavy

        write_page(report, scenarios_report(ran, document))
    if as_json:
        print_json(document)
    else:
        print_scenarios(document)
    forget(asked.jobs())
    return Exit.OPTIMAL


def _worlds(
    directory: Path, wanted: Backtest, given: tuple[Setting, ...], sweep: Path | None, *, pareto: bool
) -> dict[str, Any]:
    """The worlds by name."""
    from green_llm.backtest.scenarios import AS_IT_IS, PARETO_TOLERANCES  # noqa: PLC0415
    from green_llm.backtest.what_if import Setting, changed, name_of, scenarios_of  # noqa: PLC0415

    combined: list[tuple[Setting, ...]] = [given] if given else []
    if sweep is not None:
        try:
            text = sweep.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"--sweep: {sweep}: cannot be read: {error}") from error
        combined = [(*given, *scenario) for scenario in scenarios_of(text, str(sweep))]
    if pareto:
        first = wanted.world.request(wanted.policy).policy.order.objectives[0]
        name = "CarbonCost" if first.value == "carbon" else first.value.capitalize()
        combined += [(*given, Setting(f"tolerance.{name}", share)) for share in PARETO_TOLERANCES]
    if not combined:
        raise InvalidInputError("give --set, --sweep or --pareto: what is to be different?")
    worlds = {AS_IT_IS: wanted.world}
    for settings in combined:
        worlds[name_of(settings)] = changed(directory, wanted.policy, settings)
    return worlds


def print_scenarios(document: dict[str, Any]) -> None:
    """As a table."""
    from green_llm.cli.backtest_report import broken, number, saving  # noqa: PLC0415 - heavy: --help must not wait for it

    console = plain_console()
    table = Table("", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for label in ("cost", "kgCO2e", "L", "mean ms"):
        table.add_column(label, justify="right")
    table.add_column("limits broken")
    for name, values in document["scenarios"].items():
        table.add_row(
            name, *(number(values[key], factor, digits) for key, digits, factor in SHOWN), broken(values["broken"])
        )
    console.print(table)
    if document["pareto"] is not None:
        console.print("no other of the same demand is better in cost and in emissions:")
        for name in document["pareto"]:
            console.print(f"  {name}{'' if document['scenarios'][name]['keeps_limits'] else ' (breaks limits)'}")
    picked = document["picked"]
    if picked is not None:
        said = ", ".join(
            f"{label} {saving(picked['saves'][key])}"
            for key, label in (("cost", "cost"), ("emissions_kg", "emissions"), ("water_l", "water"))
        )
        breaks = "" if document["scenarios"][picked["scenario"]]["keeps_limits"] else " (breaks limits)"
        console.print(
            f"{picked['scenario']}{breaks} has the least {picked['by']} until {picked['chosen_until'][:10]}; "
            f"since then it has saved, against as it is: {said}"
        )
