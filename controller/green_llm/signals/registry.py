"""Which settings make which provider. Adding a service is one module, one line here and one in ``domain.services``."""

from __future__ import annotations

from collections.abc import Mapping

from green_llm.domain.request import (
    CsvSettings,
    LiveSettings,
    PersistenceSettings,
    Source,
    StaticSettings,
    TariffSettings,
)
from green_llm.errors import SignalError
from green_llm.services.ports import SignalProvider
from green_llm.signals.feed import Feed
from green_llm.signals.live import LiveHub, LiveProvider
from green_llm.signals.providers import (
    awattar,
    caiso_oasis,
    caiso_outlook,
    carbon_aware_sdk,
    eia,
    electricity_maps,
    energy_charts,
    entsoe,
    grid_status_io,
    octopus_agile,
    open_meteo,
    prometheus,
    uk_carbon_intensity,
    watt_time,
)
from green_llm.signals.providers.csv import CsvProvider, ReadText
from green_llm.signals.providers.persistence import History, PersistenceProvider
from green_llm.signals.providers.recorded import RecordedProvider
from green_llm.signals.providers.static import StaticProvider
from green_llm.signals.providers.tariff import TariffProvider
from green_llm.signals.recordings import Recorded

FEEDS: Mapping[str, Feed] = {
    "Awattar": awattar.FEED,
    "CaisoOasis": caiso_oasis.FEED,
    "CaisoOutlook": caiso_outlook.FEED,
    "CarbonAwareSDK": carbon_aware_sdk.FEED,
    "Eia": eia.FEED,
    "ElectricityMaps": electricity_maps.FEED,
    "EnergyCharts": energy_charts.FEED,
    "Entsoe": entsoe.FEED,
    "GridStatusIo": grid_status_io.FEED,
    "OctopusAgile": octopus_agile.FEED,
    "OpenMeteo": open_meteo.FEED,
    "Prometheus": prometheus.FEED,
    "UKCarbonIntensity": uk_carbon_intensity.FEED,
    "WattTime": watt_time.FEED,
}
"""By service; ``domain.services.SERVICES`` says where each is and what it needs."""


def provider_of(
    source: Source, read_text: ReadText, history: History, hub: LiveHub | None, recordings: Recorded | None = None
) -> SignalProvider:
    """The provider a source configures; with ``recordings`` a live one gives what it said at the time."""
    match source.settings:
        case StaticSettings() as settings:
            return StaticProvider(source.name, settings)
        case TariffSettings() as settings:
            return TariffProvider(source.name, settings)
        case CsvSettings() as settings:
            return CsvProvider(source.name, settings, read_text)
        case PersistenceSettings() as settings:
            return PersistenceProvider(source.name, settings, history)
        case LiveSettings():
            if recordings is not None:
                return RecordedProvider(source.name, recordings)
            if hub is None:
                raise SignalError(f"SignalSource {source.name}: live services are not asked here")
            return LiveProvider(source, hub)
