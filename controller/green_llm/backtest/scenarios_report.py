"""Scenarios side by side as one HTML file that needs no network: a table, the front of cost and emissions, the changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from green_llm.backtest.inputs import basis, inputs_of
from green_llm.backtest.report import COLOURS, embedded, templates
from green_llm.backtest.scenarios import AS_IT_IS, Found, fronts

CHANGES = (("cost", "cost"), ("emissions_kg", "emissions"), ("water_l", "water"), ("mean_delay_s", "mean delay"))


def scenarios_report(found: Found, document: Mapping[str, Any]) -> str:
    """The page; ``document`` is what `green-llm what-if --json` prints of the same scenarios."""
    world, name = found.scenarios.worlds[AS_IT_IS], found.scenarios.backtest.policy
    request = world.request(name)
    origin = basis(inputs_of(request, world.annotations))
    emissions = "emissions, kgCO2e"
    scenarios = document["scenarios"]
    if not request.policy.takes_inventory:
        emissions = f"emissions, kgCO2e beside “{AS_IT_IS}”"  # marginal signals mean something only as differences
        scenarios = {
            key: {**of, "emissions_kg": -of["saves"]["emissions_kg"]["amount"]} for key, of in scenarios.items()
        }
    front = fronts(found)
    figures = _figures(scenarios, front, request.policy.currency, emissions)
    return (
        templates()
        .get_template("scenarios.html")
        .render(
            found=document, scenarios=scenarios, currency=request.policy.currency, emissions=emissions, origin=origin,
            front=[name for group in front for name in group],
            plots=[embedded(title, figure) for title, figure in figures], plotly=get_plotlyjs(),
        )
    )  # fmt: skip


def _figures(
    scenarios: Mapping[str, Mapping[str, Any]], front: list[list[str]], currency: str, emissions: str
) -> Iterable[tuple[str, go.Figure]]:
    yield (
        "Cost and emissions of each scenario, and those that no other beats in both",
        _front(scenarios, front, currency, emissions),
    )
    if len(scenarios) > 1:
        yield f"Change against “{AS_IT_IS}”, %", _changes(scenarios)


def _front(
    scenarios: Mapping[str, Mapping[str, Any]], front: list[list[str]], currency: str, emissions: str
) -> go.Figure:
    """A point for each scenario; a line through those on the Pareto front of each demand."""
    figure = go.Figure()
    for names in front:
        figure.add_scatter(
            x=[scenarios[name]["cost"] for name in names], y=[scenarios[name]["emissions_kg"] for name in names],
            mode="lines", line={"color": "#999999", "dash": "dot"}, name="Pareto front", legendgroup="front",
            showlegend=names is front[0],
        )  # fmt: skip
    for number, (name, values) in enumerate(scenarios.items()):
        kept = values["keeps_limits"]
        figure.add_scatter(
            x=[values["cost"]], y=[values["emissions_kg"]], mode="markers", name=name if kept else f"{name} (breaks limits)",
            marker={"size": 11, "color": COLOURS[number % len(COLOURS)], "symbol": "circle" if kept else "x"},
        )  # fmt: skip
    figure.update_layout(xaxis={"title": f"cost, {currency}"}, yaxis={"title": emissions})
    return figure


def _changes(scenarios: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Every other scenario against the directory as it is, measure by measure; nothing where that is 0."""
    names = [name for name in scenarios if name != AS_IT_IS]
    figure = go.Figure()
    for key, label in CHANGES:
        figure.add_bar(x=names, y=[_change(scenarios, name, key) for name in names], name=label)
    figure.add_hline(y=0.0, line_width=1)
    figure.update_layout(barmode="group", yaxis={"title": "%"})
    return figure


def _change(scenarios: Mapping[str, Mapping[str, Any]], name: str, key: str) -> float | None:
    """In per cent."""
    if key == "mean_delay_s":
        base = scenarios[AS_IT_IS][key]
        return None if not base else float(100.0 * (scenarios[name][key] - base) / base)
    saved = scenarios[name]["saves"][key]["percent"]
    return None if saved is None else -float(saved)
