"""Conversions between the units users write and the units the model computes in. The only place for them."""

from __future__ import annotations

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
