"""Demand: a profile by wall clock, or what a source has measured, with a forecast from its own history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from green_llm.demand.forecast import Hours, error_ratio, forecast, hourly
from green_llm.demand.profile import queries_per_slot
from green_llm.demand.served import FetchSeries, served_shares
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.request import DemandEntry, LiveSettings, PersistenceSettings, Source, SourceRef, TariffSettings
from green_llm.domain.routes import BackendKey
from green_llm.domain.series import Measure, Series, SignalQuery, mean_over
from green_llm.domain.time import Slots
from green_llm.domain.topology import Area
from green_llm.errors import SignalError

HISTORY = timedelta(days=28)
HOUR = timedelta(hours=1)
HOUR_SECONDS = 3600
Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Source, time zone and parameters."""


class MeasuredDemand:
    """Implements ``services.ports.DemandCollector``."""

    def __init__(self, fetch: FetchSeries) -> None:
        """``fetch`` asks a source."""
        self._fetch = fetch
        self._errors: dict[Key, tuple[int, float | None]] = {}
        """The last hour known then, and the error."""

    async def collect(
        self,
        entry: DemandEntry,
        area: Area,
        namespace: str,
        sources: Mapping[str, Source],
        slots: Slots,
        now: datetime,
    ) -> Arrivals:
        """Queries per slot.

        Raises:
            SignalError: the entry's source has no value for a slot.
        """
        if entry.source is None:
            return Arrivals(queries_per_slot(entry.queries_per_hour, area.time_zone, slots))
        where = f"class {entry.query_class} in area {area.name}"
        source = sources.get(entry.source.source)
        if source is None:
            raise SignalError(f'{where}: there is no SignalSource "{entry.source.source}"')
        if isinstance(source.settings, TariffSettings | PersistenceSettings):
            raise SignalError(f"{where}: SignalSource {source.name} gives no demand; use Prometheus, Csv or Static")
        params = dict(entry.source.params)
        if isinstance(source.settings, LiveSettings):
            params["namespace"] = namespace
        days = source.settings.history_days if isinstance(source.settings, LiveSettings) else 0
        start = min(now - (timedelta(days=days) if days else HISTORY), slots.start)
        query = SignalQuery(Measure.DEMAND, params, start, slots.end, now, Measure.DEMAND.unit(""), area.time_zone)
        try:
            series = await self._fetch(source, entry.source, query)
            key = (source.name, area.time_zone, tuple(sorted(params.items())))
            arrivals = self._arrivals(series, area, slots, now, key, source.stale_after_seconds)
        except SignalError as error:
            raise SignalError(f"{where}: {error}") from error
        return replace(arrivals, mean_delay_s=await self._mean_delay(source, entry.source, query))

    async def served(
        self,
        entry: DemandEntry,
        namespace: str,
        backends: Mapping[str, Sequence[BackendKey]],
        in_force: Mapping[str, float],
        sources: Mapping[str, Source],
        since: datetime,
        now: datetime,
    ) -> Mapping[str, float] | None:
        """Shares by site as the entry's source has counted them; None where it does not."""
        return await served_shares(self._fetch, entry, namespace, backends, in_force, sources, since, now)

    async def _mean_delay(self, source: Source, reference: SourceRef, demand: SignalQuery) -> float | None:
        """What the source has measured of the past hour, where it measures delays; never planned with."""
        if not isinstance(source.settings, LiveSettings) or Measure.MEAN_DELAY not in source.settings.queries:
            return None
        query = replace(
            demand, kind=Measure.MEAN_DELAY, unit=Measure.MEAN_DELAY.unit(""), start=demand.now - HOUR, end=demand.now
        )
        try:
            points = (await self._fetch(source, reference, query)).points
        except SignalError:
            return None  # the source's status says what is wrong
        return mean_over(points)

    def _arrivals(
        self, series: Series, area: Area, slots: Slots, now: datetime, key: Key, stale_seconds: float
    ) -> Arrivals:
        """What the source says itself, and the forecast for the rest."""
        zone = ZoneInfo(area.time_zone)
        per_hour, covered = np.zeros(slots.count), np.zeros(slots.count)
        for n, (start, end) in enumerate(slots):
            for point in series.points:
                part = (min(point.end, end) - max(point.start, start)).total_seconds()
                if part > 0:
                    per_hour[n] += part * point.value
                    covered[n] += part
        rest = slots.slot_seconds - covered
        if (rest <= 0).all():
            return Arrivals(per_hour / HOUR_SECONDS)
        past = [point for point in series.points if point.end <= now]
        latest = max((point.end for point in past), default=None)
        if latest is not None and (now - latest).total_seconds() > stale_seconds:
            raise SignalError(f"SignalSource {series.source}: has measured nothing since {latest:%Y-%m-%dT%H:%MZ}")
        history = hourly(past, now)
        expected = _over(history, slots, zone)
        return Arrivals((per_hour + np.maximum(0.0, rest) * expected) / HOUR_SECONDS, self._error(history, zone, key))

    def _error(self, history: Hours, zone: ZoneInfo, key: Key) -> float | None:
        """The back-test, made anew when an hour has passed."""
        known = self._errors.get(key)
        if known is None or known[0] != history.end:
            known = (history.end, error_ratio(history, zone))
            self._errors[key] = known
        return known[1]


def _over(history: Hours, slots: Slots, zone: ZoneInfo) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The forecast's mean over each slot, queries/h."""
    first, last = int(slots.start.timestamp() // HOUR_SECONDS), int(-(-slots.end.timestamp() // HOUR_SECONDS))
    by_hour = forecast(history, range(first, last), zone)
    found = np.zeros(slots.count)
    for n, (start, end) in enumerate(slots):
        moment, stop = start.timestamp(), end.timestamp()
        while moment < stop:
            hour = int(moment // HOUR_SECONDS)
            part = min(stop, (hour + 1.0) * HOUR_SECONDS) - moment
            found[n] += part * by_hour[hour - first]
            moment += part
    return found / slots.slot_seconds
