"""Open-Meteo: weather forecasts, made into the output of on-site solar and wind, and into the water of cooling.

https://open-meteo.com/en/docs. CC BY 4.0; the free host is for non-commercial use, others take an apikey. Radiation at T is the
mean of the hour before T, wind and temperature are instants. Azimuth 0 is south there; ours is clockwise from north. The tilted
irradiance is the service's own (isotropic sky, albedo 0.2): it is not transposed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from green_llm.domain.series import Point, Quality, Quantity, SignalKind
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Request, json_of, list_of, number, ordered, utc
from green_llm.signals.renewables import solar_output, wind_output
from green_llm.signals.wet_bulb import site_wue

HOUR = timedelta(hours=1)
SOLAR = ("global_tilted_irradiance", "temperature_2m", "wind_speed_10m")
WIND = ("wind_speed_80m", "wind_speed_120m", "temperature_2m", "surface_pressure")
WET_BULB = ("wet_bulb_temperature_2m",)
UNITS = {
    "global_tilted_irradiance": "W/m²", "temperature_2m": "°C", "wind_speed_10m": "m/s", "wind_speed_80m": "m/s",
    "wind_speed_120m": "m/s", "surface_pressure": "hPa", "wet_bulb_temperature_2m": "°C",
}  # fmt: skip


def requests(ask: Ask) -> list[Request]:
    """The weather of the site, yesterday to the day after tomorrow."""
    place = ask.place
    if place is None:
        raise SignalError("needs a site's location")
    names = NAMES[ask.kind]
    query = {
        "latitude": f"{place.latitude:g}", "longitude": f"{place.longitude:g}", "hourly": ",".join(names),
        "wind_speed_unit": "ms", "timezone": "GMT", "past_days": "1", "forecast_days": "4",
    }  # fmt: skip
    if ask.kind is SignalKind.SOLAR_OUTPUT:
        azimuth = (place.azimuth_degrees - 180.0 + 180.0) % 360.0 - 180.0
        query |= {"tilt": f"{place.tilt_degrees:g}", "azimuth": f"{azimuth:g}"}
    return [Request("/forecast", query, private={"apikey": ask.secret} if ask.secret else {})]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """KW per kW or L/kWh, an hour each. No issue time is given: what is fetched is as of now."""
    document = json_of(bodies[0])
    document = document[0] if isinstance(document, list) and document else document
    hourly = document.get("hourly") if isinstance(document, dict) else None
    if not isinstance(hourly, dict):
        raise SignalError(f"the answer has no hourly values: {str(document)[:120]}")
    names = NAMES[ask.kind]
    units = document.get("hourly_units") or {}
    for name in names:
        if name in units and units[name] != UNITS[name]:
            raise SignalError(f"{name} is in {units[name]}, not in {UNITS[name]}")
    stamps = [utc(text) for text in list_of(hourly, "time")]
    columns = {name: list_of(hourly, name) for name in names}
    make = MAKERS[ask.kind]
    points = []
    for at in range(len(stamps) - 1):
        value = make(ask, columns, at)
        if value is not None:
            start, end = stamps[at], stamps[at + 1]
            past = end <= ask.now
            points.append(
                Point(start, end, value, Quality.ESTIMATED if past else Quality.FORECAST, end if past else ask.now)
            )
    return Found(
        "L/kWh" if ask.kind is SignalKind.WUE else "kW/kW",
        ordered([point for point in points if point.end - point.start == HOUR]),
    )


def _solar(ask: Ask, columns: dict[str, list[Any]], at: int) -> float | None:
    """Of the hour from ``at``: its radiation is the next stamp's; the instants are averaged."""
    del ask
    plane = number(columns["global_tilted_irradiance"][at + 1])
    air, wind = (_mean(columns[name], at) for name in ("temperature_2m", "wind_speed_10m"))
    return None if plane is None or air is None or wind is None else solar_output(plane, air, wind)


def _wind(ask: Ask, columns: dict[str, list[Any]], at: int) -> float | None:
    lower, upper, air, pressure = (_mean(columns[name], at) for name in WIND)
    if lower is None or upper is None or air is None or pressure is None or ask.place is None:
        return None
    return wind_output((80.0, lower), (120.0, upper), ask.place.hub_height_m, air, pressure)


def _water(ask: Ask, columns: dict[str, list[Any]], at: int) -> float | None:
    wet_bulb = _mean(columns["wet_bulb_temperature_2m"], at)
    if wet_bulb is None or ask.place is None:
        return None
    return site_wue(wet_bulb, ask.place.wue_annual_mean_l_per_kwh, ask.place.wue_curve_mean_l_per_kwh)


def _mean(values: list[Any], at: int) -> float | None:
    first, second = number(values[at]), number(values[at + 1])
    return None if first is None or second is None else (first + second) / 2.0


NAMES: dict[Quantity, tuple[str, ...]] = {
    SignalKind.SOLAR_OUTPUT: SOLAR,
    SignalKind.WIND_OUTPUT: WIND,
    SignalKind.WUE: WET_BULB,
}
MAKERS: dict[Quantity, Callable[[Ask, dict[str, list[Any]], int], float | None]] = {
    SignalKind.SOLAR_OUTPUT: _solar,
    SignalKind.WIND_OUTPUT: _wind,
    SignalKind.WUE: _water,
}
FEED = Feed(requests, parse)
