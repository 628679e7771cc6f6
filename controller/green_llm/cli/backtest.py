"""``green-llm backtest``: what the policy would have saved over recorded days."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from green_llm.cli.errors import Exit
from green_llm.cli.options import check_writable, numbers_of, weights_of, write_page
from green_llm.cli.session import moment
from green_llm.errors import InvalidInputError

if TYPE_CHECKING:
    from green_llm.backtest.compare import Backtest, Compared

WORK = "state/backtest"
"""Below the directory: where an interrupted back-test goes on from."""
PIPED_COLUMNS = 160


def backtest(  # noqa: PLR0917 - options of a command
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources, routes and recordings.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Begin here (ISO 8601); default: a day after the recordings begin.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End here; default: where the recordings end.")] = None,
    policy: Annotated[str | None, typer.Option(help="The policy to test; needed where there are several.")] = None,
    interval: Annotated[int | None, typer.Option(min=1, help="Seconds between plans; default: the policy's.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Baselines, such as nearest,static; default: all. Empty: none.")
    ] = None,
    static: Annotated[
        str | None, typer.Option(metavar="SITE=SHARE,…", help="The static split; default: the weights at adoption.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="OBJECTIVE=WEIGHT,…", help="The weighted sum; default: cost, carbon, delay = 1."),
    ] = None,
    bounds: Annotated[bool, typer.Option(help="Find what nobody could have gone below.")] = True,
    processes: Annotated[int | None, typer.Option(min=1, help="Local processes; default: one a core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on a Dask cluster, such as tcp://host:8786.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write tables and plots into one file that needs no network."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Replay recorded days through the planner, and charge it and its baselines with what really came.

    Each interval sees only what had been issued by then. An interrupted back-test goes on where it left off. Nothing in the
    directory changes, save for that state.
    """
    from green_llm.backtest.compare import document, forget  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.backtest_report import print_compared  # noqa: PLC0415
    from green_llm.cli.report import print_json  # noqa: PLC0415

    check_writable(report, "--report")
    wanted = wanted_backtest(directory, start, end, policy, interval, against, static, weights, bounds=bounds)
    compared = run_with_progress(wanted, processes, scheduler)
    if report is not None:
        from green_llm.backtest.report import report as page  # noqa: PLC0415 - Plotly is heavy

        write_page(report, page(compared))
    if as_json:
        print_json(document(compared))
    else:
        print_compared(compared)
    forget(wanted.jobs())
    return Exit.OPTIMAL


def wanted_backtest(
    directory: Path,
    start: str | None,
    end: str | None,
    policy: str | None,
    interval: int | None,
    against: str | None,
    static: str | None,
    weights: str | None,
    *,
    bounds: bool,
) -> Backtest:
    """The back-test that the options ask for.

    Raises:
        InvalidInputError: one of them is wrong.
    """
    from green_llm.backtest.bounds import BOUNDED  # noqa: PLC0415
    from green_llm.backtest.compare import EVERYTHING, Backtest, span_of  # noqa: PLC0415
    from green_llm.backtest.methods import Settings, methods_of  # noqa: PLC0415
    from green_llm.backtest.world import read_world  # noqa: PLC0415

    world = read_world(directory)
    request = world.request(policy)
    settings = Settings()
    if static is not None:
        settings = Settings(split=_split(static, {site.name for site in request.sites}))
    if weights is not None:
        settings = Settings(split=settings.split, weights=weights_of(weights, "--weights"))
    begin, last = (None if t is None else moment(t, name) for t, name in ((start, "--from"), (end, "--to")))
    return Backtest(
        world=world,
        policy=request.policy.name,
        span=span_of(world, request.policy, begin, last, interval),
        against=EVERYTHING if against is None else methods_of(against),
        bounds=BOUNDED if bounds else (),
        settings=settings,
        work=directory / WORK,
    )


def _split(text: str, sites: set[str]) -> dict[str, float]:
    found = numbers_of(text, "--static")
    unknown = sorted(set(found) - sites)
    if unknown:
        raise InvalidInputError(f'--static: "{unknown[0]}" is no site (known: {", ".join(sorted(sites))})')
    if abs(sum(found.values()) - 1.0) > 1e-9:
        raise InvalidInputError(f"--static: shares sum to {sum(found.values()):g}, not 1")
    return found


def run_with_progress(wanted: Backtest, processes: int | None, scheduler: str | None) -> Compared:
    """Run a back-test; on a terminal with a bar for each part, and the time that is left."""
    from green_llm.backtest.compare import compare  # noqa: PLC0415

    with progress_bars() as report:
        return compare(wanted, report, processes=processes or os.cpu_count() or 1, scheduler=scheduler)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for each part that reports; silent where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        known: dict[str, TaskID] = {}

        def report(name: str, done: int, everything: int) -> None:
            if name not in known:
                known[name] = bars.add_task(name, total=everything)
            bars.update(known[name], completed=done)

        yield report


def plain_console() -> Console:
    """Standard output: no line is broken, and in a pipe or a file, where nobody sees 80 columns, no table is narrowed."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    return console
