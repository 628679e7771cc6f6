"""Prometheus: what is measured of our own traffic, from ``query_range``.

https://prometheus.io/docs/prometheus/latest/querying/api/. A value at t speaks for the step before it. An empty result is
unknown, not zero; NaN and infinities are no values. Thanos, Mimir and Cortex answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from green_llm.domain.series import Measure, Point, Quality
from green_llm.domain.units import SECONDS_PER_HOUR
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Past, Request, json_of, list_of, number, ordered

STEP_SECONDS = 900
"""Small enough for slots of a quarter of an hour; a month of them stays below the 11,000 points of an answer."""
AGAIN = timedelta(hours=1)
"""Values that young are asked for again: scrapes come late."""
PARAMETER = re.compile(r"\$(?:\{(\w+):regex\}|(\w+))")
PER_SECOND = (Measure.DEMAND, Measure.FINISHED)
"""Measures that PromQL counts per second and that are kept per hour."""


def requests(ask: Ask) -> list[Request]:
    """The history up to the last full step."""
    end = ask.now.timestamp() // STEP_SECONDS * STEP_SECONDS
    since = ask.start if ask.known_until is None else max(ask.start, ask.known_until - AGAIN)
    start = since.timestamp() // STEP_SECONDS * STEP_SECONDS
    query = {"query": filled(ask), "start": f"{start:.0f}", "end": f"{end:.0f}", "step": str(STEP_SECONDS)}
    headers = {"Authorization": f"Bearer {ask.secret}"} if ask.secret else {}
    return [Request("/api/v1/query_range", query, headers=headers, read=frozenset({400, 422}))]


def filled(ask: Ask) -> str:
    """The query with its parameters, each escaped for a quoted string (and for a pattern, where it says so).

    Raises:
        SignalError: it names a parameter that is not given.
    """
    values = {**ask.params, "window": f"{STEP_SECONDS}s"}

    def text(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            raise SignalError(f'the query needs the parameter "{name}"')
        value = re.sub(r"([.+*?()|\[\]{}^$\\])", r"\\\1", values[name]) if match[1] else values[name]
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return PARAMETER.sub(text, ask.query)


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Measured values, a step each."""
    document = json_of(bodies[0])
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
    points = []
    for stamp, text in series[0]["values"] if series else ():
        value, end = number(text), datetime.fromtimestamp(float(stamp), UTC)
        if value is not None:
            points.append(Point(end - timedelta(seconds=STEP_SECONDS), end, value * factor, Quality.MEASURED, end))
    return Found(ask.kind.unit(""), ordered(points))


FEED = Feed(requests, parse, past=Past(timedelta(days=28), pause_seconds=0.0))
