"""Asking every configured source once: what a user runs first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from green_llm.domain.request import LiveSettings, PersistenceSettings, Policy, Source
from green_llm.domain.series import SignalKind, SlotValue
from green_llm.domain.time import slots_from
from green_llm.domain.topology import Site
from green_llm.signals.collect import Collector
from green_llm.signals.live import LiveHub


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """What one entry of a chain came to."""

    source: str
    service: str
    kind: SignalKind
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
                source = sources.get(reference.source)
                settings = None if source is None else source.settings
                live = isinstance(settings, LiveSettings)
                placed = live and kind in (SignalKind.SOLAR_OUTPUT, SignalKind.WIND_OUTPUT)
                key = (reference.source, kind, tuple(sorted(reference.params.items())), site.name if placed else "")
                if key in found or isinstance(settings, PersistenceSettings):
                    continue
                alone = replace(site, signals={kind: (reference,)})
                book = await collector.collect(policy, [alone], sources, slots, now)
                values = book.values[site.name, kind]
                covered = next((n for n, value in enumerate(values) if value is None), len(values))
                health = hub.health.get(reference.source)
                found[key] = SourceCheck(
                    source=reference.source,
                    service=settings.service if isinstance(settings, LiveSettings) else type(settings).__name__[:-8],
                    kind=kind,
                    params=reference.params,
                    site=site.name,
                    unit=kind.unit(policy.currency),
                    value=values[0],
                    covered_hours=covered * policy.slot_seconds / 3600,
                    fetch_seconds=None if health is None else health.fetch_seconds,
                    quota=None if health is None else health.quota,
                    missing_keys=tuple(sorted(missing.get(reference.source, ()))),
                    error=book.problems[0].message if book.problems else None,
                )
    return list(found.values())
