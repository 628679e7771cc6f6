"""Which settings make which provider. Adding a provider is one module and one line here."""

from __future__ import annotations

from green_llm.domain.request import CsvSettings, PersistenceSettings, Source, StaticSettings, TariffSettings
from green_llm.services.ports import SignalProvider
from green_llm.signals.providers.csv import CsvProvider, ReadText
from green_llm.signals.providers.persistence import History, PersistenceProvider
from green_llm.signals.providers.static import StaticProvider
from green_llm.signals.providers.tariff import TariffProvider


def provider_of(source: Source, read_text: ReadText, history: History) -> SignalProvider:
    """The provider a source configures."""
    match source.settings:
        case StaticSettings() as settings:
            return StaticProvider(source.name, settings)
        case TariffSettings() as settings:
            return TariffProvider(source.name, settings)
        case CsvSettings() as settings:
            return CsvProvider(source.name, settings, read_text)
        case PersistenceSettings() as settings:
            return PersistenceProvider(source.name, settings, history)
