"""Makes the SYNTHETIC signals of the examples, and prints what they were fitted to beside what came out.

    python examples/make_signals.py            # rewrites both signals/ directories; same seed, same bytes
    python examples/make_signals.py --check    # fails if a committed file would change

Nothing here was measured. Levels and errors are fitted to the public figures cited in ``SITES`` and ``TARGETS``; where
no figure is cited, the table says "assumed".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

HERE = Path(__file__).parent
BEGIN = datetime(2026, 10, 5, tzinfo=UTC)
DAYS = 42
"""Until 16 November: the clocks go back on 1 November 2026."""
LEAD_HOURS = 48
ISSUE_HOUR = 6
"""Forecasts are issued daily at this hour, UTC, for the next 48 hours."""
BEYOND = LEAD_HOURS + ISSUE_HOUR
"""Hours after the last recorded one that forecasts reach."""
SMALL = ("oregon", "iowa", "virginia")
SMALL_BEGIN, SMALL_DAYS = datetime(2026, 10, 27, tzinfo=UTC), 8
"""What the three-sites example takes of it."""
Series = np.ndarray

EIA = "EIA Short-Term Energy Outlook, January 2025"
GSF = "Green Software Foundation real-time-cloud data, annual average"
ASSUMED = "assumed"


@dataclass(frozen=True)
class Level:
    """An annual mean and where it is from."""

    value: float
    source: str


@dataclass(frozen=True)
class Place:
    """What drives the signals of one site."""

    time_zone: str
    latitude: float
    price: Level
    """USD/MWh."""
    carbon: Level
    """gCO2e/kWh."""
    sun_in_grid: float
    """How much midday sun lowers price and carbon, 0 … 1 (assumed)."""
    wind_in_grid: float
    """How much wind lowers price and carbon, 0 … 1 (assumed)."""
    published_hour: int
    """Local hour at which day-ahead prices are out."""
    solar: bool = False
    wind: bool = False


SITES = {
    "oregon": Place("America/Los_Angeles", 45.5, Level(55, EIA), Level(120, GSF), 0.1, 0.3, 13),
    "northern-california": Place(
        "America/Los_Angeles", 37.4, Level(45, ASSUMED), Level(261, GSF), 1.0, 0.1, 13, solar=True
    ),
    "arizona": Place("America/Phoenix", 33.4, Level(40, ASSUMED), Level(380, ASSUMED), 0.7, 0.1, 13, solar=True),
    "wyoming": Place("America/Denver", 41.1, Level(42, ASSUMED), Level(600, ASSUMED), 0.2, 0.6, 13, wind=True),
    "texas": Place("America/Chicago", 29.4, Level(30, EIA), Level(389, GSF), 0.5, 0.8, 13, solar=True, wind=True),
    "iowa": Place("America/Chicago", 41.6, Level(34, ASSUMED), Level(413, GSF), 0.1, 0.9, 14, wind=True),
    "illinois": Place("America/Chicago", 41.9, Level(36, ASSUMED), Level(396, GSF), 0.1, 0.4, 13),
    "ohio": Place("America/New_York", 39.9, Level(41, ASSUMED), Level(396, GSF), 0.1, 0.1, 13),
    "virginia": Place("America/New_York", 39.1, Level(44, ASSUMED), Level(323, GSF), 0.2, 0.1, 13),
}
TARGETS = {
    "price spread": (0.35, "of the mean", ASSUMED),
    "carbon spread": (0.22, "of the mean", ASSUMED),
    "negative price hours, northern-california": (
        0.025, "of all hours", "CAISO, January to August 2017: L. Davis, Energy Institute at Haas, 2017"),
    "carbon forecast error, first 24 h": (
        0.064, "mean absolute, of the value", "Maji et al., DACF, ACM e-Energy 2022: mean over six regions"),
    "solar forecast error, first 24 h": (
        0.12, "root mean square, of capacity", "Larson et al., Renewable Energy 91, 2016: 0.103 to 0.140, day-ahead"),
    "wind forecast error, first 24 h": (0.12, "root mean square, of capacity", ASSUMED),
    "wind capacity factor": (0.335, "of capacity", "EIA, United States fleet, 2023"),
}  # fmt: skip


def main() -> int:
    """Write or check every file; print the fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    check = parser.parse_args().check
    changed = []
    for path, text in files():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="")
    report()
    print(f"{len(changed)} files {'differ' if check else 'written'}")
    return 1 if check and changed else 0


