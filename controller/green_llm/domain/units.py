"""Conversions between the units users write and the units the model computes in. The only place for them."""

from __future__ import annotations

import re
from collections.abc import Mapping

JOULES_PER_KWH = 3.6e6
SECONDS_PER_HOUR = 3600.0
HOURS_PER_DAY = 24.0


def per_kwh(value_per_mwh: float) -> float:
    """A price or amount per MWh, per kWh."""
    return value_per_mwh / 1000.0


def kilograms(grams: float) -> float:
    """Grams in kilograms; also g/kWh in kg/kWh, and an amount per tonne in the same amount per kilogram."""
    return grams / 1000.0


def kwh_from_millijoules(millijoules: float) -> float:
    """Millijoules in kWh."""
    return millijoules / 1000.0 / JOULES_PER_KWH


def joules(kwh: float) -> float:
    """Kilowatt-hours in joules."""
    return kwh * JOULES_PER_KWH


def seconds(milliseconds: float) -> float:
    """Milliseconds in seconds."""
    return milliseconds / 1000.0


def megabits(size_bytes: float) -> float:
    """Bytes in megabits (10⁶ bits)."""
    return size_bytes * 8.0 / 1e6


def fraction(percent: float) -> float:
    """Per cent as a fraction of one."""
    return percent / 100.0


_SCALES: dict[str, tuple[str, float]] = {
    "g/kWh": ("g/kWh", 1.0),
    "kg/kWh": ("g/kWh", 1000.0),
    "kg/MWh": ("g/kWh", 1.0),
    "t/MWh": ("g/kWh", 1000.0),
    "lb/MWh": ("g/kWh", 0.45359237),
    "kW/kW": ("kW/kW", 1.0),
    "%": ("kW/kW", 0.01),
    "L/kWh": ("L/kWh", 1.0),
    "L/MWh": ("L/kWh", 0.001),
    "gal/MWh": ("L/kWh", 0.003785411784),
    "queries/h": ("queries/h", 1.0),
    "queries/s": ("queries/h", SECONDS_PER_HOUR),
}
"""Unit: the base it is a multiple of, and how many of the base it is."""


def convert(value: float, unit: str, wanted: str, exchange_rates: Mapping[str, float] | None = None) -> float:
    """A value in another unit of the same quantity; prices are ``CUR/MWh`` or ``CUR/kWh``.

    ``exchange_rates`` says what one unit of another currency is worth in the wanted one.

    Raises:
        ValueError: the units are not of one quantity; the message lists what can be converted.
    """
    base, factor = _base(unit)
    wanted_base, wanted_factor = _base(wanted)
    currency, wanted_currency = base.removesuffix("/MWh"), wanted_base.removesuffix("/MWh")
    if base != wanted_base and _is_price(base) and _is_price(wanted_base):
        rate = (exchange_rates or {}).get(currency)
        if rate is None:
            raise ValueError(
                f'"{unit}" needs an exchange rate from {currency} to {wanted_currency}; '
                "give it in spec.exchangeRates of the GreenPolicy"
            )
        return value * rate * factor / wanted_factor
    if base != wanted_base:
        known = ", ".join(name for name in (*_SCALES, "USD/MWh", "USD/kWh") if _base(name)[0] == wanted_base)
        raise ValueError(f'"{unit}" cannot be read as {wanted} (known: {known or wanted})')
    return value * factor / wanted_factor


def _is_price(base: str) -> bool:
    return re.fullmatch("[A-Z]{3}/MWh", base) is not None


def _base(unit: str) -> tuple[str, float]:
    currency, slash, energy = unit.partition("/")
    if slash and len(currency) == 3 and currency.isupper() and energy in ("MWh", "kWh"):
        return f"{currency}/MWh", 1.0 if energy == "MWh" else 1000.0
    return _SCALES.get(unit, (unit, 1.0))
