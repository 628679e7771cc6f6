"""One question to each live service: what is asked, with which parameters, and how many answers it takes."""

from __future__ import annotations

from green_llm.domain.series import Measure, Quantity, SignalKind

PRICE, CARBON = SignalKind.ELECTRICITY_PRICE, SignalKind.CARBON_INTENSITY
LISTS: dict[str, tuple[Quantity, dict[str, str], int]] = {
    "ElectricityMaps": (CARBON, {"zone": "DE"}, 2), "UKCarbonIntensity": (CARBON, {}, 2),
    "WattTime": (CARBON, {"region": "X"}, 1), "CarbonAwareSDK": (CARBON, {"location": "x"}, 1),
    "EnergyCharts": (PRICE, {"zone": "DE-LU"}, 1), "Eia": (CARBON, {"respondent": "X"}, 1),
    "GridStatusIo": (PRICE, {"dataset": "d", "location": "l"}, 1),
    "OctopusAgile": (PRICE, {"product": "p", "region": "C"}, 1), "Awattar": (PRICE, {}, 1),
    "OpenMeteo": (SignalKind.SOLAR_OUTPUT, {}, 1), "CaisoOasis": (PRICE, {"node": "n"}, 1),
    "Entsoe": (PRICE, {"zone": "z"}, 1), "CaisoOutlook": (CARBON, {}, 2), "Prometheus": (Measure.DEMAND, {}, 1),
}  # fmt: skip
