"""A constant."""

from __future__ import annotations

from green_llm.domain.request import StaticSettings
from green_llm.domain.series import Point, Quality, Series, SignalQuery
from green_llm.domain.units import convert
from green_llm.errors import SignalError


class StaticProvider:
    """Answers every question with one value, which does not age."""

    def __init__(self, name: str, settings: StaticSettings) -> None:
        self._name, self._settings = name, settings

    async def fetch(self, query: SignalQuery) -> Series:
        """The constant over the query's interval.

        Raises:
            SignalError: its unit is not one of the kind asked for.
        """
        try:
            value = convert(self._settings.value, self._settings.unit, query.unit, query.exchange_rates)
        except ValueError as error:
            raise SignalError(f"SignalSource {self._name}: spec.static.unit: {error}") from error
        point = Point(query.start, query.end, value, Quality.STATIC)
        return Series(query.kind, self._name, query.unit, (point,))
