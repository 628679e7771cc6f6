"""Prometheus: what is measured of our own traffic, from ``query_range``.

https://prometheus.io/docs/prometheus/latest/querying/api/. A value at t speaks for the step before it. An empty result is
unknown, not zero; NaN and infinities are no values. Thanos, Mimir and Cortex answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from green_llm.domain.series import Measure, Point, Quality
from green_llm.domain.services import CLASS
from green_llm.domain.units import SECONDS_PER_HOUR
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered

STEP_SECONDS = 900
"""Small enough for slots of a quarter of an hour."""
MOST_STEPS = 10_000
"""Of one answer; Prometheus gives 11,000 points at most."""
RECENT_STEP_SECONDS, RECENT_WINDOW_SECONDS, RECENT = 5, 60, timedelta(minutes=15)
"""Of measures of which only the last minutes are of use."""
AGAIN = timedelta(hours=1)
"""Values that young are asked for again: scrapes come late."""
PARAMETER = re.compile(r"\$(?:\{(\w+):regex\}|(\w+))")
PER_SECOND = (Measure.DEMAND, Measure.SERVED, Measure.FINISHED)
"""Measures that PromQL counts per second and that are kept per hour."""


def requests(ask: Ask) -> list[Request]:
    """The history up to the last full step."""
    step = step_seconds(ask)
    since = ask.start if ask.known_until is None else max(ask.start, ask.known_until - AGAIN)
    since = max(since, ask.now - RECENT) if _recent(ask) else since
    first, last = int(since.timestamp() // step), int(min(ask.now, ask.end).timestamp() // step)
    headers = {"Authorization": f"Bearer {ask.secret}"} if ask.secret else {}
    common = {"query": filled(ask), "step": str(step)}
    return [
        Request(
            "/api/v1/query_range",
            common | {"start": str(start * step), "end": str(min(start + MOST_STEPS - 1, last) * step)},
            headers=headers,
            read=frozenset({400, 422}),
        )
        for start in range(first, last + 1, MOST_STEPS)
    ]


def _recent(ask: Ask) -> bool:
    return isinstance(ask.kind, Measure) and ask.kind.recent


def step_seconds(ask: Ask) -> int:
    """Time between two values, s."""
    return ask.step_seconds or (RECENT_STEP_SECONDS if _recent(ask) else STEP_SECONDS)


def filled(ask: Ask) -> str:
    """The query with its parameters, each escaped for a quoted string (and for a pattern, where it says so).

    Raises:
        SignalError: it names a parameter that is not given.
    """
    window = RECENT_WINDOW_SECONDS if _recent(ask) else step_seconds(ask)
    values = {CLASS: ".*", **ask.params, "window": f"{window}s"}

    def text(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            raise SignalError(f'the query needs the parameter "{name}"')
        value = re.sub(r"([.+*?()|\[\]{}^$\\])", r"\\\1", values[name]) if match[1] else values[name]
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return PARAMETER.sub(text, ask.query)


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Measured values, a step each."""
    points = [point for body in bodies for point in _points(ask, body)]
    return Found(ask.kind.unit(""), ordered(points))


def _points(ask: Ask, body: bytes) -> Iterator[Point]:
    """Those of one answer."""
    document = json_of(body)
    if not isinstance(document, dict) or document.get("status") != "success":
        kind, text = (
            (str(document.get(name)) for name in ("errorType", "error")) if isinstance(document, dict) else ("", "")
        )
        raise SignalError(f"Prometheus refuses the query: {kind}: {text}")
    data = document.get("data") or {}
    if data.get("resultType") != "matrix":
        raise SignalError(f"the answer is a {data.get('resultType')}, not a matrix")
    series = list_of(data, "result")
    if len(series) > 1:
        labels = ", ".join(sorted({name for entry in series for name in entry.get("metric", {})}))
        raise SignalError(f"the query gives {len(series)} series (by {labels}); sum them")
    factor = SECONDS_PER_HOUR if ask.kind in PER_SECOND else 1.0
    step = timedelta(seconds=step_seconds(ask))
    for stamp, text in series[0]["values"] if series else ():
        value, end = number(text), datetime.fromtimestamp(float(stamp), UTC)
        if value is not None:
            yield Point(end - step, end, value * factor, Quality.MEASURED, end)


FEED = Feed(requests, parse, past=Past(timedelta(days=28), pause_seconds=0.0))
