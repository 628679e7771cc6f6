"""``green-llm signals``: look at the sources of a directory."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from green_llm.cli.errors import Exit
from green_llm.cli.session import moment, stop_on_signals
from green_llm.errors import InvalidInputError, StoreError

if TYPE_CHECKING:
    from green_llm.bootstrap.embedded import EmbeddedRun, Reading
    from green_llm.signals.check import SourceCheck
    from green_llm.signals.recordings import Question

LONGEST_WAIT_SECONDS = 60.0
LOOK_SECONDS = 10.0
"""How often a recording looks whether the resources have changed."""
NARROWEST = 132
signals = typer.Typer(help="Look at the sources that signals come from.", no_args_is_help=True)


@signals.command()
def check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources and routes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask every configured source once, and say what each gives: run this first.

    Keys of live services come from the environment (GREEN_LLM_SECRET_NAME_KEY). Exit status: 0 all give a value for now,
    1 some do not.
    """
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    try:
        embedded = EmbeddedRun(directory, Settings(), first_wait_seconds=LONGEST_WAIT_SECONDS)
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    now = datetime.now(UTC)
    reading = asyncio.run(embedded.read())
    found = asyncio.run(embedded.check_sources(reading, now))
    if not found:
        raise InvalidInputError("no site of a policy has signals; `green-llm validate` says what is wrong")
    if as_json:
        print_json({"sources": [_document(entry, now) for entry in found], "exchange_rates": _rates(reading, now)})
    else:
        _print(found, now)
        for rate in _rates(reading, now):
            typer.echo(
                f"GreenPolicy {rate['policy']}: 1 {rate['from']} is {rate['rate']:g} {rate['to']} as of {rate['as_of_date']}, "
                f"{rate['age_days']} days ago"
            )
    return Exit.OPTIMAL if all(entry.value is not None for entry in found) else Exit.FAILED


def _rates(reading: Reading, now: datetime) -> list[dict[str, Any]]:
    """Every rate that prices are converted with, and how old it is: nobody but the user renews it."""
    return [
        {
            "policy": request.policy.name,
            "from": entry.source_currency,
            "to": request.policy.currency,
            "rate": entry.rate,
            "as_of_date": entry.as_of.isoformat(),
            "age_days": (now.date() - entry.as_of).days,
        }
        for request in reading.requests.values()
        for entry in request.policy.exchange_rates
    ]


def _document(entry: SourceCheck, now: datetime) -> dict[str, Any]:
    value = entry.value
    issued = None if value is None else value.issued_at
    return {
        "source": entry.source,
        "service": entry.service,
        "kind": entry.kind.value,
        "params": dict(entry.params),
        "site": entry.site,
        "value": None if value is None else value.value,
        "unit": entry.unit,
        "quality": None if value is None else value.quality.value,
        "basis": None if value is None else value.basis,
        "age_seconds": None if issued is None else (now - issued).total_seconds(),
        "covered_hours": entry.covered_hours,
        "fetch_seconds": entry.fetch_seconds,
        "quota": entry.quota,
        "missing_keys": list(entry.missing_keys),
        "error": entry.error,
    }


def _print(found: list[SourceCheck], now: datetime) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="bold")
    for column in (
        "source",
        "service",
        "kind",
        "for",
        "now",
        "unit",
        "quality",
        "basis",
        "age",
        "covers",
        "took",
        "quota",
    ):
        table.add_column(column, overflow="fold", no_wrap=column in ("source", "kind", "now", "age"))
    for row in (_document(entry, now) for entry in found):
        params = ", ".join(f"{name}={value}" for name, value in row["params"].items()) or row["site"]
        table.add_row(
            row["source"],
            row["service"],
            row["kind"],
            params,
            "-" if row["value"] is None else f"{row['value']:.4g}",
            row["unit"],
            row["quality"] or "-",
            row["basis"] or "-",
            "-" if row["age_seconds"] is None else f"{row['age_seconds'] / 60:.0f} min",
            f"{row['covered_hours']:.0f} h",
            "-" if row["fetch_seconds"] is None else f"{row['fetch_seconds']:.2f} s",
            row["quota"] or "-",
        )
    Console(width=max(Console().width, NARROWEST)).print(table)
    for entry in found:
        if entry.error is not None:
            typer.echo(entry.error)
    for source, missing in sorted({entry.source: entry.missing_keys for entry in found}.items()):
        if missing:
            typer.echo(
                f"SignalSource {source}: its answers lack {', '.join(missing[:8])}; the service may have changed"
            )


