"""Restating: the same energy with what signals are known to have been by now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from green_llm.cli.account import Account
from green_llm.cli.account_report import NOT_COUNTED, account_document, print_account
from green_llm.domain.audit import AMOUNTS, IN_FORCE, NEAREST, NUMBERS, Rows
from green_llm.domain.request import CarbonAccounting, LiveSettings, Resources, Source
from green_llm.domain.series import Point, Quality, SignalKind, SignalRef, SlotValue
from green_llm.domain.time import Slots
from green_llm.domain.topology import Renewable, RenewableType
from green_llm.errors import StoreError
from green_llm.services.restating import Known, covering, known_of, restated
from green_llm.services.statement import groups, statement
from green_llm.signals.collect import Collector
from green_llm.signals.recordings import Question, Recordings
from green_llm.store.audit_files import AuditFiles
from support.planner import Planner, fleet
from support.resources import CREATED, NOW, static

HOUR = timedelta(hours=1)
EVER = (NOW - timedelta(days=40), NOW + timedelta(days=40))
AVERAGE, MARGINAL = CarbonAccounting(), CarbonAccounting("Marginal", "Direct", "Consumption")


def sunny(price: float = 100.0, sun: float = 0.5) -> Resources:
    """All traffic at the near site, which has 0.8 kW of sun by its nameplate: 0.4 kW of the 1 kW that is used."""
    plain = fleet(cheap={"labels": {"gone": "yes"}}, near={"renewables": (Renewable(RenewableType.SOLAR, 0.8),)})
    near = plain.sites["near"]
    near = replace(near, signals={**near.signals, SignalKind.SOLAR_OUTPUT: (SignalRef("sun"),)})
    sources = {
        **plain.sources,
        "sun": static("sun", sun, "kW/kW"),
        "price-near": static("price-near", price, "USD/MWh"),
    }
    return replace(plain, sites={"near": near}, sources=sources)


async def booked(tmp_path: Path, resources: Resources, hours: int = 2) -> Rows:
    files = AuditFiles(tmp_path)
    planner = Planner(audit=files)
    start = NOW.replace(minute=0)
    for hour in range(hours + 1):
        await planner.plan(resources, start + hour * HOUR)
    return files.read("default", *EVER)


def known(rows: Rows, kind: SignalKind, value: float, hour: int | None = None) -> Known:
    """A value measured at the near site in one hour, or in all."""
    starts = sorted(set(rows["start_time"]))
    chosen = starts if hour is None else [starts[hour]]
    slot = SlotValue(value, "meter", Quality.MEASURED)
    return {("near", kind, start, start + np.timedelta64(1, "h")): slot for start in chosen}


def total_of(rows: Rows, name: str, side: str = IN_FORCE) -> float:
    return float(rows[name][rows["side"] == side].sum())


async def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    rows = await booked(tmp_path, sunny())
    assert restated(rows, {}) is rows
    again = restated(rows, known(rows, SignalKind.ELECTRICITY_PRICE, 100.0))
    for name in NUMBERS:
        assert again[name] == pytest.approx(rows[name], nan_ok=True), name


async def test_a_revised_factor_is_multiplied_with_the_same_energy(tmp_path: Path) -> None:
    rows = await booked(tmp_path, sunny())
    # 1 kWh an hour, 0.4 of it the sun's: 0.6 kWh of the grid at 400 g, then one of the two hours at 500 g.
    assert total_of(rows, "emissions_kg") == pytest.approx(2 * 0.6 * 0.4)
    again = restated(rows, known(rows, SignalKind.CARBON_INTENSITY, 500.0, hour=1))
    assert total_of(again, "emissions_kg") == pytest.approx(0.6 * 0.4 + 0.6 * 0.5)
    assert total_of(again, "emissions_kg", NEAREST) == pytest.approx(0.6 * 0.4 + 0.6 * 0.5)
    assert again["cost_paid"] == pytest.approx(rows["cost_paid"])
    ours = again["side"] == IN_FORCE
    assert sorted(zip(again["carbon_source"][ours], again["carbon_quality"][ours], strict=True)) == [
        ("carbon", "static"), ("meter", "measured")
    ]  # fmt: skip


async def test_less_sun_than_was_foreseen_means_more_from_the_grid(tmp_path: Path) -> None:
    rows = await booked(tmp_path, sunny())
    again = restated(rows, known(rows, SignalKind.SOLAR_OUTPUT, 0.25))
    assert total_of(rows, "grid_energy_kwh") == pytest.approx(2 * 0.6)
    assert total_of(again, "grid_energy_kwh") == pytest.approx(2 * 0.8)
    assert total_of(again, "cost_paid") == pytest.approx(2 * 0.8 * 0.1)
    assert total_of(again, "energy_kwh") == pytest.approx(2.0)


async def test_renewables_that_gave_way_did_so(tmp_path: Path) -> None:
    # At a negative price all came from the grid; a price that was positive after all does not undo it.
    rows = await booked(tmp_path, sunny(price=-20.0))
    assert total_of(rows, "displaced_renewables_kwh") == pytest.approx(2 * 0.4)
    again = restated(rows, known(rows, SignalKind.ELECTRICITY_PRICE, 30.0))
    assert total_of(again, "grid_energy_kwh") == pytest.approx(2.0)
    assert total_of(again, "cost_paid") == pytest.approx(2.0 * 0.03)
    assert total_of(again, "cost_earned") == 0.0


async def test_what_was_not_known_is_filled_in(tmp_path: Path) -> None:
    plain = sunny()
    gone = replace(plain, sources={**plain.sources, "carbon": static("carbon", 1.0, "USD/MWh")})  # of no use
    rows = await booked(tmp_path, gone)
    assert np.isnan(rows["emissions_kg"]).all()
    ((_, _, part),) = groups(rows)
    assert statement(part).qualities[SignalKind.CARBON_INTENSITY] == {"unknown": 1.0}
    again = restated(rows, known(rows, SignalKind.CARBON_INTENSITY, 500.0))
    assert total_of(again, "emissions_kg") == pytest.approx(2 * 0.6 * 0.5)


async def test_revised_recordings_are_taken_and_forecasts_never(tmp_path: Path) -> None:
    resources = sunny()
    rows = await booked(tmp_path / "audit", resources)
    recordings = Recordings(tmp_path / "recordings")
    question = Question("maps", SignalKind.CARBON_INTENSITY, {"zone": "DE"})
    first = NOW.replace(minute=0)
    for hour, value, quality, lag, revised in (
        (0, 300.0, Quality.MEASURED, 1, False),
        (0, 350.0, Quality.MEASURED, 99, True),
        (1, 900.0, Quality.FORECAST, -5, False),
    ):
        start = first + hour * HOUR
        point = Point(start, start + HOUR, value, quality, start + lag * HOUR)
        recordings.add(question, "g/kWh", "", [(point, start + lag * HOUR)], revised=revised)
    recordings.flush()
    near = resources.sites["near"]
    chain = (SignalRef("maps", {"zone": "DE"}), SignalRef("carbon"))
    near = replace(near, signals={**near.signals, SignalKind.CARBON_INTENSITY: chain})
    maps = Source(
        name="maps",
        settings=LiveSettings("ElectricityMaps", "https://api.electricitymaps.com/v4", 900.0),
        params={"zone": "[A-Z]+"},
        accounting=AVERAGE,
    )

    def no_file(name: str) -> tuple[str, str]:
        raise StoreError(f"{name}: does not exist")

    collector = Collector(no_file, recordings=recordings)
    found = {}
    for slots in covering(rows):
        assert slots == Slots(first.replace(hour=0), 3600, 24)
        sources = {**resources.sources, "maps": maps}
        policy = resources.policies["default"]
        book = await collector.settled(policy, [near], sources, slots, CREATED + timedelta(days=400))
        found.update(known_of(book))
    carbon = {key: value.value for key, value in found.items() if key[1] is SignalKind.CARBON_INTENSITY}
    assert list(carbon.values()) == [350.0]
    again = restated(rows, found)
    assert total_of(again, "emissions_kg") == pytest.approx(0.6 * 0.35 + 0.6 * 0.4)


async def test_what_is_counted_in_two_ways_is_added_up_in_none(tmp_path: Path) -> None:
    rows = await booked(tmp_path, sunny())
    marginal = rows | {"carbon_basis": np.array(["Marginal/Direct/Consumption"] * len(rows["site"]), dtype=object)}
    both = {name: np.concatenate([rows[name], marginal[name]]) for name in rows}
    found = {basis: statement(part) for _, basis, part in groups(both)}
    assert set(found) == {"Average/Lifecycle/Consumption", "Marginal/Direct/Consumption"}
    assert [entry.sides[IN_FORCE].energy_kwh for entry in found.values()] == pytest.approx([2.0, 2.0])


async def test_a_marginal_account_has_differences_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = fleet({"accounting": MARGINAL}, near={"market_kg_per_kwh": 0.1}, cheap={"pue": 1.5})
    carbon = replace(static("carbon", 400.0, "g/kWh"), accounting=MARGINAL)
    rows = await booked(tmp_path, replace(plain, sources={**plain.sources, "carbon": carbon}))
    ((currency, basis, part),) = groups(rows)
    found = statement(part)
    account = Account(
        policy="default", month="2026-10", currency=currency, carbon_basis=basis, booked=found, restated=found, ledger=None,
        audited_kwh=0.0,
    )  # fmt: skip
    document = account_document(account)
    text = json.dumps({**document, "booked": {**document["booked"], "saved_against": None}, "restated": None})
    assert "emissions_" not in text.replace(NOT_COUNTED, "")
    assert document["booked"]["market_based"] is None
    # All at the cheap site, 1.5 kWh an hour in place of 1 at the near one: half a kWh of 400 g more, for two hours.
    assert document["booked"]["saved_against"]["nearest"]["emissions_kg"] == pytest.approx(-2 * 0.5 * 0.4)
    print_account(account)
    shown = capsys.readouterr().out
    assert "marginal" in shown
    assert "-0.40" in shown


def test_amounts_are_columns() -> None:
    assert set(AMOUNTS) < set(NUMBERS)
