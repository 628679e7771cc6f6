"""Plotly figures of documents, as plain JSON; colours and fonts are the page's. Pure.

Plotly reads markup in texts, so every name is escaped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

from green_llm.page.horizon import Horizon, Row, SiteHorizon
from green_llm.page.past import Past
from green_llm.page.what_if import WhatIf
from green_llm.page.words import per_cent

T = TypeVar("T")
U = TypeVar("U")
Points = Sequence[float | None]
MOST_LINES = 8
"""More sites are shown as a map of colours: that many lines cannot be told apart."""
GAP = 3.0
"""Times the usual step: a longer one is a gap."""
FEW = 4
"""So many averages are named each."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")


@dataclass(frozen=True, kw_only=True)
class Table:
    """The numbers of a figure, for whoever does not see it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, Row], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One plot with its text alternative."""

    name: str
    """Its id on the page."""
    title: str
    unit: str
    summary: str
    plot: Mapping[str, Any]
    table: Table
    per_cent: bool = False


def of_horizon(document: Horizon) -> list[Figure]:
    """Price, carbon, renewables (where there are any) and shares per site by slot."""
    currency = document.currency
    found = [
        _by_site(document, "share", "Planned share of queries", "share", stacked=True),
        _by_site(document, "price_per_mwh", "Electricity price", f"{currency}/MWh"),
        _by_site(document, "carbon_g_per_kwh", "Carbon intensity", "gCO2e/kWh"),
    ]
    if any(value for site in document.sites for value in site.renewable_kw):
        found.append(_by_site(document, "renewable_kw", "Renewable power on site", "kW"))
    return found


def _by_site(document: Horizon, field: str, title: str, unit: str, *, stacked: bool = False) -> Figure:
    rows = [(site.site, _values(site, field)) for site in document.sites]
    times = [_time(start) for start in document.starts]
    if len(rows) > MOST_LINES:
        plot = _heat(times, rows, share=stacked)
    elif stacked:
        plot = _bars(times, rows)
    else:  # a step to the end of the last slot
        end = _time(document.starts[-1] + timedelta(seconds=document.slot_seconds))
        plot = _lines([*times, end], [(name, (*values, values[-1])) for name, values in rows], shape="hv")
    return Figure(
        name=field.replace("_", "-"),
        title=title,
        unit=unit,
        summary=_summary(title, rows, unit, share=stacked),
        plot=plot,
        table=Table(head=("site", *(f"{start:%d %H:%M}" for start in document.starts)), rows=tuple(rows)),
        per_cent=stacked,
    )


def of_past(document: Past) -> list[Figure]:
    """A plot per quantity, and the shares."""
    gaps = _gaps(document.at)
    times = _parted(
        [_time(at) for at in document.at],
        gaps,
        lambda n: _time(document.at[n] + (document.at[n + 1] - document.at[n]) / 2),
    )
    found = []
    for line in document.lines:
        rows: list[tuple[str, Row]] = [("in force", line.in_force), ("nearest site", line.nearest)]
        if not line.in_force:
            rows = [("in force minus nearest site", line.difference)]
        found.append(
            Figure(
                name=f"past-{line.name}",
                title=line.name.capitalize(),
                unit=line.unit,
                summary=_summary(line.name.capitalize(), rows, line.unit),
                plot=_lines(times, _with_gaps(rows, gaps)),
                table=_past_table(document, rows),
            )
        )
    shares = list(document.shares.items())
    parted = _with_gaps(shares, gaps)
    found.append(
        Figure(
            name="past-shares",
            title="Where queries went",
            unit="share",
            summary=_summary("Where queries went", shares, "share", share=True),
            plot=_heat(times, parted, share=True) if len(shares) > MOST_LINES else _areas(times, parted),
            table=_past_table(document, shares),
            per_cent=True,
        )
    )
    return found


def _gaps(at: Sequence[datetime]) -> list[int]:
    """Places after which nothing was kept for much longer than usual: no line leads over them."""
    steps = [(after - before).total_seconds() for before, after in pairwise(at)]
    usual = median(steps) if steps else 0.0
    return [place for place, step in enumerate(steps) if step > GAP * usual]


def _with_gaps(rows: Iterable[tuple[str, Row]], gaps: Sequence[int]) -> list[tuple[str, Points]]:
    return [(name, _parted(values, gaps, lambda _: None)) for name, values in rows]


def _parted(values: Sequence[T], gaps: Sequence[int], between: Callable[[int], U]) -> list[T | U]:
    """The values, with one more in each gap."""
    found: list[T | U] = []
    for place, value in enumerate(values):
        found += [value, between(place)] if place in gaps else [value]
    return found


