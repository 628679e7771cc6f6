"""Where queries went, as gateways have counted them: for the account, which else goes by the weights in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from green_llm.domain.request import DemandEntry, LiveSettings, Source, SourceRef
from green_llm.domain.routes import BackendKey
from green_llm.domain.series import Measure, Point, Series, SignalQuery
from green_llm.errors import SignalError

LEAST_COVERED = 0.5
"""Of the time since the last charge; less says too little of it."""
FetchSeries = Callable[[Source, SourceRef, SignalQuery], Awaitable[Series]]


async def served_shares(
    fetch: FetchSeries,
    entry: DemandEntry,
    namespace: str,
    backends: Mapping[str, Sequence[BackendKey]],
    in_force: Mapping[str, float],
    sources: Mapping[str, Source],
    since: datetime,
    now: datetime,
) -> Mapping[str, float] | None:
    """Shares by site of what was sent to each site's back-ends since then; None where that is not known.

    A site without weight that nothing is known of had nothing; of any other, nothing known is unknown.
    """
    source = None if entry.source is None else sources.get(entry.source.source)
    if source is None or entry.source is None or since >= now:
        return None
    if not isinstance(source.settings, LiveSettings) or Measure.SERVED not in source.settings.queries:
        return None
    query = SignalQuery(Measure.SERVED, {**entry.source.params, "namespace": namespace}, since, now, now,
                        Measure.SERVED.unit(""), "UTC")  # fmt: skip
    sent: dict[str, float] = {}
    for site, keys in backends.items():
        counts = [await _sent(fetch, source, entry.source, _to(query, key)) for key in keys]
        if any(count is None for count in counts) and in_force.get(site, 0.0) > 0:
            return None
        sent[site] = sum(count or 0.0 for count in counts)
    whole = sum(sent.values())
    return {site: count / whole for site, count in sent.items()} if whole > 0 else None


def _to(query: SignalQuery, backend: BackendKey) -> SignalQuery:
    return replace(query, params={**query.params, "backend": backend.name, "backendNamespace": backend.namespace})


async def _sent(fetch: FetchSeries, source: Source, reference: SourceRef, query: SignalQuery) -> float | None:
    """Mean queries per hour over the query's interval; None where too little of it is known."""
    try:
        points = (await fetch(source, reference, query)).points
    except SignalError:
        return None  # the source's status says what is wrong
    inside = [_inside(point, query) for point in points]
    covered = sum(inside)
    if covered < LEAST_COVERED * (query.end - query.start).total_seconds():
        return None
    return sum(point.value * seconds for point, seconds in zip(points, inside, strict=True)) / covered


def _inside(point: Point, query: SignalQuery) -> float:
    return max(0.0, (min(point.end, query.end) - max(point.start, query.start)).total_seconds())
