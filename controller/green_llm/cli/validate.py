"""``green-llm validate``: every problem in every resource."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from green_llm.cli.errors import Exit
from green_llm.errors import GreenLLMError, InvalidInputError, StoreError

if TYPE_CHECKING:
    from green_llm.bootstrap.embedded import EmbeddedRun, Reading


def validate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources and routes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Check every resource of a directory, alone and together, and its recorded signals.

    Exit status: 0 nothing is wrong, 2 something is.
    """
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    try:
        embedded = EmbeddedRun(directory, Settings())
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    reading = asyncio.run(embedded.read())
    found = [*_unreadable(reading), *_problems(reading), *_recordings(embedded, reading)]
    if as_json:
        print_json({"valid": not found, "problems": found})
    else:
        for entry in found:
            parts = [entry["where"], entry["object"], entry["field"], entry["message"]]
            typer.echo(": ".join(part for part in parts if part))
        count = len(reading.loaded.origins)
        typer.echo(
            f"{len(found)} problems"
            if found
            else f"{count} resources and {len(reading.loaded.routes)} routes are valid"
        )
    return Exit.WRONG_INPUT if found else Exit.OPTIMAL


def _unreadable(reading: Reading) -> list[dict[str, Any]]:
    return [{"where": "", "object": "", "field": "", "message": message} for message in reading.loaded.unreadable]


def _problems(reading: Reading) -> list[dict[str, Any]]:
    from green_llm.cli.run import located  # noqa: PLC0415

    return [
        {"where": located(reading, p), "object": str(p.key), "field": p.field, "reason": p.reason, "message": p.message}
        for p in reading.admission.problems
    ]


def _recordings(embedded: EmbeddedRun, reading: Reading) -> list[dict[str, Any]]:
    """CSV files that are missing or wrong, each once."""
    from green_llm.signals.providers.csv import parse  # noqa: PLC0415
    from green_llm.signals.span import recorded_files  # noqa: PLC0415

    found: dict[str, dict[str, Any]] = {}
    resources = reading.loaded.resources
    for _, source, file in recorded_files(list(resources.sites.values()), resources.sources):
        try:
            parse(embedded.store.read_text(file)[1], file)
        except GreenLLMError as error:
            entry = {
                "where": "",
                "object": f"SignalSource {source.name}",
                "field": "spec.csv.file",
                "message": str(error),
            }
            found.setdefault(file, entry)
    return list(found.values())
