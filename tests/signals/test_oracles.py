"""The same bytes through independent parsers (entsoe-py, gridstatus, watttime, pvlib), which run in an environment of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from green_llm.domain.series import Place, Quantity, SignalKind
from green_llm.signals.factors import LIFECYCLE
from green_llm.signals.feed import Ask
from green_llm.signals.registry import FEEDS
from green_llm.signals.renewables import solar_output

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data" / "signals"
PYTHON = Path(os.environ.get("GREEN_LLM_ORACLES", Path.home() / ".cache" / "green-llm" / "oracles")) / "bin" / "python"
NOW = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
WEATHER = [
    (g, air, wind) for g in (20.0, 309.8, 650.0, 1000.0) for air in (-10.0, 6.55, 38.0) for wind in (0.0, 2.0, 12.0)
]
HISTORICAL = json.dumps(
    {
        "data": [
            {"generated_at": f"2026-11-21T0{hour}:00:00+00:00",
             "forecast": [{"point_time": f"2026-11-21T0{hour}:{5 * n:02}:00+00:00", "value": 870.0 + n - hour} for n in range(4)]}
            for hour in (0, 1)
        ],
        "meta": {"units": "lbs_co2_per_mwh", "region": "CAISO_NORTH", "data_point_period_seconds": 300},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def oracles() -> dict[str, Any]:
    if not PYTHON.exists():
        if os.environ.get("GREEN_LLM_E2E_REQUIRED"):
            pytest.fail(f"{PYTHON} is not there; run tests/oracles/build")
        pytest.skip(
            "the independent parsers are not installed: tests/oracles/build DIRECTORY, and GREEN_LLM_ORACLES=DIRECTORY"
        )
    asked = json.dumps({"watttime": HISTORICAL, "pvlib": WEATHER})
    command = [str(PYTHON), str(ROOT / "oracles" / "parse.py"), str(DATA)]
    ran = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def ours(service: str, kind: Quantity, *bodies: bytes, past: bool = False, now: datetime = NOW, **params: str) -> list[tuple[float, float]]:  # fmt: skip
    ask = Ask(kind, params, now - timedelta(days=3), now + timedelta(days=3), now, place=Place(0.0, 0.0))
    feed = FEEDS[service]
    parse = feed.past.parse if past and feed.past is not None and feed.past.parse is not None else feed.parse
    return [(point.start.timestamp(), point.value) for point in parse(ask, bodies).points]


def test_entsoe_prices(oracles: dict[str, Any]) -> None:
    body = (DATA / "entsoe" / "a44-a03.xml").read_bytes()
    assert ours("Entsoe", SignalKind.ELECTRICITY_PRICE, body, zone="x") == [
        tuple(row) for row in oracles["entsoe"]["prices"]
    ]


def test_entsoe_generation(oracles: dict[str, Any]) -> None:
    body = (DATA / "entsoe" / "a75-generation.xml").read_bytes()
    generation = oracles["entsoe"]["generation"]
    assert set(generation) == {"Wind Onshore Actual Aggregated", "Hydro Pumped Storage Actual Consumption"}
    starts = [start for start, _ in generation["Wind Onshore Actual Aggregated"]]
    # Pumping consumes; what is generated is all wind.
    expected = [(start, LIFECYCLE["wind"]) for start in starts]
    assert ours("Entsoe", SignalKind.CARBON_INTENSITY, body, zone="x") == expected


def test_caiso_day_ahead(oracles: dict[str, Any]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("prc.csv", (DATA / "caiso_oasis" / "prc-lmp.csv").read_bytes())
    found = ours("CaisoOasis", SignalKind.ELECTRICITY_PRICE, packed.getvalue(), node="TH_NP15_GEN-APND")
    assert found == [tuple(row) for row in oracles["caiso"]["prices"]]


def test_caiso_mix(oracles: dict[str, Any]) -> None:
    body = (DATA / "caiso_outlook" / "fuelsource.csv").read_bytes()
    day = datetime(2026, 11, 21, 12, tzinfo=UTC)
    ask = Ask(SignalKind.CARBON_INTENSITY, {}, day - timedelta(hours=4), day + timedelta(hours=10), day)
    past = FEEDS["CaisoOutlook"].past
    assert past is not None
    assert past.parse is not None
    found = {p.start.timestamp(): p.value for p in past.parse(ask, [body]).points}
    names = {"Biogas": "biomass", "Small Hydro": "hydro", "Large Hydro": "hydro", "Natural Gas": "gas"}
    assert oracles["caiso"]["mix"]
    for row in oracles["caiso"]["mix"]:
        start = row.pop("start")
        mix = [(LIFECYCLE[names.get(name, name.lower())], max(0.0, mw)) for name, mw in row.items() if name not in ("Batteries", "Imports")]  # fmt: skip
        assert found[start] == pytest.approx(sum(factor * mw for factor, mw in mix) / sum(mw for _, mw in mix))


def test_watt_time_history(oracles: dict[str, Any]) -> None:
    ask = Ask(SignalKind.CARBON_INTENSITY, {"region": "CAISO_NORTH"}, NOW, NOW, NOW)
    past = FEEDS["WattTime"].past
    assert past is not None
    assert past.parse is not None
    found = past.parse(ask, [HISTORICAL.encode()])
    assert found.unit == "lb/MWh"
    rows = [[p.issued_at.timestamp(), p.start.timestamp(), p.value] for p in found.points if p.issued_at]
    assert rows == oracles["watttime"]


def test_solar_output(oracles: dict[str, Any]) -> None:
    assert [solar_output(*case) for case in WEATHER] == pytest.approx(oracles["pvlib"], rel=1e-3)
