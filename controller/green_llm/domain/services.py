"""The live services that signals can come from: what each is called, where it is, what it gives and needs.

Facts are from the services' documentation, read in November 2026; docs/signals.md lists them, and what was run live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from green_llm.domain.request import CarbonAccounting
from green_llm.domain.series import SignalKind

ZONE = "[A-Z0-9-]{2,20}"
PRICE = frozenset({SignalKind.ELECTRICITY_PRICE})
CARBON = frozenset({SignalKind.CARBON_INTENSITY})
AVERAGE_LIFECYCLE = CarbonAccounting("Average", "Lifecycle", "Consumption")
AVERAGE_DIRECT = CarbonAccounting("Average", "Direct", "Consumption")
MARGINAL = CarbonAccounting("Marginal", "Direct", "Consumption")
OWN_MIX = (
    CarbonAccounting("Average", "Lifecycle", "Production"),
    CarbonAccounting("Average", "Direct", "Production"),
)
"""Generation × factors: what is made in the zone, imports left out."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One live service."""

    name: str
    base_url: str
    kinds: frozenset[SignalKind]
    poll_seconds: int
    """How often it is asked unless the source says otherwise; what it publishes, and what it allows."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Parameters a chain entry must give: regular expression each must match in full."""
    optional: Mapping[str, str] = field(default_factory=dict)
    accountings: tuple[CarbonAccounting, ...] = ()
    """What its carbon intensities can count; the first unless the source declares another."""
    needs: str | None = None
    """What its Secret holds; None where it takes none."""
    works_without: bool = False
    """Whether it answers without a key too."""


def _table(*services: Service) -> Mapping[str, Service]:
    return {service.name: service for service in services}


SERVICES = _table(
    Service(
        name="ElectricityMaps", base_url="https://api.electricitymaps.com/v4", kinds=CARBON | PRICE, poll_seconds=900,
        params={"zone": ZONE}, accountings=(AVERAGE_LIFECYCLE, AVERAGE_DIRECT), needs="the auth-token",
    ),
    Service(
        name="UKCarbonIntensity", base_url="https://api.carbonintensity.org.uk", kinds=CARBON, poll_seconds=900,
        optional={"region": "[0-9]{1,2}"}, accountings=(AVERAGE_DIRECT,),
    ),
    Service(
        name="WattTime", base_url="https://api.watttime.org", kinds=CARBON, poll_seconds=300,
        params={"region": "[A-Z0-9_]{2,40}"}, accountings=(MARGINAL,), needs="USER:PASSWORD",
    ),
    Service(
        name="CarbonAwareSDK", base_url="http://carbon-aware-sdk.carbon-aware-sdk", kinds=CARBON, poll_seconds=900,
        params={"location": "[a-z0-9-]{2,40}"}, accountings=(MARGINAL, AVERAGE_LIFECYCLE, AVERAGE_DIRECT),
    ),
    Service(
        name="EnergyCharts", base_url="https://api.energy-charts.info", kinds=PRICE | CARBON, poll_seconds=1800,
        params={"zone": "[A-Za-z0-9-]{2,12}"}, accountings=OWN_MIX,
    ),
    Service(
        name="Entsoe", base_url="https://web-api.tp.entsoe.eu", kinds=PRICE | CARBON, poll_seconds=1800,
        params={"zone": "[0-9A-Z-]{16}"}, accountings=OWN_MIX, needs="the security token",
    ),
    Service(
        name="Eia", base_url="https://api.eia.gov/v2", kinds=CARBON, poll_seconds=3600,
        params={"respondent": "[A-Z0-9]{2,6}"}, accountings=OWN_MIX, needs="the api_key",
    ),
    Service(
        name="CaisoOutlook", base_url="https://www.caiso.com/outlook", kinds=CARBON, poll_seconds=300,
        accountings=OWN_MIX,
    ),
    Service(
        name="CaisoOasis", base_url="https://oasis.caiso.com/oasisapi", kinds=PRICE, poll_seconds=3600,
        params={"node": "[A-Za-z0-9_.-]{2,60}"},
    ),
    Service(
        name="GridStatusIo", base_url="https://api.gridstatus.io/v1", kinds=PRICE, poll_seconds=3600,
        params={"dataset": "[a-z0-9_]{4,60}", "location": "[A-Za-z0-9_. -]{2,60}"}, needs="the x-api-key",
    ),
    Service(
        name="OctopusAgile", base_url="https://api.octopus.energy/v1", kinds=PRICE, poll_seconds=3600,
        params={"product": "[A-Z0-9-]{4,40}", "region": "[A-HJ-NP]"},
    ),
    Service(
        name="Awattar", base_url="https://api.awattar.de/v1", kinds=PRICE, poll_seconds=3600,
    ),
    Service(
        name="OpenMeteo", base_url="https://api.open-meteo.com/v1", poll_seconds=1800,
        kinds=frozenset({SignalKind.SOLAR_OUTPUT, SignalKind.WIND_OUTPUT}), needs="the apikey of the customer host",
        works_without=True,
    ),
)  # fmt: skip
"""By name, as a SignalSource calls it."""
