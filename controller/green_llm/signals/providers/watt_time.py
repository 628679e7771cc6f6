"""WattTime v3: marginal emissions (co2_moer), five minutes, 72 h ahead.

https://docs.watttime.org
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from green_llm.domain.series import Point, Quality
from green_llm.errors import SignalError
from green_llm.signals.feed import Ask, Feed, Found, Login, Past, Request, json_of, list_of, number, ordered, utc

UNITS = {"lbs_co2_per_mwh": "lb/MWh"}


def login(ask: Ask) -> Request:
    """A token for half an hour, for USER:PASSWORD."""
    basic = base64.b64encode(ask.secret.encode()).decode()
    return Request("/login", headers={"Authorization": f"Basic {basic}"})


def token(body: bytes) -> str:
    """The token in the answer to a login."""
    found = json_of(body)
    if not isinstance(found, dict) or not isinstance(found.get("token"), str):
        raise SignalError("the login gave no token; check the user and the password")
    return str(found["token"])


def authorize(request: Request, found: str) -> Request:
    """The request with the token."""
    return replace(request, headers={**request.headers, "Authorization": f"Bearer {found}"})


def requests(ask: Ask) -> list[Request]:
    """The newest forecast."""
    query = {"region": ask.params["region"], "signal_type": "co2_moer", "horizon_hours": "48"}
    return [Request("/v3/forecast", query)]


def parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """Points in lb/MWh, as the service gives them."""
    unit, points = _forecast(ask, json_of(bodies[0]))
    return Found(unit, ordered(points))


def _forecast(ask: Ask, document: Any) -> tuple[str, list[Point]]:
    rows = list_of(document, "data")
    meta = document.get("meta") or {}
    if meta.get("region") not in (None, ask.params["region"]):
        raise SignalError(f'answered for the region "{meta["region"]}", not "{ask.params["region"]}"')
    unit = UNITS.get(str(meta.get("units")))
    if unit is None:
        raise SignalError(f'the unit "{meta.get("units")}" is unknown (known: {", ".join(UNITS)})')
    step = timedelta(seconds=int(meta.get("data_point_period_seconds") or 300))
    issued = utc(meta["generated_at"]) if meta.get("generated_at") else ask.now
    points = [
        Point(start := utc(row["point_time"]), start + step, value, Quality.FORECAST, issued)
        for row in rows
        if (value := number(row.get("value"))) is not None
    ]
    return unit, points


def past_requests(ask: Ask) -> list[Request]:
    """The forecasts issued in the interval, at most a day of them."""
    query = {
        "region": ask.params["region"], "signal_type": "co2_moer", "horizon_hours": "48",
        "start": f"{ask.start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{ask.end:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
    return [Request("/v3/forecast/historical", query)]


def past_parse(ask: Ask, bodies: Sequence[bytes]) -> Found:
    """The first forecast of each hour: one every five minutes would be 300 times the values."""
    document = json_of(bodies[0])
    unit, found, hours = "lb/MWh", list[Point](), set[datetime]()
    for entry in list_of(document, "data"):
        issued = utc(entry["generated_at"])
        hour = issued.replace(minute=0, second=0, microsecond=0)
        if hour in hours:
            continue
        hours.add(hour)
        one = {
            "data": entry["forecast"],
            "meta": {**(document.get("meta") or {}), "generated_at": entry["generated_at"]},
        }
        unit, points = _forecast(ask, one)
        found += points
    return Found(unit, tuple(found))


FEED = Feed(requests, parse, Login(login, token, authorize), Past(timedelta(days=1), past_requests, past_parse))
