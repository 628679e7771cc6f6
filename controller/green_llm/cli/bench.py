"""``green-llm bench``: how fast plans are on this machine, against plain HiGHS."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, cast

import typer

from green_llm.errors import InvalidInputError

DEFAULT_SIZES = ("9-9-5-24", "20-20-5-24", "30-30-10-24")
SIZE = re.compile(r"([1-9]\d*)-([1-9]\d*)-([1-9]\d*)-([1-9]\d*)")
COLUMNS = (
    "size", "plain_seconds", "cold_seconds", "next_seconds", "cold_ratio", "next_ratio", "max_relative_difference",
    "peak_rss_bytes",
)  # fmt: skip


def bench(
    size: Annotated[list[str] | None, typer.Option(help="areas-sites-classes-slots; may be given again.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Instances per size; the figures are medians.")] = 2,
    threads: Annotated[int, typer.Option(min=0, help="Slots solved at the same time; 0: one per core.")] = 0,
    plain: Annotated[bool, typer.Option(help="Run plain HiGHS as well: minutes from 50-50-10-24 on.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Plan instances of these sizes with plain HiGHS and with ours: cold, and the next interval. Ratios are to plain."""
    from green_llm.optimizer.measure import growth_exponent, measure  # noqa: PLC0415 - heavy

    sizes = [_size(text) for text in size or DEFAULT_SIZES]
    rows = []
    for wanted in sizes:
        row = measure(wanted, seeds, threads=threads, plain=plain)
        rows.append(row)
        if not as_json:
            _print(asdict(row), head=len(rows) == 1)
    growth = growth_exponent(rows)
    if as_json:
        from green_llm.cli.report import print_json  # noqa: PLC0415

        print_json({"rows": [{name: asdict(row)[name] for name in COLUMNS} for row in rows], "growth_exponent": growth})
    elif growth is not None:
        typer.echo(f"cost grows with the number of shares to the power of {growth:.2f} (ours, cold)")
    return 0


def _size(text: str) -> tuple[int, int, int, int]:
    found = SIZE.fullmatch(text)
    if found is None:
        raise InvalidInputError(f"--size: {text} is no size; give areas-sites-classes-slots, such as 30-30-10-24")
    areas, sites, classes, slots = (int(number) for number in found.groups())
    return areas, sites, classes, slots


def _print(row: dict[str, object], *, head: bool) -> None:
    if head:
        typer.echo("  ".join(f"{name:>{max(12, len(name))}}" for name in COLUMNS))
    cells = [row[name] for name in COLUMNS]
    texts = [f"{cell:.3g}" if isinstance(cell, float) else "–" if cell is None else str(cell) for cell in cells]
    typer.echo("  ".join(f"{text:>{max(12, len(name))}}" for name, text in zip(COLUMNS, texts, strict=True)))
    steps = (
        "" if row["plain_iterations"] is None else f"plain HiGHS takes {row['plain_iterations']} simplex iterations; "
    )
    typer.echo(
        f"  {steps}{row['bindable_delay_rows']:.2%} of the delay limits could bind, highest use of a capacity "
        f"{row['highest_utilisation']:.0%}, price spread {row['price_spread']:.2f}; "
        f"{row['priced_limits']} of {row['binding_limits']} limits that bind have a shadow price"
    )
    for reason in cast("tuple[str, ...]", row["fallback_reasons"]):
        typer.echo(f"  solved whole: {reason}")
