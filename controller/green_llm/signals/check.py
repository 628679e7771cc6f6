"""Asking every configured source once: what a user runs first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from green_llm.domain.request import LiveSettings, PersistenceSettings, Policy, Source, SourceRef
from green_llm.domain.series import Measure, Quantity, SignalKind, SignalQuery, SlotValue, mean_over
from green_llm.domain.time import slots_from
from green_llm.domain.topology import Site
from green_llm.errors import GreenLLMError
from green_llm.services.admission import PolicyRequest
from green_llm.signals.collect import Collector
from green_llm.signals.live import LiveHub

PAST_HOUR = timedelta(hours=1)
PLACED = (SignalKind.SOLAR_OUTPUT, SignalKind.WIND_OUTPUT)
"""What a live service gives for a site's own place."""


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """What one entry of a chain came to."""

    source: str
    service: str
    kind: Quantity
    params: Mapping[str, str]
    site: str
    """The first site that asks for it."""
    unit: str
    value: SlotValue | None
    """Of the present slot; with its basis."""
    covered_hours: float
    """From the present slot on, without a gap."""
    fetch_seconds: float | None
    error: str | None
    quota: str | None
    """What is left of what the service allows, where it says so."""
    missing_keys: tuple[str, ...]
    """Keys of the shape its provider was written for that the answers lack."""


def _row(
    hub: LiveHub,
    missing: Mapping[str, Collection[str]],
    source: Source,
    params: Mapping[str, str],
    kind: Quantity,
    value: SlotValue | None,
    error: str | None,
    *,
    site: str,
    unit: str,
    covered_hours: float = 0.0,
) -> SourceCheck:
    """A value, or why there is none, with how its source was asked."""
    settings, health = source.settings, hub.health.get(source.name)
    return SourceCheck(
        source=source.name,
        service=settings.service if isinstance(settings, LiveSettings) else type(settings).__name__[:-8],
        kind=kind,
        params=params,
        site=site,
        unit=unit,
        value=value,
        covered_hours=covered_hours,
        fetch_seconds=None if health is None else health.fetch_seconds,
        quota=None if health is None else health.quota,
        missing_keys=tuple(sorted(missing.get(source.name, ()))),
        error=error,
    )


async def check_measures(
    request: PolicyRequest,
    collector: Collector,
    hub: LiveHub,
    missing: Mapping[str, Collection[str]],
    now: datetime,
) -> list[SourceCheck]:
    """What demands and servers are measured by, each question once: the mean of the past hour."""
    found: dict[tuple[object, ...], SourceCheck] = {}
    for reference, namespace, measures, where in _measured(request):
        source = request.sources.get(reference.source)
        if source is None:
            continue
        live = source.settings if isinstance(source.settings, LiveSettings) else None
        params = {**reference.params, **({"namespace": namespace} if live and namespace else {})}
        for measure in [m for m in measures if live is None or m in live.queries]:
            key = (source.name, measure, tuple(sorted(params.items())))
            if key in found:
                continue
            unit = measure.unit("")
            query = SignalQuery(measure, params, now - PAST_HOUR, now, now, unit, "UTC")
            value, error = None, None
            try:
                points = (await collector.series(source, reference, query)).points
                mean = mean_over(points)
                if mean is None:
                    error = f"SignalSource {source.name}: has no {measure.value} of the past hour"
                else:
                    value = SlotValue(mean, source.name, points[-1].quality, points[-1].issued_at)
            except GreenLLMError as failed:
                error = str(failed)
            found[key] = _row(hub, missing, source, params, measure, value, error, site=where, unit=unit)
    return list(found.values())


async def check_guards(
    request: PolicyRequest,
    collector: Collector,
    hub: LiveHub,
    missing: Mapping[str, Collection[str]],
    now: datetime,
) -> list[SourceCheck]:
    """What the SLO guard looks at, of every site and profile that it guards: the last value."""
    slo, found = request.policy.guardrails.slo, list[SourceCheck]()
    guarded = [] if slo is None else [(site, *pair) for site in request.sites for pair in sorted(slo.sources.items())]
    for site, profile, reference in guarded:
        source = request.sources.get(reference.source)
        if profile not in site.performance or source is None:
            continue
        where = f"{profile} at {site.name}"
        for measure, points in (await collector.recent(site, reference, request.sources, now)).items():
            value, error, unit = None, None, measure.unit("")
            if isinstance(points, str):
                error = points
            elif not points:
                error = f"SignalSource {source.name}: has no {measure.value} of the last minutes"
            else:
                value = SlotValue(points[-1].value, source.name, points[-1].quality, points[-1].issued_at)
            found.append(_row(hub, missing, source, reference.params, measure, value, error, site=where, unit=unit))
    return found


def _measured(request: PolicyRequest) -> Iterator[tuple[SourceRef, str, tuple[Measure, ...], str]]:
    """Who asks for measurements: reference, the namespace of a demand, what of, and where it is used."""
    for pair in request.pairs:
        if pair.entry.source is not None:
            where = f"{pair.class_key} in {pair.area.name}"
            yield pair.entry.source, pair.demand.namespace, (Measure.DEMAND, Measure.MEAN_DELAY), where
    for site in request.sites:
        for performance in site.performance.values():
            own = performance.measurements
            if own is not None:
                measures: tuple[Measure, ...] = tuple(
                    m for m in Measure if m not in (Measure.DEMAND, Measure.SERVED) and not m.recent
                )
                yield SourceRef(own.source, own.params), "", measures, site.name


async def check_sources(
    policy: Policy,
    sites: Iterable[Site],
    sources: Mapping[str, Source],
    collector: Collector,
    hub: LiveHub,
    missing: Mapping[str, Collection[str]],
    now: datetime,
) -> list[SourceCheck]:
    """Every entry of every chain alone, each question once; persistence repeats the others and is left out.

    ``missing`` holds, by source, the keys that answers lack; it is filled as they come.
    """
    slots = slots_from(now, policy.slot_seconds, policy.slots)
    found: dict[tuple[object, ...], SourceCheck] = {}
    for site in sites:
        for kind, chain in site.signals.items():
            for reference in chain:
                source = sources[reference.source]
                placed = isinstance(source.settings, LiveSettings) and kind in PLACED
                key = (source.name, kind, tuple(sorted(reference.params.items())), site.name if placed else "")
                if key in found or isinstance(source.settings, PersistenceSettings):
                    continue
                alone = replace(site, signals={kind: (reference,)})
                book = await collector.collect(policy, [alone], sources, slots, now)
                values = book.values[site.name, kind]
                covered = next((n for n, value in enumerate(values) if value is None), len(values))
                found[key] = _row(
                    hub,
                    missing,
                    source,
                    reference.params,
                    kind,
                    values[0],
                    book.problems[0].message if book.problems else None,
                    site=site.name,
                    unit=kind.unit(policy.currency),
                    covered_hours=covered * policy.slot_seconds / 3600,
                )
    return list(found.values())
