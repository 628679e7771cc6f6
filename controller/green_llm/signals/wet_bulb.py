"""Water of evaporative cooling by wet bulb. Pure.

The curve is the cooling-tower fit of "Making AI Less Thirsty" (Li, Yang, Islam, Ren; its published code), wet bulb in °F. A
tower that runs all year uses several times what fleets report, so only the curve's shape is used: a site's annual mean sets
the level.
"""

from __future__ import annotations

CYCLES = 6.0
"""Cycles of concentration: how often water passes the tower before it is drained; that code's value."""
LEAST = 0.05
"""The fit falls below zero in frost."""


def tower_wue(wet_bulb_celsius: float) -> float:
    """L/kWh of IT energy by the curve."""
    fahrenheit = wet_bulb_celsius * 9.0 / 5.0 + 32.0
    evaporated = 6e-5 * fahrenheit**3 - 0.01 * fahrenheit**2 + 0.61 * fahrenheit - 10.4
    return max(LEAST, CYCLES / (CYCLES - 1.0) * evaporated)


def site_wue(wet_bulb_celsius: float, annual_mean: float, curve_mean: float) -> float:
    """L/kWh of a site whose annual mean is ``annual_mean``; ``curve_mean`` is that of the curve over its weather."""
    return annual_mean * tower_wue(wet_bulb_celsius) / curve_mean
