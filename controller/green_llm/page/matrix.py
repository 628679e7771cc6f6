"""The table of areas and sites on the page: a class at a time where there are many. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from green_llm.page.now import Cell, Now, Pair

MOST_ROWS = 100
ROUNDING = 1e-6
DIFFERS = 0.005
"""A plan that differs by less from what is in force is not shown beside it."""


@dataclass(frozen=True)
class Shade:
    """A cell as it is shown."""

    text: str
    planned: str
    """Where it differs."""
    shade: int
    """0 … 10."""


@dataclass(frozen=True)
class Matrix:
    """Some pairs against all sites."""

    chosen: str
    choices: tuple[str, ...]
    """``demand: class``."""
    sites: tuple[str, ...]
    rows: tuple[tuple[Pair, tuple[Shade, ...]], ...]
    left_out: int
    """Pairs that are not shown."""


def matrix(document: Now, chosen: str | None) -> Matrix:
    """The pairs of one class, or those of all."""
    choices = tuple(sorted({name_of(pair) for pair in document.pairs}))
    chosen = chosen if chosen in choices else ""
    found = [pair for pair in document.pairs if not chosen or name_of(pair) == chosen]
    shown = found[:MOST_ROWS]
    return Matrix(
        chosen=chosen,
        choices=choices,
        sites=document.sites,
        rows=tuple((pair, _row(pair, document.sites)) for pair in shown),
        left_out=len(found) - len(shown),
    )


def name_of(pair: Pair) -> str:
    """What a class is called among those of all demands."""
    return f"{pair.demand}: {pair.query_class}"


def _row(pair: Pair, sites: Sequence[str]) -> tuple[Shade, ...]:
    return tuple(_shade(pair.shares[site]) if site in pair.shares else _EMPTY for site in sites)


_EMPTY = Shade("", "", 0)


def _shade(cell: Cell) -> Shade:
    if cell.in_force is None:
        return Shade("?", _per_cent(cell.planned), 0)
    differs = abs(cell.planned - cell.in_force) >= DIFFERS
    return Shade(_per_cent(cell.in_force), _per_cent(cell.planned) if differs else "", round(10 * cell.in_force))


def _per_cent(share: float) -> str:
    if share >= DIFFERS:
        return f"{100 * share:.0f} %"
    return "<1 %" if share > ROUNDING else "0 %"
