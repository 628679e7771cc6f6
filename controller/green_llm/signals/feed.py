"""What a live service is asked and what it says: the pure halves of a provider."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from green_llm.domain.series import Place, Point, Quantity
from green_llm.errors import SignalError


@dataclass(frozen=True)
class Ask:
    """What is wanted of a service: one kind, for one zone (or place), over an interval."""

    kind: Quantity
    params: Mapping[str, str]
    start: datetime
    end: datetime
    now: datetime
    factors: str = "Lifecycle"
    """What emission factors count: Lifecycle or Direct."""
    place: Place | None = None
    secret: str = ""
    query: str = ""
    """PromQL with ``$name`` for parameters; Prometheus only."""
    step_seconds: int | None = None
    """Time between two values; None: what suits. Prometheus only."""
    known_until: datetime | None = None
    """Up to where measured values are known; only later ones are needed."""


@dataclass(frozen=True)
class Request:
    """One GET below the service's base URL. ``private`` goes into the query and is never shown."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict)
    no_data: frozenset[int] = frozenset()
    """Statuses that mean "nothing there yet"; the answer is then empty."""
    read: frozenset[int] = frozenset()
    """Other statuses whose body says what is the matter: it goes to the parser."""


@dataclass(frozen=True)
class Found:
    """Points in a unit; ``None`` values are left out by the parser."""

    unit: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Login:
    """How a service gives out tokens."""

    request: Callable[[Ask], Request]
    token: Callable[[bytes], str]
    authorize: Callable[[Request, str], Request]
    """A request with the token in it."""


@dataclass(frozen=True)
class Past:
    """How a service is asked for what it knows of the past."""

    longest: timedelta
    """Of one question."""
    requests: Callable[[Ask], Sequence[Request]] | None = None
    """None: those of the present, which take an interval."""
    parse: Callable[[Ask, Sequence[bytes]], Found] | None = None
    """None: that of the present."""
    lag: timedelta = timedelta(0)
    """How long after its end a measured value is published, at the latest that is usual."""
    auction: tuple[str, int] | None = None
    """(time zone, hour of the day before) at which prices of a local day are known; None: as they begin."""
    pause_seconds: float = 1.0
    """Between two questions."""


@dataclass(frozen=True)
class Feed:
    """One service: its requests, and how its answers are read. An empty answer is ``b""``."""

    requests: Callable[[Ask], Sequence[Request]]
    parse: Callable[[Ask, Sequence[bytes]], Found]
    login: Login | None = None
    past: Past | None = None
    """None: it gives no history."""


def json_of(body: bytes) -> Any:
    """A JSON answer.

    Raises:
        SignalError: it is none (a truncated body, an error page).
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise SignalError(f"the answer is not JSON ({body[:60]!r}…)") from error


def list_of(document: Any, *names: str) -> list[Any]:
    """The first list that a document holds under one of these names.

    Raises:
        SignalError: it holds none: an error with status 200, or another shape.
    """
    for name in names:
        found = document.get(name) if isinstance(document, Mapping) else None
        if isinstance(found, list):
            return found
    shown = sorted(document)[:8] if isinstance(document, Mapping) else type(document).__name__
    raise SignalError(f"the answer holds no list called {' or '.join(names)} (it has: {shown})")


def number(value: Any) -> float | None:
    """A finite number, also one written as text; None for null and anything else."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if found == found and abs(found) != float("inf") else None  # noqa: PLR0124 - NaN is not itself


def utc(text: str) -> datetime:
    """An ISO 8601 time as UTC; one without an offset is UTC.

    Raises:
        SignalError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise SignalError(f"{text!r} is no ISO 8601 time") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def ordered(points: Sequence[Point]) -> tuple[Point, ...]:
    """Points by start without overlap: of two for one start the later one in the answer, each cut where the next begins."""
    latest = {point.start: point for point in points}
    found = sorted(latest.values(), key=lambda point: point.start)
    cut = [replace(a, end=min(a.end, b.start)) for a, b in pairwise(found)] + found[-1:]
    return tuple(point for point in cut if point.end > point.start)
