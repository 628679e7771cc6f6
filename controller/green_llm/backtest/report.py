"""A back-test as one HTML file that needs no network: tables first, plots beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from green_llm.backtest.compare import Compared, document
from green_llm.backtest.methods import Method
from green_llm.backtest.savings import FEWEST_DAYS, MEASURES, by_day
from green_llm.domain.instance import FloatArray

PLOTTED = ("cost", "emissions_kg", "water_l")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999", "#8c564b")
"""Okabe and Ito's: told apart with any colour vision."""


def report(compared: Compared) -> str:
    """The page."""
    found = document(compared)
    days = next((entry["days"] for savings in found["savings"].values() for entry in savings.values()), 0)
    return templates().get_template("report.html").render(
        found=found, measures=MEASURES, plots=[embedded(name, figure) for name, figure in _figures(compared)],
        plotly=get_plotlyjs(), days=days, few=days < FEWEST_DAYS, needed=FEWEST_DAYS,
    )  # fmt: skip


def templates() -> jinja2.Environment:
    """The pages' templates; everything that comes from resources is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("green_llm.backtest"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["amount"] = _amount
    environment.filters["signed"] = lambda value: "–" if value is None else f"{value:+.1f} %"
    return environment


def _amount(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def embedded(title: str, figure: go.Figure) -> tuple[str, str]:
    """A title, and a figure as HTML; the script is on the page once."""
    figure.update_layout(
        template="plotly_white", font={"family": "system-ui, sans-serif"}, margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=380, legend={"orientation": "h", "y": -0.2}, colorway=COLOURS,
    )  # fmt: skip
    config = {"displayModeBar": False, "responsive": True}
    return title, figure.to_html(full_html=False, include_plotlyjs=False, config=config)


def _figures(compared: Compared) -> Iterable[tuple[str, go.Figure]]:
    measures = [m for m in MEASURES if m.name in PLOTTED]
    if not compared.policy.takes_inventory:
        measures = [m for m in measures if m.name != "emissions_kg"]
    for measure in measures:
        yield f"Saved so far: {measure.label}, {_unit(compared, measure.unit)}", _saved(compared, measure.of)
    yield "Where queries went, share by day", _sites(compared)


def _unit(compared: Compared, unit: str) -> str:
    return compared.policy.currency if unit == "money" else unit


def _saved(compared: Compared, of: Any) -> go.Figure:
    """Baseline minus ours, summed up day by day."""
    span, ours = compared.backtest.span, compared.ran[Method.OURS].tally.series
    figure = go.Figure()
    for method, ran in compared.ran.items():
        if method is not Method.OURS:
            saved = np.cumsum(by_day(of(ran.tally.series) - of(ours), span))
            figure.add_scatter(x=_dates(compared, len(saved)), y=saved, name=f"against {method.value}", mode="lines")
    figure.add_hline(y=0.0, line_width=1)
    return figure


def _sites(compared: Compared) -> go.Figure:
    span, request = compared.backtest.span, compared.backtest.world.request(compared.backtest.policy)
    queries = compared.ran[Method.OURS].tally.site_queries
    days = [by_day(queries[:, j], span) for j in range(queries.shape[1])]
    whole = np.maximum(np.sum(days, axis=0), 1e-12) if days else np.zeros(0)
    figure = go.Figure()
    for site, values in zip(request.sites, days, strict=True):
        figure.add_bar(x=_dates(compared, len(values)), y=100.0 * values / whole, name=site.name)
    figure.update_layout(barmode="stack", yaxis={"title": "%", "range": [0, 100]})
    return figure


def _dates(compared: Compared, count: int) -> Sequence[Any]:
    start = np.datetime64(compared.backtest.span.start.replace(tzinfo=None), "D")
    late: FloatArray | bool = compared.backtest.span.start.hour > 0
    return [str(start + np.timedelta64(n + int(bool(late)), "D")) for n in range(count)]
