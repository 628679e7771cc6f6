"""An account as a JSON object and as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from math import floor, log10
from typing import Any

from rich.console import Console
from rich.table import Table

from green_llm.cli.account import Account
from green_llm.domain.amounts import Amounts
from green_llm.domain.audit import IN_FORCE, NEAREST, STATIC
from green_llm.services.statement import Statement

NOT_COUNTED = (
    "Embodied carbon, the network, idle power and everything else the model does not see are not in it: emissions per "
    "1,000 tokens are the E x I of SCI (ISO/IEC 21031) over its functional unit, without M."
)
BASELINES = {NEAREST: "nearest site", STATIC: "weights of adoption"}
TOKENS = 1000.0
NARROWEST = 132
_INVENTORY = ("emissions_kg", "carbon_cost", "market_emissions_kg")
Read = Callable[[Amounts], float]


def takes_inventory(account: Account) -> bool:
    """Whether emissions are amounts; marginal ones are differences alone."""
    return not account.carbon_basis.startswith("Marginal")


def account_document(account: Account) -> dict[str, Any]:
    """An account as `green-llm account --json` prints it."""
    return {
        "policy": account.policy,
        "month": account.month,
        "currency": account.currency,
        "carbon_basis": account.carbon_basis,
        "booked": _statement_document(account, account.booked),
        "restated": None if account.restated is None else _statement_document(account, account.restated),
        "ledger": _ledger_document(account),
        "not_counted": NOT_COUNTED,
    }


def _statement_document(account: Account, found: Statement) -> dict[str, Any]:
    ours = found.sides[IN_FORCE]
    return {
        **{side: _amounts(account, amounts) for side, amounts in found.sides.items()},
        "saved_against": {
            side: {
                "cost": amounts.cost - ours.cost,
                "emissions_kg": found.avoided_kg[side],
                "water_l": amounts.water_l - ours.water_l,
            }
            for side, amounts in found.sides.items()
            if side != IN_FORCE
        },
        "market_based": _market(account, found),
        "sites": {name: _amounts(account, amounts) for name, amounts in found.sites.items()},
        "classes": {name: _amounts(account, amounts) for name, amounts in found.classes.items()},
        "measured_share": ours.measured_kwh / ours.energy_kwh if ours.energy_kwh else 0.0,
        "signal_qualities": {kind.value: dict(qualities) for kind, qualities in found.qualities.items()},
    }


def _amounts(account: Account, amounts: Amounts) -> dict[str, Any]:
    """Every field, and what 1,000 tokens take; marginal emissions are in none."""
    inventory = takes_inventory(account)
    hidden = ("market_emissions_kg", *(() if inventory else _INVENTORY))
    per = TOKENS / amounts.tokens if amounts.tokens else None
    own = {name: value for name, value in asdict(amounts).items() if name not in hidden}
    if per is None:
        return own | {"cost": amounts.cost, "water_l": amounts.water_l, "per_1000_tokens": None}
    rates = {"cost": amounts.cost * per, "energy_wh": 1000 * amounts.energy_kwh * per, "water_l": amounts.water_l * per}
    rates |= {"emissions_g": 1000 * amounts.emissions_kg * per} if inventory else {}
    return own | {"cost": amounts.cost, "water_l": amounts.water_l, "per_1000_tokens": rates}


def _market(account: Account, found: Statement) -> dict[str, float] | None:
    """By what sites have contracted: beside the location-based figure, never netted. None where no site says so."""
    ours = found.sides[IN_FORCE]
    if not found.contracted_kwh or not takes_inventory(account):
        return None
    return {
        "emissions_kg": ours.market_emissions_kg,
        "covered_share": found.contracted_kwh / ours.grid_energy_kwh if ours.grid_energy_kwh else 0.0,
    }


def _ledger_document(account: Account) -> dict[str, Any] | None:
    """What the ledger has of the month, and whether the audit has all of it."""
    month = account.ledger
    if month is None:
        return None
    whole = month.in_force.energy_kwh
    return {
        "in_force": _amounts(account, month.in_force),
        "nearest": _amounts(account, month.nearest),
        "static": _amounts(account, month.static),
        "uncharged_seconds": month.uncharged_seconds,
        "audited_share": account.audited_kwh / whole if whole else None,
    }


def print_account(account: Account) -> None:
    """An account as tables."""
    console = Console(width=max(Console().width, NARROWEST))
    found = account.restated or account.booked
    console.print(f"[bold]{account.policy}[/], {account.month} (UTC), carbon counted as {account.carbon_basis}")
    console.print(_totals(account, found))
    console.print(_by_class(account, found))
    console.print(_worth(account))
    for line in _notes(account, found):
        console.print(line)


def _rows(account: Account) -> list[tuple[str, Read, bool]]:
    """Label, value, and whether it is an emission."""
    currency = account.currency
    return [
        (f"cost ({currency})", lambda a: a.cost, False),
        ("emissions (kgCO2e, location-based)", lambda a: a.emissions_kg, True),
        ("water (L)", lambda a: a.water_l, False),
        ("  on site", lambda a: a.water_on_site_l, False),
        ("  off site", lambda a: a.water_off_site_l, False),
        ("  weighted by scarcity", lambda a: a.water_weighted_l, False),
        ("energy (kWh)", lambda a: a.energy_kwh, False),
        ("  from the grid", lambda a: a.grid_energy_kwh, False),
        ("queries", lambda a: a.queries, False),
        ("tokens", lambda a: a.tokens, False),
        ("mean delay (ms)", lambda a: 1000.0 * a.mean_delay_s, False),
    ]


def _totals(account: Account, found: Statement) -> Table:
    """Booked and restated, and what the baselines would have taken."""
    table = Table(
        "", "booked", "restated", "nearest site", "weights of adoption", "saved: nearest", "saved: adoption", box=None,
        header_style="bold",
    )  # fmt: skip
    inventory = takes_inventory(account)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, read, emission in _rows(account):
        values = [
            read(account.booked.sides[IN_FORCE]),
            None if account.restated is None else read(account.restated.sides[IN_FORCE]),
            *(read(found.sides[side]) for side in BASELINES),
        ]
        ours = read(found.sides[IN_FORCE])
        saved = [found.avoided_kg[side] if emission else read(found.sides[side]) - ours for side in BASELINES]
        shown = ["-" if value is None else _number(value) for value in values]
        table.add_row(
            label,
            *(["marginal"] * 4 if emission and not inventory else shown),
            *(_number(value, "+") for value in saved),
        )
    return table


def _number(value: float, sign: str = "") -> str:
    """Two digits after the point where they matter."""
    return format(value, f"{sign},.0f" if abs(value) >= 100_000 else f"{sign},.2f")


def _small(value: float) -> str:
    """Four digits that say something, whatever stands before them."""
    if not value:
        return "0"
    digits = 3 - floor(log10(abs(value)))
    return f"{value:,.{max(0, digits)}f}"


def _by_class(account: Account, found: Statement) -> Table:
    currency = account.currency
    heads = ["tokens", "kWh", currency, "L", f"{currency}/1,000 tokens", "L/1,000 tokens"]
    heads += ["kgCO2e", "g/1,000 tokens"] if takes_inventory(account) else []
    table = Table("demand, class", *heads, box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, amounts in found.classes.items():
        per = TOKENS / amounts.tokens if amounts.tokens else 0.0
        cells = [
            f"{amounts.tokens:,.0f}",
            f"{amounts.energy_kwh:,.2f}",
            f"{amounts.cost:,.2f}",
            f"{amounts.water_l:,.1f}",
        ]
        cells += [_small(amounts.cost * per), _small(amounts.water_l * per)]
        if takes_inventory(account):
            cells += [f"{amounts.emissions_kg:,.3f}", _small(1000 * amounts.emissions_kg * per)]
        table.add_row(name, *cells)
    return table


def _worth(account: Account) -> Table:
    """How the factors came to be, as shares of what they were multiplied with."""
    table = Table("signal", "booked", "restated", box=None, header_style="bold")
    restated = None if account.restated is None else account.restated.qualities
    for kind, booked in account.booked.qualities.items():
        now = "-" if restated is None else _shares(restated.get(kind, {}))
        table.add_row(kind.value, _shares(booked), now)
    return table


def _shares(qualities: Any) -> str:
    return ", ".join(f"{share:.0%} {quality}" for quality, share in sorted(qualities.items(), key=lambda q: -q[1]))


def _notes(account: Account, found: Statement) -> list[str]:
    ours = found.sides[IN_FORCE]
    measured = ours.measured_kwh / ours.energy_kwh if ours.energy_kwh else 0.0
    notes = [
        f"Shares of sites: {measured:.0%} of the energy as gateways measured them, the rest by the weights in force."
    ]
    market = _market(account, found)
    if market is not None:
        notes.append(
            f"Market-based: {market['emissions_kg']:,.2f} kgCO2e, for {market['covered_share']:.0%} of the grid energy; it "
            "stands beside the location-based figure and is not netted against it."
        )
    if account.restated is None:
        notes.append("Not restated: the policy's resources are not in this directory.")
    ledger = _ledger_document(account)
    if ledger is not None:
        share = ledger["audited_share"]
        notes.append(f"The ledger has {account.ledger.in_force.energy_kwh:,.2f} kWh" if account.ledger else "")
        notes[-1] += f"; the audit has {share:.1%} of them." if share is not None else "."
        if ledger["uncharged_seconds"]:
            notes.append(f"{ledger['uncharged_seconds']:,.0f} s had no value for some signal: that is not booked.")
    return [*notes, NOT_COUNTED]
