"""Live services in the background: planning takes what is there and never waits.

One question (service, kind, zone) is asked by one task however many sites share it: at its period, later after failures, and
not at all after a configuration error until the source is changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from green_llm.domain.request import LiveSettings, Source
from green_llm.domain.series import (
    RECENT_POLL_SECONDS,
    Measure,
    Place,
    Point,
    Quality,
    Quantity,
    Series,
    SignalQuery,
    SourceHealth,
)
from green_llm.domain.units import convert
from green_llm.errors import SignalError, StoreError
from green_llm.signals.cache import Cache, apart, is_news, is_revised
from green_llm.signals.feed import Ask, Feed, Found, Login
from green_llm.signals.http import FetchError, HttpClient, Reason
from green_llm.signals.recordings import Question as RecordedQuestion
from green_llm.signals.recordings import Recordings, basis_of

logger = logging.getLogger("green_llm.signals")
BACK, AHEAD = timedelta(hours=26), timedelta(hours=50)
"""What is asked for, around now: yesterday for persistence, and two days."""
KEPT = timedelta(days=8)
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 15.0, 1800.0
CONFIGURATION_RETRY_SECONDS = 3600.0
"""A wrong key may be set right at the provider's: asked again now and then, without a storm."""
SECRET_LOOK_SECONDS = 30.0
"""How often the Secret is looked at meanwhile: a new key is tried at once."""
RECENT = timedelta(minutes=15)
"""How long measures are kept of which only the last minutes are of use."""
UNUSED_SECONDS = 3600.0
TOKEN_SECONDS = 1500.0
"""Tokens of logins are good for half an hour."""
ReadSecret = Callable[[str, str], Awaitable[str]]
"""(name, key) of a Secret → its text. Raises SignalError where it is not there."""
Question = tuple[str, Quantity, tuple[tuple[str, str], ...], Place | None]