def files(days: int = DAYS) -> Iterator[tuple[Path, str]]:
    """Every CSV file of both examples, with its text."""
    for site, place in SITES.items():
        made = signals(site, days)
        tables = {
            "electricityPrice": list(price_rows(made["price"], place)),
            "carbonIntensity": list(measured_rows(made["carbon"], made["carbon forecast"], "g/kWh", 0)),
        }
        if place.solar:
            tables["solarOutput"] = list(measured_rows(made["solar"], made["solar forecast"], "kW/kW", 3))
        if place.wind:
            tables["windOutput"] = list(measured_rows(made["wind"], made["wind forecast"], "kW/kW", 3))
        for kind, rows in tables.items():
            yield HERE / "us-nine-sites" / "signals" / kind / f"{site}.csv", table(rows)
        if site in SMALL:
            end = SMALL_BEGIN + timedelta(days=SMALL_DAYS)
            for kind in ("electricityPrice", "carbonIntensity"):
                rows = [row for row in tables[kind] if SMALL_BEGIN <= row[0] < end]
                yield HERE / "three-sites" / "signals" / kind / f"{site}.csv", table(rows)


def signals(site: str, days: int = DAYS) -> dict[str, Series]:
    """Hourly values from BEGIN on, with the hours beyond; forecasts as [issue, lead]."""
    recorded = 24 * days
    place = SITES[site]
    seed = np.random.default_rng([2026, list(SITES).index(site)])
    moments = [BEGIN + timedelta(hours=hour) for hour in range(recorded + BEYOND)]
    local = np.array([m.astimezone(ZoneInfo(place.time_zone)).hour for m in moments])
    clear = clear_sky(place, moments)
    sky = np.clip(0.75 + 0.25 * correlated(seed, len(moments), 18), 0.15, 1.0)
    breeze = 1.0 / (1.0 + np.exp(-1.4 * correlated(seed, len(moments), 14)))
    wind = breeze * TARGETS["wind capacity factor"][0] / breeze[:recorded].mean()
    solar = 0.85 * clear * sky
    load = np.sin((local - 7) * np.pi / 12) + 0.8 * np.exp(-(((local - 19) / 2.0) ** 2))
    shape = 0.7 * load - 2.6 * place.sun_in_grid * solar - 1.5 * place.wind_in_grid * (breeze - 0.5)
    price = shape + 0.6 * correlated(seed, len(moments), 10) + 0.3 * correlated(seed, len(moments), 60)
    carbon = shape - 0.4 * load + 0.35 * correlated(seed, len(moments), 20)
    price_spread = TARGETS["price spread"][0]
    if site == "northern-california":
        share = TARGETS["negative price hours, northern-california"][0]
        price_spread = -1.0 / np.quantile(standard(price)[:recorded], share)
    made = {
        "price": place.price.value * (1.0 + price_spread * standard(price)),
        "carbon": np.maximum(15.0, place.carbon.value * (1.0 + TARGETS["carbon spread"][0] * standard(carbon))),
        "solar": solar,
        "wind": np.clip(wind, 0.0, 0.97),
    }
    made["carbon forecast"] = forecasts(
        seed, made["carbon"], TARGETS["carbon forecast error, first 24 h"][0], "relative"
    )
    made["solar forecast"] = forecasts(seed, made["solar"], TARGETS["solar forecast error, first 24 h"][0], "daylight")
    made["wind forecast"] = forecasts(seed, made["wind"], TARGETS["wind forecast error, first 24 h"][0], "absolute")
    return made


def correlated(seed: np.random.Generator, count: int, hours: float) -> Series:
    """Standard normal noise that forgets itself over some hours."""
    keep = np.exp(-1.0 / hours)
    steps = seed.standard_normal(count)
    found = np.empty(count)
    found[0] = steps[0]
    for n in range(1, count):
        found[n] = keep * found[n - 1] + np.sqrt(1.0 - keep**2) * steps[n]
    return found


def standard(series: Series) -> Series:
    """The same with mean 0 and spread 1 over the recorded hours."""
    return (series - series[:-BEYOND].mean()) / series[:-BEYOND].std()


def clear_sky(place: Place, moments: list[datetime]) -> Series:
    """Sine of the sun's elevation in mid-hour, 0 at night (declination by Cooper, 1969)."""
    found = []
    for moment in moments:
        middle = moment + timedelta(minutes=30)
        day = middle.timetuple().tm_yday
        declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
        offset = datetime(2026, 12, 1, tzinfo=ZoneInfo(place.time_zone)).utcoffset() or timedelta()
        hour_angle = np.radians(15 * ((middle + offset).hour + 0.5 - 12))
        latitude = np.radians(place.latitude)
        height = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
        found.append(max(0.0, float(height)))
    return np.array(found)


