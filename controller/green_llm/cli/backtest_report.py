"""A back-test as tables."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from green_llm.backtest.compare import Compared, document
from green_llm.backtest.savings import FEWEST_DAYS
from green_llm.cli.backtest import plain_console

COLUMNS = (
    ("cost", "cost", 1.0, 2),
    ("emissions_kg", "kgCO2e", 1.0, 1),
    ("water_l", "L", 1.0, 0),
    ("energy_kwh", "kWh", 1.0, 0),
    ("displaced_renewables_kwh", "displaced\nkWh", 1.0, 0),
    ("mean_delay_s", "mean\nms", 1000.0, 0),
    ("median_delay_s", "median\nms", 1000.0, 0),
    ("p95_delay_s", "p95\nms", 1000.0, 0),
    ("late_queries", "late", 1.0, 0),
)
SAVED = (("cost", "cost"), ("emissions_kg", "emissions"), ("water_l", "water"), ("energy_kwh", "energy"))


def print_compared(compared: Compared) -> None:
    """Values by method, what ours saved, and the bounds."""
    found, console = document(compared), plain_console()
    console.print(
        f"[bold]{found['policy']}[/] {found['start'][:16]}Z to {found['end'][:16]}Z, every {found['interval_seconds']} s "
        f"({found['intervals']} intervals)"
    )
    console.print(f"{found['basis']}: {found['basis_said']}")
    console.print(_values(found))
    for name, values in found["methods"].items():
        if values["broken"]:
            console.print(f"{name} breaks {broken(values['broken'])}")
    for line in incomplete(found):
        console.print(line)
    console.print(_savings(found))
    for entry in found["order"]:
        if entry["realised_excess_percent"] is not None:
            console.print(
                f"{entry['objective']}: {entry['realised_excess_percent']:.2f} % given up over all slots, of "
                f"{entry['tolerance_percent']:g} % allowed"
            )
    for objective, bound in found["bounds"].items():
        console.print(_bound(objective, bound))
    days = next((s["days"] for by in found["savings"].values() for s in by.values()), 0)
    if days < FEWEST_DAYS:
        console.print(f"too few days for intervals: {days} whole ones, {FEWEST_DAYS} are needed")


def _values(found: dict[str, Any]) -> Table:
    table = Table(Column("", no_wrap=True), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for _, label, _, _ in COLUMNS:
        table.add_column(label, justify="right")
    for name, values in found["methods"].items():
        table.add_row(name, *(number(values[key], factor, digits) for key, _, factor, digits in COLUMNS))
    return table


def incomplete(found: dict[str, Any]) -> list[str]:
    """What is missing from the values, in words."""
    lines = []
    for name, values in found["methods"].items():
        if values["uncharged_intervals"]:
            lines.append(
                f"{name} is not charged in full in {values['uncharged_intervals']} intervals: some value is not known"
            )
        if values["degraded_intervals"]:
            lines.append(f"{name} had no optimal plan in {values['degraded_intervals']} intervals")
    unknown = max(values["unknown_pairs"] for values in found["methods"].values())
    return (
        [*lines, f"up to {unknown} pairs are left out on some day: nobody knows their arrivals"] if unknown else lines
    )


def number(value: float | None, factor: float = 1.0, digits: int = 2) -> str:
    """A value for people."""
    return "marginal" if value is None else f"{value * factor:,.{digits}f}"


def broken(entries: list[dict[str, Any]]) -> str:
    """Broken limits for people."""
    worst = [(e, "without end" if e["worst_percent"] is None else f"{e['worst_percent']:.1f} %") for e in entries]
    return ", ".join(f"{e['limit']} {e['intervals']} x, at worst {over} over" for e, over in worst) or "none"


def _savings(found: dict[str, Any]) -> Table:
    table = Table("ours saves against", *(label for _, label in SAVED), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, savings in found["savings"].items():
        flagged = " (breaks limits)" if savings["cost"]["against_infeasible"] else ""
        table.add_row(name + flagged, *(saving(savings[key]) for key, _ in SAVED))
    return table


def saving(entry: dict[str, Any]) -> str:
    """A saving for people, with its interval where there are enough days."""
    if entry["percent"] is None:
        return f"{entry['amount']:+,.2f}"
    text = f"{entry['percent']:+.1f} %"
    if entry["low_percent"] is not None:
        text += f" [{entry['low_percent']:+.1f}, {entry['high_percent']:+.1f}]"
    return text


def _bound(objective: str, bound: dict[str, Any]) -> str:
    if bound["value"] is None:
        return f"{objective}: no bound; on some day no plan keeps every limit"
    above = "" if bound["ours_above_percent"] is None else f"; ours is {bound['ours_above_percent']:+.1f} % above it"
    if bound["days_left_out"]:
        above = f" on days whose values are all known; {bound['days_left_out']} are left out"
    return f"{objective}: nobody could have had less than {bound['value']:,.2f} {bound['unit']}{above}"
