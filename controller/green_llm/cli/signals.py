"""``green-llm signals``: look at the sources of a directory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from green_llm.cli.errors import Exit
from green_llm.errors import InvalidInputError, StoreError

if TYPE_CHECKING:
    from green_llm.signals.check import SourceCheck

LONGEST_WAIT_SECONDS = 60.0
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
    from green_llm.bootstrap import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    try:
        embedded = EmbeddedRun(directory, Settings(), first_wait_seconds=LONGEST_WAIT_SECONDS)
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    now = datetime.now(UTC)
    found = asyncio.run(embedded.check_sources(now))
    if not found:
        raise InvalidInputError("no site of a policy has signals; `green-llm validate` says what is wrong")
    if as_json:
        print_json({"sources": [_document(entry, now) for entry in found]})
    else:
        _print(found, now)
    return Exit.OPTIMAL if all(entry.value is not None for entry in found) else Exit.FAILED


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
        "age_seconds": None if issued is None else (now - issued).total_seconds(),
        "covered_hours": entry.covered_hours,
        "fetch_seconds": entry.fetch_seconds,
        "error": entry.error,
    }


def _print(found: list[SourceCheck], now: datetime) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="bold")
    for column in ("source", "service", "kind", "for", "now", "unit", "quality", "age", "covers", "took"):
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
            "-" if row["age_seconds"] is None else f"{row['age_seconds'] / 60:.0f} min",
            f"{row['covered_hours']:.0f} h",
            "-" if row["fetch_seconds"] is None else f"{row['fetch_seconds']:.2f} s",
        )
    Console(width=max(Console().width, NARROWEST)).print(table)
    for entry in found:
        if entry.error is not None:
            typer.echo(entry.error)