def forecasts(seed: np.random.Generator, actual: Series, target: float, error: str) -> Series:
    """[issue, lead]: the actual with an error that grows with lead and forgets itself over some hours."""
    issues = ISSUE_HOUR + 24 * np.arange(-1, (len(actual) - BEYOND) // 24)
    growth = 0.6 + 0.8 * np.arange(LEAD_HOURS) / LEAD_HOURS
    noise = np.array([correlated(seed, LEAD_HOURS, 8) for _ in issues]) * growth
    noise *= target / (np.abs(noise[:, :24]).mean() if error == "relative" else np.sqrt((noise[:, :24] ** 2).mean()))
    hours = issues[:, None] + np.arange(LEAD_HOURS)[None, :]
    known = actual[np.clip(hours, 0, len(actual) - 1)]
    if error == "relative":
        return np.maximum(1.0, known * (1.0 + noise))
    if error == "daylight":
        return np.where(known > 0, np.clip(known + noise, 0.0, 1.0), 0.0)
    return np.clip(known + noise, 0.0, 1.0)


Row = tuple[datetime, datetime, float, str, str, datetime | None, int]


def price_rows(price: Series, place: Place) -> Iterator[Row]:
    """Day-ahead prices: each market day (local midnight to midnight) is out the day before at the published hour."""
    zone = ZoneInfo(place.time_zone)
    for hour in range(len(price) - BEYOND):
        start = BEGIN + timedelta(hours=hour)
        day_before = start.astimezone(zone).date() - timedelta(days=1)
        issued = datetime(day_before.year, day_before.month, day_before.day, place.published_hour, tzinfo=zone)
        yield start, start + timedelta(hours=1), float(price[hour]), "USD/MWh", "forecast", issued.astimezone(UTC), 2


def measured_rows(actual: Series, forecast: Series, unit: str, digits: int) -> Iterator[Row]:
    """Measurements (known after the fact, without an issue time), and the forecasts that came before them."""
    recorded = len(actual) - BEYOND
    for hour in range(recorded):
        start = BEGIN + timedelta(hours=hour)
        yield start, start + timedelta(hours=1), float(actual[hour]), unit, "measured", None, digits
    for number in range(forecast.shape[0]):
        issued = BEGIN + timedelta(days=number - 1, hours=ISSUE_HOUR)
        for lead in range(LEAD_HOURS):
            start = issued + timedelta(hours=lead)
            if BEGIN <= start < BEGIN + timedelta(hours=recorded):
                value = float(forecast[number, lead])
                yield start, start + timedelta(hours=1), value, unit, "forecast", issued, digits


def table(rows: list[Row]) -> str:
    """Rows as CSV text."""
    lines = ["start,end,value,unit,quality,issued_at"]
    for start, end, value, unit, quality, issued, digits in sorted(rows, key=lambda row: (row[0], row[5] or BEGIN)):
        known = "" if issued is None else f"{issued:%Y-%m-%dT%H:%MZ}"
        number = f"{value:.{digits}f}".replace("-0.00", "0.00")
        lines.append(f"{start:%Y-%m-%dT%H:%MZ},{end:%Y-%m-%dT%H:%MZ},{number},{unit},{quality},{known}")
    return "\n".join(lines) + "\n"


def report() -> None:
    """Print targets, their sources, and what was generated."""
    print("SYNTHETIC signals: what they were fitted to, and what came out\n")
    for site, place in SITES.items():
        made = signals(site)
        price, carbon = made["price"][:-BEYOND], made["carbon"][:-BEYOND]
        print(f"{site}")
        print(f"  price mean  {place.price.value:6.1f} USD/MWh   {price.mean():6.1f}   [{place.price.source}]")
        print(f"  price spread, negative hours     {price.std() / price.mean():6.3f}, {(price < 0).mean():.3f}")
        print(f"  carbon mean {place.carbon.value:6.1f} g/kWh     {carbon.mean():6.1f}   [{place.carbon.source}]")
        for name, driven in (("carbon", True), ("solar", place.solar), ("wind", place.wind)):
            if driven:
                target, words, source = TARGETS[f"{name} forecast error, first 24 h"]
                error = forecast_error(made[name], made[f"{name} forecast"], name)
                print(f"  {name} forecast error {target:.3f}      {error:6.3f}   {words} [{source}]")
        if place.wind:
            print(
                f"  wind capacity factor {TARGETS['wind capacity factor'][0]:.3f}    {made['wind'][:-BEYOND].mean():6.3f}"
            )
    print("\nother targets")
    for name, (value, words, source) in TARGETS.items():
        print(f"  {name}: {value:g} {words} [{source}]")


def forecast_error(actual: Series, forecast: Series, name: str) -> float:
    """Error over the first 24 hours of lead, as its target is stated."""
    hours = ISSUE_HOUR + 24 * np.arange(-1, DAYS)[1:-1, None] + np.arange(24)[None, :]
    known, told = actual[hours], forecast[1:-1, :24]
    if name == "carbon":
        return float((np.abs(told - known) / known).mean())
    lit = known > 0 if name == "solar" else np.ones_like(known, dtype=bool)
    return float(np.sqrt(((told - known)[lit] ** 2).mean()))


if __name__ == "__main__":
    sys.exit(main())