def _past_table(document: Past, rows: Sequence[tuple[str, Row]]) -> Table:
    """Some twenty points: the whole is in the JSON."""
    step = max(1, len(document.at) // 20)
    return Table(
        head=("", *(f"{at:%d %H:%M}" for at in document.at[::step])),
        rows=tuple((name, values[::step]) for name, values in rows),
    )


def of_what_if(document: WhatIf) -> list[Figure]:
    """Every objective's change over the tolerance."""
    if not document.scenarios:
        return []
    names = [worth.name for worth in document.scenarios[0].worth]
    points = [f"+{s.extra_percent:g}" for s in document.scenarios]
    rows: list[tuple[str, Row]] = []
    for place, name in enumerate(names):
        changes = [scenario.worth[place].change for scenario in document.scenarios]
        if any(change is not None for change in changes):
            rows.append((name, tuple(100.0 * (change or 0.0) for change in changes)))
    plot = _lines([s.extra_percent for s in document.scenarios], rows, mode="lines+markers")
    plot["layout"]["xaxis"] |= {"type": "linear", "tickformat": "", "ticksuffix": " %"}
    last = ", ".join(f"{name} {per_cent(values[-1] / 100.0)}" for name, values in rows)
    return [
        Figure(
            name="what-if",
            title=f"Change against the plan as it is, by how much more {document.objective} is given up",
            unit="%",
            summary=f"At {points[-1]} %: {last}.",
            plot=plot,
            table=Table(head=("", *points), rows=tuple(rows)),
        )
    ]


def _values(site: SiteHorizon, field: str) -> Row:
    found: Row = getattr(site, field)
    return found


def _summary(title: str, rows: Sequence[tuple[str, Row]], unit: str, *, share: bool = False) -> str:
    """What the plot shows, in a sentence: the range, and who is at its ends."""
    means = [(sum(values) / len(values), name) for name, values in rows if values]
    if not means:
        return f"{title}: no values."
    flat = [value for _, values in rows for value in values]
    (least, low), (most, high) = min(means), max(means)
    show = "{:.0%}".format if share else "{:,.4g}".format
    of = "" if share else f" {unit}"
    if min(flat) == max(flat):
        return f"{title}: {show(flat[0])}{of} throughout."
    text = f"{title}, from {show(min(flat))} to {show(max(flat))}{of}."
    if 1 < len(means) <= FEW:
        text += f" On average: {', '.join(f'{name} {show(mean)}{of}' for mean, name in means)}."
    elif means[1:]:
        text += f" On average, {high} has the most ({show(most)}{of}) and {low} the least ({show(least)}{of})."
    return text


def _shown(name: str) -> str:
    """A name as Plotly shows it letter for letter; it knows no entity for quotes, and has no use for one."""
    return escape(name, quote=False)


def _time(moment: datetime) -> str:
    """UTC, as Plotly reads times."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "margin": {"l": 40, "r": 12, "t": 8, "b": 44},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.2},
        "xaxis": {"type": "date", "automargin": True, "nticks": 6, "tickangle": 0, "tickformat": "%H:%M\n%d %b"},
        "yaxis": {"automargin": True, "rangemode": "tozero", "ticksuffix": " "},
        "height": 320,
    } | more


def _lines(
    times: Sequence[Any], rows: Sequence[tuple[str, Points]], *, shape: str = "linear", mode: str = "lines"
) -> dict[str, Any]:
    traces = [
        {
            "type": "scatter",
            "mode": mode,
            "name": _shown(name),
            "x": times,
            "y": values,
            "line": {"shape": shape, "width": 2, "dash": DASHES[place % len(DASHES)]},
        }
        for place, (name, values) in enumerate(rows)
    ]
    return {"data": traces, "layout": _layout()}


def _bars(times: Sequence[str], rows: Sequence[tuple[str, Points]]) -> dict[str, Any]:
    traces = [{"type": "bar", "name": _shown(name), "x": times, "y": values} for name, values in rows]
    layout = _layout(barmode="stack", bargap=0.05)
    layout["yaxis"] |= {"tickformat": ".0%", "range": [0, 1]}
    return {"data": traces, "layout": layout}


def _areas(times: Sequence[str], rows: Sequence[tuple[str, Points]]) -> dict[str, Any]:
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "all",
            "name": _shown(name),
            "x": times,
            "y": values,
            "line": {"width": 1},
        }
        for name, values in rows
    ]
    layout = _layout()
    layout["yaxis"] |= {"tickformat": ".0%", "range": [0, 1]}
    return {"data": traces, "layout": layout}


def _heat(times: Sequence[str], rows: Sequence[tuple[str, Points]], *, share: bool = False) -> dict[str, Any]:
    """Sites by time, first site at the top."""
    trace = {
        "type": "heatmap",
        "x": times,
        "y": [_shown(name) for name, _ in rows],
        "z": [values for _, values in rows],
        "colorbar": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "thickness": 10, "nticks": 5}
        | ({"tickformat": ".0%"} if share else {}),
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y}, %{x}: %{z:.0%}<extra></extra>" if share else "%{y}, %{x}: %{z:.4g}<extra></extra>",
    }
    layout = _layout(height=max(260, 90 + 16 * len(rows)))
    layout["yaxis"] = {"type": "category", "autorange": "reversed", "automargin": True, "dtick": 1}
    return {"data": [trace], "layout": layout}
