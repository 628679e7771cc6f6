"""What independent parsers make of the stored payloads: ``parse.py DATA`` prints one JSON object.

Run in the environment that ``tests/oracles/build`` makes.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import requests
from entsoe import parsers
from gridstatus import CAISO
from pvlib import inverter, pvsystem, temperature
from watttime import WattTimeForecast


def entsoe(data: Path) -> dict[str, Any]:
    """[start in seconds, value] of prices by resolution, and of generation by type."""
    prices = parsers.parse_prices((data / "entsoe" / "a44-a03.xml").read_text())
    mix = parsers.parse_generation((data / "entsoe" / "a75-generation.xml").read_text(), per_plant=False)
    generation = {
        " ".join(map(str, name)) if isinstance(name, tuple) else str(name): rows(column) for name, column in mix.items()
    }
    return {"prices": rows(prices["15min"]), "generation": generation}


def rows(series: Any) -> list[list[float]]:
    return [[stamp.timestamp(), float(value)] for stamp, value in series.dropna().items()]


def caiso(data: Path) -> dict[str, Any]:
    """Fuel mix of a past day and day-ahead prices, by gridstatus, whose requests are answered from the files."""
    text = (data / "caiso_outlook" / "fuelsource.csv").read_text()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("prc.csv", (data / "caiso_oasis" / "prc-lmp.csv").read_bytes())

    def get(url: str, **_: Any) -> Any:
        common = {"status_code": 200, "raise_for_status": lambda: None}
        if "oasis" in url:
            headers = {"Content-Disposition": "inline; filename=x.csv.zip;"}
            return SimpleNamespace(content=archive.getvalue(), headers=headers, **common)
        return SimpleNamespace(text=text, content=text.encode(), headers={}, **common)

    requests.get = get
    mix = CAISO().get_fuel_mix(pd.Timestamp("2026-11-21", tz="US/Pacific"))
    prices = CAISO().get_oasis_dataset(
        "lmp_day_ahead_hourly", date="2026-11-22", params={"node": "TH_NP15_GEN-APND"}, sleep=0, raw_data=False
    )
    prices = prices[prices["LMP_TYPE"] == "LMP"]
    return {
        "mix": [
            {"start": row["Interval Start"].timestamp()} | {name: float(row[name]) for name in mix.columns if name not in
             ("Time", "Interval Start", "Interval End")} for _, row in mix.iterrows()
        ],
        "prices": [[row["Interval Start"].timestamp(), float(row["MW"])] for _, row in prices.iterrows()],
    }  # fmt: skip


def watttime(body: str) -> list[list[float]]:
    """[issued, start, value] of historical forecasts."""
    parser = WattTimeForecast.__new__(WattTimeForecast)
    frame = parser._parse_historical_forecast_json([json.loads(body)])
    return [
        [issued.timestamp(), start.timestamp(), float(value)]
        for issued, start, value in zip(frame["generated_at"], frame["point_time"], frame["value"], strict=True)
    ]


def pvlib(cases: list[list[float]]) -> list[float]:
    """AC output of 1 kW of modules for (irradiance, air temperature, wind): Faiman, PVWatts DC and inverter."""
    losses = pvsystem.pvwatts_losses(shading=3, age=0, availability=3) / 100  # PVWatts' own defaults
    found = []
    for irradiance, air, wind in cases:
        cell = temperature.faiman(irradiance, air, wind, u0=25.0, u1=6.84)
        direct = pvsystem.pvwatts_dc(irradiance, cell, 1.0, -0.0035) * (1 - losses)
        found.append(float(inverter.pvwatts(direct, (1.0 / 1.2) / 0.96, 0.96)))
    return found


def main() -> None:
    data, asked = Path(sys.argv[1]), json.loads(sys.stdin.read())
    found = {
        "entsoe": entsoe(data),
        "caiso": caiso(data),
        "watttime": watttime(asked["watttime"]),
        "pvlib": pvlib(asked["pvlib"]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
