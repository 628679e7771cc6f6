"""History of live services, brought into the recordings once: what a back-test can begin with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from green_llm.domain.request import LiveSettings, Source
from green_llm.domain.series import Measure, Point, Quality, SignalKind, SignalQuery
from green_llm.errors import GreenLLMError
from green_llm.services.admission import PolicyRequest
from green_llm.services.pricing import price_faults, with_bases
from green_llm.signals.collect import place_of
from green_llm.signals.feed import Found, Past
from green_llm.signals.live import LiveHub
from green_llm.signals.recordings import Question, Recordings, basis_of
from green_llm.signals.registry import FEEDS

SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a question has brought."""

    question: Question
    service: str
    new: int = 0
    revised: int = 0
    """Measured values that differ from the recorded ones; these are kept, and the new are known from now on."""
    error: str | None = None


@dataclass(frozen=True)
class HistoryQuestion:
    """What is asked of a live source's past; with a fault it is refused instead."""

    source: Source
    query: SignalQuery
    fault: str | None = None


def live_questions(requests: Iterable[PolicyRequest], start: datetime, end: datetime) -> Iterator[HistoryQuestion]:
    """Everything that the policies' sites and demands ask of live sources, each question once.

    Prices that a site's chain leaves out are refused, unless another site takes them.
    """
    found: dict[tuple[str, ...], HistoryQuestion] = {}
    for asked in (asked for request in requests for asked in _asked(request, start, end)):
        key = Question(asked.source.name, asked.query.kind, asked.query.params, asked.query.place).key
        if key not in found or (found[key].fault is not None and asked.fault is None):
            found[key] = asked
    yield from found.values()


def _asked(request: PolicyRequest, start: datetime, end: datetime) -> Iterator[HistoryQuestion]:
    for site, kind in ((one, kind) for one in request.sites for kind in one.signals):
        chain, faults = site.signals[kind], dict[int, str]()
        if kind is SignalKind.ELECTRICITY_PRICE:
            chain = with_bases(chain, request.sources)
            where = f"InferenceSite {site.name}: spec.signals.{kind.value}"
            faults = {f.index: f"{where}[{f.index}].basis: {f.message}" for f in price_faults(chain, request.sources)}
        place, unit = place_of(site, kind), kind.unit(request.policy.currency)
        for index, entry in enumerate(chain):
            source = request.sources.get(entry.source)
            if source is not None and isinstance(source.settings, LiveSettings):
                query = SignalQuery(
                    kind, entry.params, start, end, end, unit, site.time_zone, place=place, basis=entry.basis
                )
                yield HistoryQuestion(source, query, faults.get(index))
    for pair in request.pairs:
        reference = pair.entry.source
        source = None if reference is None else request.sources.get(reference.source)
        if reference is not None and source is not None and isinstance(source.settings, LiveSettings):
            params = {**reference.params, "namespace": pair.demand.namespace}
            query = SignalQuery(Measure.DEMAND, params, start, end, end, Measure.DEMAND.unit(""), pair.area.time_zone)
            yield HistoryQuestion(source, query)


async def import_history(
    questions: Iterable[HistoryQuestion],
    hub: LiveHub,
    recordings: Recordings,
    now: datetime,
    progress: Callable[[Question, datetime], None] = lambda _question, _until: None,
) -> list[Imported]:
    """Ask for each question's interval, piece by piece, and record what is not yet recorded.

    A service that fails keeps what it has brought until then.
    """
    found = []
    for asked in questions:
        source, query, error = asked.source, asked.query, asked.fault
        question = Question(source.name, query.kind, query.params, query.place)
        service = source.settings.service if isinstance(source.settings, LiveSettings) else ""
        past = FEEDS[service].past
        if past is None or error is not None:
            error = error or f"{service} gives no history here; record it from now on"
            found.append(Imported(question=question, service=service, error=error))
            continue
        result = Imported(question=question, service=service)
        start = query.start
        try:
            while start < query.end:
                end = min(start + past.longest, query.end)
                answer = await hub.past(source, replace(query, start=start, end=end, now=min(end, now)))
                progress(question, end)
                if answer is not None:
                    result = _kept(result, answer, recordings, past, basis_of(source, query), now)
                start = end
                if start < query.end:
                    await asyncio.sleep(past.pause_seconds)
        except GreenLLMError as failed:
            result = replace(result, error=str(failed))
        found.append(result)
    recordings.flush()
    return found


def _kept(result: Imported, answer: Found, recordings: Recordings, past: Past, basis: str, now: datetime) -> Imported:
    """Record what is new of an answer."""
    table = recordings.table(result.question)
    actual: dict[float, float] = {}
    forecasts: set[tuple[float, float]] = set()
    if table is not None:
        for n, start in enumerate(table.start.tolist()):
            if table.actual[n]:
                actual[start] = float(table.value[n])  # ascending by when it was known: the last one stays
            else:
                forecasts.add((start, float(table.issued[n])))
    fresh, revised = [], []
    for point in answer.points:
        start, issued = point.start.timestamp(), 0.0 if point.issued_at is None else point.issued_at.timestamp()
        if point.quality is Quality.FORECAST:
            if (start, issued) not in forecasts:
                fresh.append((point, published(point, past)))
        elif start not in actual:
            fresh.append((point, published(point, past)))
        elif abs(actual[start] - point.value) > SAME * max(1.0, abs(point.value)):
            revised.append((point, now))
    recordings.add(result.question, answer.unit, basis, fresh)
    recordings.add(result.question, answer.unit, basis, revised, revised=True)
    return replace(result, new=result.new + len(fresh), revised=result.revised + len(revised))


def published(point: Point, past: Past) -> datetime:
    """When a value of the past was known to everybody: never earlier than it was."""
    if point.quality is Quality.FORECAST and point.issued_at is not None:
        return point.issued_at
    if point.issued_at is not None:
        return point.end + past.lag
    if past.auction is None:
        return point.start
    zone, hour = ZoneInfo(past.auction[0]), past.auction[1]
    day = point.start.astimezone(zone).date() - timedelta(days=1)
    return datetime.combine(day, time(hour), zone).astimezone(point.start.tzinfo)