class LiveHub:
    """All live questions of a process."""

    def __init__(
        self,
        client: HttpClient,
        feeds: Mapping[str, Feed],
        read_secret: ReadSecret,
        *,
        first_wait_seconds: float = 0.0,
        changed: Callable[[], None] = lambda: None,
        enabled: Callable[[], bool] = lambda: True,
        recordings: Recordings | None = None,
        looked_at: Callable[[Source, Sequence[bytes]], None] = lambda _source, _bodies: None,
    ) -> None:
        """``first_wait_seconds``: how long a question that was never answered is waited for."""
        self._recordings, self._looked_at = recordings, looked_at
        self._client, self._feeds, self._read_secret = client, feeds, read_secret
        self._first_wait, self._changed, self._enabled = first_wait_seconds, changed, enabled
        self._caches: dict[Question, tuple[Source, Cache]] = {}
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._logins: dict[str, asyncio.Lock] = {}
        self.health: dict[str, SourceHealth] = {}

    async def fetch(self, source: Source, query: SignalQuery) -> Series:
        """What is known of the query's interval.

        Raises:
            SignalError: nothing is: it was never answered, or the last answer was an error.
        """
        if abs((query.now - datetime.now(UTC)).total_seconds()) > UNUSED_SECONDS:
            raise SignalError(
                f"SignalSource {source.name}: is live and cannot be asked for another time; use recordings"
            )
        cache = self._cache(source, query)
        if self._first_wait:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(cache.first.wait(), self._first_wait)
        found = [p for p in cache.points.values() if p.end > query.start and p.start < query.end]
        if not found:
            why = cache.error or "has not answered yet"
            raise SignalError(f"SignalSource {source.name}: {why}")
        found.sort(key=lambda p: p.start)
        if cache.unit == query.unit:
            return Series(query.kind, source.name, query.unit, tuple(apart(found)))
        try:
            points = [
                Point(
                    p.start,
                    p.end,
                    convert(p.value, cache.unit, query.unit, query.exchange_rates),
                    p.quality,
                    p.issued_at,
                )
                for p in found
            ]
        except ValueError as error:
            raise SignalError(f"SignalSource {source.name}: unit: {error}") from error
        return Series(query.kind, source.name, query.unit, tuple(apart(points)))

    async def close(self) -> None:
        """Stop asking."""
        tasks = [cache.task for _, cache in self._caches.values() if cache.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()
        if self._recordings is not None:
            self._recordings.flush()

    def keep_only(self, sources: Mapping[str, Source]) -> None:
        """Stop asking sources that are gone, and what nobody has wanted for an hour."""
        now = time.monotonic()
        for question, (source, cache) in list(self._caches.items()):
            gone = sources.get(source.name) != source
            if gone or now - cache.used > UNUSED_SECONDS:
                if cache.task is not None:
                    cache.task.cancel()
                del self._caches[question]
        self.health = {name: health for name, health in self.health.items() if name in sources}

    def _cache(self, source: Source, query: SignalQuery) -> Cache:
        """The cache of a question, being filled from now on."""
        question = (source.name, query.kind, tuple(sorted(query.params.items())), query.place)
        known = self._caches.get(question)
        if known is not None and known[0] != source:
            if known[1].task is not None:
                known[1].task.cancel()
            known = None
        if known is None:
            known = (source, Cache())
            self._caches[question] = known
        cache = known[1]
        cache.used = time.monotonic()
        if cache.task is None or cache.task.done():
            cache.task = asyncio.create_task(self._poll(source, query, cache), name=f"signal {source.name}")
        return cache

    async def _poll(self, source: Source, query: SignalQuery, cache: Cache) -> None:
        """Ask again and again."""
        settings = source.settings
        if not isinstance(settings, LiveSettings):
            return
        failures = 0
        while True:
            wait = min(settings.poll_seconds, RECENT_POLL_SECONDS) if _recent(query) else settings.poll_seconds
            if self._enabled():
                try:
                    await self._ask(source, settings, query, cache)
                    failures = 0
                except FetchError as error:
                    failures += 1
                    wait = self._failed(source, cache, error, failures)
                except Exception as error:
                    # A defect of one parser must not end its polling without a word.
                    failures += 1
                    wait = self._failed(
                        source, cache, FetchError(Reason.ANSWER, f"{type(error).__name__}: {error}"), failures
                    )
                    logger.exception("SignalSource %s: cannot be read", source.name)
                cache.first.set()
            jittered = wait * random.uniform(0.95, 1.05)  # noqa: S311 - jitter, no secret
            await self._rest(source, settings, cache, jittered)

    async def _rest(self, source: Source, settings: LiveSettings, cache: Cache, seconds: float) -> None:
        """Wait; after a configuration error no longer than until the Secret has changed."""
        if cache.error is None or cache.error.reason is not Reason.CONFIGURATION or settings.secret is None:
            await asyncio.sleep(seconds)
            return
        end = time.monotonic() + seconds
        used = cache.secret
        while time.monotonic() < end:
            await asyncio.sleep(SECRET_LOOK_SECONDS)
            with contextlib.suppress(FetchError):
                if await self._secret(source, settings) != used:
                    return

    def _failed(self, source: Source, cache: Cache, error: FetchError, failures: int) -> float:
        """Note a failure; how long to wait."""
        cache.error = error
        health = self.health.setdefault(source.name, SourceHealth())
        if health.reason != error.reason.value:
            logger.warning("SignalSource %s: %s", source.name, error)
            self._changed()
        health.last_error, health.reason = str(error), error.reason.value
        health.errors[error.reason.value] = health.errors.get(error.reason.value, 0) + 1
        if error.reason is Reason.CONFIGURATION:
            return CONFIGURATION_RETRY_SECONDS
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** (failures - 1), LONGEST_RETRY_SECONDS)
        return max(wait, error.retry_after_seconds or 0.0)

    async def _ask(self, source: Source, settings: LiveSettings, query: SignalQuery, cache: Cache) -> None:
        """One round of requests, and what they bring."""
        now = datetime.now(UTC)
        hour = now.replace(minute=0, second=0, microsecond=0)
        feed = self._feeds[settings.service]
        secret = cache.secret = await self._secret(source, settings)
        back = timedelta(days=settings.history_days) if settings.history_days else BACK
        kept = RECENT if _recent(query) else max(KEPT, back)
        known = max((p.end for p in cache.points.values() if p.quality is Quality.MEASURED), default=None)
        window = replace(query, start=hour - back, end=hour + AHEAD)
        ask = _ask(source, settings, window, now, secret, known)
        begun = time.monotonic()
        found = await self._answer(source, settings, feed, ask)
        health = self.health.setdefault(source.name, SourceHealth())
        health.fetch_seconds = time.monotonic() - begun
        health.fetches += 1
        health.quota = self._client.quotas.get(urlsplit(settings.base_url).netloc)
        recovered, before = health.reason is not None, dict(cache.points)
        health.last_success, health.last_error, health.reason = now, None, None
        if found.unit != cache.unit:
            cache.unit, cache.points = found.unit, {}
        self._record(source, query, found, before, now)
        cache.compare(found.points, now)
        health.forecast_errors = self._forecast_errors(source.name)
        cache.points |= {point.start: point for point in found.points}
        cache.points = {start: point for start, point in cache.points.items() if point.end > now - kept}
        nothing = "has no value of the last minutes" if _recent(query) else "has no value for the coming hours yet"
        cache.error = None if cache.points else FetchError(Reason.ANSWER, nothing)
        moved = {s: p.value for s, p in cache.points.items()} != {s: p.value for s, p in before.items()}
        # Whoever needs recent measures looks at them all the time: they are no reason to plan anew.
        if recovered or (moved and not _beside(query)):
            self._changed()

    async def past(self, source: Source, query: SignalQuery) -> Found | None:
        """What a service says of the query's interval in the past; None where it gives no history.

        Raises:
            FetchError: it does not answer, or refuses.
        """
        settings = source.settings
        if not isinstance(settings, LiveSettings):
            return None
        feed = self._feeds[settings.service]
        if feed.past is None:
            return None
        asked = replace(feed, requests=feed.past.requests or feed.requests, parse=feed.past.parse or feed.parse)
        secret = await self._secret(source, settings)
        return await self._answer(source, settings, asked, _ask(source, settings, query, query.now, secret))

    def _record(
        self, source: Source, query: SignalQuery, found: Found, before: Mapping[datetime, Point], now: datetime
    ) -> None:
        """Keep what is new: another value, or the same issued an hour later."""
        if self._recordings is None or _recent(query):
            return
        basis = basis_of(source, query)
        news = [point for point in found.points if is_news(before.get(point.start), point)]
        revised = [point for point in news if is_revised(before.get(point.start), point)]
        question = RecordedQuestion(source.name, query.kind, query.params, query.place)
        try:
            first = [point for point in news if point not in revised]
            self._recordings.add(question, found.unit, basis, [(point, now) for point in first])
            self._recordings.add(question, found.unit, basis, [(point, now) for point in revised], revised=True)
        except StoreError as error:
            logger.warning("%s", error)

    def _forecast_errors(self, name: str) -> dict[str, float]:
        """Σ |forecast − actual| / Σ |actual| over two days, of all that a source was asked, by kind."""
        sums: dict[str, tuple[float, float]] = {}
        for question, (source, cache) in self._caches.items():
            if source.name == name and cache.compared:
                wrong, total = sums.get(question[1].value, (0.0, 0.0))
                wrong += sum(error for error, _ in cache.compared.values())
                total += sum(actual for _, actual in cache.compared.values())
                sums[question[1].value] = (wrong, total)
        return {kind: wrong / total for kind, (wrong, total) in sums.items() if total > 0}

    async def _answer(self, source: Source, settings: LiveSettings, feed: Feed, ask: Ask) -> Found:
        """The parsed answers; where a token has run out, once more with a new one."""
        try:
            return await self._once(source, settings, feed, ask)
        except FetchError as error:
            stale = self._tokens.pop((source.name, ask.secret), None)
            if error.reason is not Reason.CONFIGURATION or stale is None:
                raise
        return await self._once(source, settings, feed, ask)

    async def _once(self, source: Source, settings: LiveSettings, feed: Feed, ask: Ask) -> Found:
        requests = list(feed.requests(ask))
        if feed.login is not None:
            token = await self._token(source, settings, feed.login, ask)
            requests = [feed.login.authorize(request, token) for request in requests]
        bodies = [
            await self._client.get(settings.base_url, request, settings.timeout_seconds, ask.secret)
            for request in requests
        ]
        self._looked_at(source, bodies)
        try:
            return feed.parse(ask, bodies)
        except (SignalError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            text = str(error) if isinstance(error, SignalError) else f"the answer has another shape ({error!r})"
            raise FetchError(Reason.ANSWER, text) from error

    async def _token(self, source: Source, settings: LiveSettings, login: Login, ask: Ask) -> str:
        """A token, fetched by one task at a time: many at once would be a stampede on the login."""
        async with self._logins.setdefault(source.name, asyncio.Lock()):
            known = self._tokens.get((source.name, ask.secret))
            if known is None or time.monotonic() - known[1] > TOKEN_SECONDS:
                body = await self._client.get(
                    settings.base_url, login.request(ask), settings.timeout_seconds, ask.secret
                )
                known = (login.token(body), time.monotonic())
                self._tokens[source.name, ask.secret] = known
            return known[0]

    async def _secret(self, source: Source, settings: LiveSettings) -> str:
        """Read anew at each round, so that a rotated key is taken up."""
        if settings.secret is None:
            return ""
        try:
            return (await self._read_secret(*settings.secret)).strip()
        except SignalError as error:
            raise FetchError(Reason.CONFIGURATION, f"SignalSource {source.name}: {error}") from error


class LiveProvider:
    """Implements ``services.ports.SignalProvider`` for one source."""

    def __init__(self, source: Source, hub: LiveHub) -> None:
        self._source, self._hub = source, hub

    async def fetch(self, query: SignalQuery) -> Series:
        """What the hub knows."""
        return await self._hub.fetch(self._source, query)


def _beside(query: SignalQuery) -> bool:
    """Whether plans are never made of it: then it is no reason for one."""
    return isinstance(query.kind, Measure) and query.kind is not Measure.DEMAND


def _recent(query: SignalQuery) -> bool:
    return isinstance(query.kind, Measure) and query.kind.recent


def _ask(
    source: Source,
    settings: LiveSettings,
    query: SignalQuery,
    now: datetime,
    secret: str,
    known_until: datetime | None = None,
) -> Ask:
    return Ask(
        kind=query.kind,
        params=query.params,
        start=query.start,
        end=query.end,
        now=now,
        factors=source.accounting.factors if source.accounting is not None else "Lifecycle",
        place=query.place,
        secret=secret,
        query=settings.queries.get(query.kind, "") if isinstance(query.kind, Measure) else "",
        known_until=known_until,
        step_seconds=query.step_seconds or (None if _recent(query) else settings.step_seconds),
    )
