"""From irradiance and wind to the output of an installation, kW per kW of nameplate capacity. Pure.

Solar: the PVWatts chain (Dobos 2014, NREL/TP-6A20-62641) with Faiman's cell temperature. Wind: a generic curve of a machine of
3 MW, the power law between two heights, and the density correction of IEC 61400-12-1.
"""

from __future__ import annotations

import math

import numpy as np

GAMMA_PER_KELVIN = -0.0035
"""Temperature coefficient of a modern module."""
LOSSES = 1.0 - 0.98 * 0.97 * 0.98 * 0.98 * 0.995 * 0.985 * 0.99 * 0.97
"""PVWatts' defaults: soiling, shading, mismatch, wiring, connections, first light, nameplate, availability."""
FAIMAN_U0, FAIMAN_U1 = 25.0, 6.84
INVERTER_NOMINAL, INVERTER_REFERENCE = 0.96, 0.9637
DC_TO_AC = 1.2
CURVE_M_PER_S = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 25.0)
CURVE_SHARE = (0.01, 0.04, 0.09, 0.17, 0.28, 0.42, 0.58, 0.74, 0.88, 0.96, 0.99, 1.0, 1.0)
FARM = 0.9
"""Wakes and availability."""
STANDARD_DENSITY = 1.225
GAS_CONSTANT = 287.05


def solar_output(irradiance_w_per_m2: float, air_celsius: float, wind_m_per_s: float) -> float:
    """AC output of a plane that gets this irradiance, kW per kW of modules; at most the inverter's rating."""
    if irradiance_w_per_m2 <= 0:
        return 0.0
    cell = air_celsius + irradiance_w_per_m2 / (FAIMAN_U0 + FAIMAN_U1 * max(0.0, wind_m_per_s))
    direct = irradiance_w_per_m2 / 1000.0 * (1.0 + GAMMA_PER_KELVIN * (cell - 25.0)) * (1.0 - LOSSES)
    rating = 1.0 / DC_TO_AC
    limit = rating / INVERTER_NOMINAL
    load = direct / limit
    if load <= 0:
        return 0.0
    efficiency = INVERTER_NOMINAL / INVERTER_REFERENCE * (-0.0162 * load - 0.0059 / load + 0.9858)
    return float(min(max(0.0, efficiency * direct), rating))


def wind_output(
    lower: tuple[float, float], upper: tuple[float, float], hub_m: float, air_celsius: float, pressure_hpa: float
) -> float:
    """Output at hub height from (height m, speed m/s) at two heights, kW per kW."""
    speed = _at_height(lower, upper, hub_m)
    density = pressure_hpa * 100.0 / (GAS_CONSTANT * (air_celsius + 273.15))
    effective = speed * (density / STANDARD_DENSITY) ** (1.0 / 3.0)
    if not CURVE_M_PER_S[0] <= effective <= CURVE_M_PER_S[-1]:
        return 0.0
    return FARM * float(np.interp(effective, CURVE_M_PER_S, CURVE_SHARE))


def _at_height(lower: tuple[float, float], upper: tuple[float, float], height_m: float) -> float:
    """The power law through two measured heights; where one is calm, the nearer of them."""
    (low_m, low), (high_m, high) = lower, upper
    if low <= 0.0 or high <= 0.0:
        return low if abs(height_m - low_m) < abs(height_m - high_m) else high
    exponent = math.log(high / low) / math.log(high_m / low_m)
    return float(low * (height_m / low_m) ** exponent)
