"""Time-of-use tariffs: prices by wall clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from green_llm.domain.request import TariffPeriod, TariffSettings
from green_llm.domain.series import Point, Quality, Series, SignalQuery
from green_llm.domain.units import convert
from green_llm.errors import SignalError

STEP = timedelta(minutes=15)
"""No time zone in use is off UTC by anything but a multiple of it, so local hours begin on it."""


class TariffProvider:
    """Prices that are known for ever; they do not age."""

    def __init__(self, name: str, settings: TariffSettings) -> None:
        self._name, self._settings = name, settings
        self._zone = ZoneInfo(settings.time_zone)

    async def fetch(self, query: SignalQuery) -> Series:
        """One point per stretch of one price.

        Raises:
            SignalError: the kind asked for is not a price in the tariff's currency.
        """
        try:
            points = tuple(self._points(query))
        except ValueError as error:
            raise SignalError(f"SignalSource {self._name}: spec.tariff: {error}") from error
        return Series(query.kind, self._name, query.unit, points)

    def _points(self, query: SignalQuery) -> Iterator[Point]:
        unit = f"{self._settings.currency}/MWh"
        begun = query.start
        price = self._price(begun)
        moment = _next_step(begun)
        while moment < query.end:
            following = self._price(moment)
            if following != price:
                if price is not None:
                    yield Point(begun, moment, convert(price, unit, query.unit, query.exchange_rates), Quality.PROFILE)
                begun, price = moment, following
            moment += STEP
        if price is not None and begun < query.end:
            yield Point(begun, query.end, convert(price, unit, query.unit, query.exchange_rates), Quality.PROFILE)

    def _price(self, moment: datetime) -> float | None:
        """The first period that matches the local time; None where none does."""
        local = moment.astimezone(self._zone)
        return next((period.price_per_mwh for period in self._settings.periods if _applies(period, local)), None)


def _applies(period: TariffPeriod, local: datetime) -> bool:
    in_hours = period.start_hour <= local.hour < period.end_hour
    if period.start_hour >= period.end_hour:  # over midnight
        in_hours = local.hour >= period.start_hour or local.hour < period.end_hour
    return in_hours and local.weekday() in period.weekdays and local.month in period.months


def _next_step(moment: datetime) -> datetime:
    seconds = STEP.total_seconds()
    return moment + timedelta(seconds=seconds - moment.timestamp() % seconds)
