"""``green-llm calibrate``: what a site's servers do under load, as numbers for its InferenceSite."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from green_llm.cli.errors import Exit
from green_llm.cli.session import moment
from green_llm.domain.calibration import Fit
from green_llm.errors import InvalidInputError, StoreError

if TYPE_CHECKING:
    from green_llm.signals.calibrate import Calibrated

DAY = timedelta(days=1)


def calibrate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Begin (ISO 8601); default: a day before the end.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="End; default: now.")] = None,
    step_seconds: Annotated[
        int, typer.Option("--step", min=1, max=3600, help="Length of a sample, s; at least four scrapes.")
    ] = 300,
    site: Annotated[str | None, typer.Option(help="Only this InferenceSite.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Fit how delay grows with load, per site, profile and class, to what servers have measured; nothing is written.

    Sources are those that sites name in performance[].measurements (the template Vllm measures all that is needed).
    Classes are told apart where series carry a label class. Exit status: 0 all were fitted, 1 some were not.
    """
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    now = datetime.now(UTC)
    end = min(moment(until, "--to") if until else now, now)
    begin = moment(start, "--from") if start else end - DAY
    if begin >= end:
        raise InvalidInputError("--from: must be before --to, and in the past")
    try:
        embedded = EmbeddedRun(directory, Settings())
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    found = asyncio.run(embedded.calibrate(begin, end, step_seconds, site))
    if not found:
        raise InvalidInputError("no InferenceSite that parses" + (f' is called "{site}"' if site else ""))
    if as_json:
        print_json({"sites": [_document(entry) for entry in found]})
    else:
        _print(found)
    return Exit.OPTIMAL if all(isinstance(entry.fit, Fit) for entry in found) else Exit.FAILED


def _document(entry: Calibrated) -> dict[str, Any]:
    fitted = asdict(entry.fit) if isinstance(entry.fit, Fit) else None
    return {
        "site": entry.site,
        "profile": entry.profile,
        "class": entry.query_class,
        "source": entry.source,
        "stated_tokens_per_second": entry.stated_tokens_per_second,
        "fit": fitted,
        "error": None if isinstance(entry.fit, Fit) else entry.fit,
        "note": entry.note,
    }


def _print(found: list[Calibrated]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="bold")
    for column in (
        "site",
        "profile",
        "class",
        "stated tokens/s",
        "measured tokens/s",
        "delay without load",
        "others’ tokens count",
        "R²",
        "samples",
        "load",
    ):
        table.add_column(column)
    for entry in found:
        if isinstance(entry.fit, Fit):
            fit = entry.fit
            table.add_row(
                entry.site,
                entry.profile,
                entry.query_class or "all",
                f"{entry.stated_tokens_per_second:.4g}",
                f"{fit.throughput_tokens_per_second:.4g} ± {fit.throughput_error:.2g}",
                f"{fit.base_delay_s * 1000:.0f} ± {fit.base_delay_error_s * 1000:.2g} ms",
                "" if fit.others_ratio is None else f"{fit.others_ratio:.2f} ± {fit.others_ratio_error:.2g}",
                f"{fit.explained:.2f}",
                str(fit.samples),
                f"{fit.least_tokens_per_second:.4g} … {fit.most_tokens_per_second:.4g} tokens/s",
            )
    if table.row_count:
        console = Console()
        console.print(table, soft_wrap=True)
    for entry in found:
        name = ": ".join(part for part in (entry.site, entry.profile, entry.query_class) if part)
        for text in (entry.fit, entry.note):
            if isinstance(text, str) and text:
                typer.echo(f"InferenceSite {name}: {text}")
    typer.echo(_snippet(found), nl=False)


def _snippet(found: list[Calibrated]) -> str:
    """What to put into the manifests; what a class alone does is a comment, as sites are described by profile."""
    lines = []
    for name in dict.fromkeys(entry.site for entry in found if isinstance(entry.fit, Fit)):
        lines += [f"\n# InferenceSite {name}", "spec:", "  performance:"]
        for entry in found:
            if entry.site == name and isinstance(entry.fit, Fit):
                lines += _value(entry, entry.fit)
    return "\n".join(lines) + "\n" if lines else ""


def _value(entry: Calibrated, fit: Fit) -> list[str]:
    """A profile's value, or a class's."""
    value = max(1, round(fit.throughput_tokens_per_second))
    error = f"± {fit.throughput_error:.2g} (95 %), {fit.samples} samples"
    if entry.query_class is not None:
        return [f"      # {entry.profile}, class {entry.query_class} alone: {value} {error}"]
    return [f"    - profile: {entry.profile}", f"      throughputTokensPerSecond: {value}   # {error}"]