@signals.command()
def record(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources and routes.")],
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="End after this many seconds.")] = None,
) -> int:
    """Ask the live sources of a directory at their periods, and keep what they say below DIR/recordings.

    Nothing is planned and no route is written. Ctrl-C ends it. A planner records too, with GREEN_LLM_RECORD_DIRECTORY.
    """
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.settings import Settings  # noqa: PLC0415

    try:
        embedded = EmbeddedRun(directory, Settings(), record=True)
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    return asyncio.run(_record(embedded, seconds))


async def _record(embedded: EmbeddedRun, seconds: float | None) -> int:
    stop, end = stop_on_signals(), None if seconds is None else asyncio.get_running_loop().time() + seconds
    try:
        while not stop.is_set() and (end is None or asyncio.get_running_loop().time() < end):
            if not await embedded.look():
                raise InvalidInputError("there is no GreenPolicy that parses; `green-llm validate` says what is wrong")
            left = LOOK_SECONDS if end is None else max(0.0, min(LOOK_SECONDS, end - asyncio.get_running_loop().time()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), left)
    finally:
        await embedded.hub.close()
    failed = {name: health for name, health in embedded.hub.health.items() if health.reason is not None}
    for name, health in sorted(failed.items()):
        typer.echo(f"SignalSource {name}: {health.last_error}", err=True)
    typer.echo(f"recorded in {embedded.recordings.root}")
    return Exit.FAILED if failed else Exit.OPTIMAL


@signals.command(name="import")
def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources and routes.")],
    start: Annotated[str, typer.Option("--from", help="Begin of the history (ISO 8601).")],
    until: Annotated[str | None, typer.Option("--to", help="End of the history; default: now.")] = None,
    source: Annotated[str | None, typer.Option(help="Only this SignalSource.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Bring what live services know of the past into DIR/recordings, for replays and back-tests.

    Values are known from when they were published, never earlier; what differs from a recorded value is marked as revised.
    Exit status: 0 all have answered, 1 some have not.
    """
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    begin, now = moment(start, "--from"), datetime.now(UTC)
    end = min(moment(until, "--to") if until else now, now)
    if begin >= end:
        raise InvalidInputError("--from: must be before --to, and in the past")
    try:
        embedded = EmbeddedRun(directory, Settings())
    except StoreError as error:
        raise InvalidInputError(str(error)) from error

    def progress(question: Question, done: datetime) -> None:
        if not as_json:
            typer.echo(f"{question.source} {question.kind.value} up to {done:%Y-%m-%dT%H:%MZ}", err=True)

    found = asyncio.run(embedded.import_history(begin, end, source, progress))
    if not found:
        raise InvalidInputError("no site or demand of a policy asks a live source" + (f' "{source}"' if source else ""))
    rows: list[dict[str, Any]] = [
        {
            "source": entry.question.source,
            "service": entry.service,
            "kind": entry.question.kind.value,
            "params": dict(entry.question.params),
            "new": entry.new,
            "revised": entry.revised,
            "error": entry.error,
        }
        for entry in found
    ]
    if as_json:
        print_json({"imported": rows})
    else:
        for row in rows:
            params = ", ".join(f"{name}={value}" for name, value in row["params"].items())
            text = f"{row['source']} {row['kind']} {params}: {row['new']} new, {row['revised']} revised"
            typer.echo(text + (f"; {row['error']}" if row["error"] else ""))
    return Exit.FAILED if any(row["error"] for row in rows) else Exit.OPTIMAL
