"""Which values of a source may be used now: how old, how plausible, and how a price becomes a delivered one. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from green_llm.domain.request import CsvSettings, LiveSettings, Policy, Source
from green_llm.domain.series import Point, Quality, SignalKind, SignalRef
from green_llm.errors import SignalError

PLAUSIBLE = {
    SignalKind.ELECTRICITY_PRICE: (-2000.0, 20000.0),
    SignalKind.CARBON_INTENSITY: (0.0, 2000.0),
    SignalKind.SOLAR_OUTPUT: (0.0, 1.5),
    SignalKind.WIND_OUTPUT: (0.0, 1.5),
    SignalKind.WUE: (0.0, 50.0),
    SignalKind.EWIF: (0.0, 50.0),
}
"""In the kind's unit, prices in USD. Outside, a value is taken for an error of the source and not used."""
USD_WORTH = {
    "AUD": 0.65, "CAD": 0.72, "CHF": 1.2, "CNY": 0.14, "CZK": 0.046, "DKK": 0.15, "EUR": 1.1, "GBP": 1.3, "HUF": 0.0029,
    "INR": 0.012, "JPY": 0.0067, "KRW": 0.0007, "NOK": 0.096, "NZD": 0.6, "PLN": 0.26, "SEK": 0.1, "SGD": 0.76,
}  # fmt: skip
"""Orders of magnitude for these bounds alone, where a policy gives no rate; nothing is ever converted with them."""
ACTUAL = (Quality.MEASURED, Quality.ESTIMATED)
AGREED = ("DayAhead", "Retail")
"""Prices of a slot of their own: the one before says nothing of them."""


def basis_of(policy: Policy, kind: SignalKind, reference: SignalRef) -> str | None:
    """What a value counts: a price's basis, or how carbon is counted."""
    return "/".join(vars(policy.accounting).values()) if kind is SignalKind.CARBON_INTENSITY else reference.basis


def is_fresh(point: Point, reference: SignalRef, source: Source, now: datetime) -> bool:
    """Whether a point may be used now. What has elapsed, a day-ahead price or a tariff does not age."""
    if point.issued_at is None or point.end <= now or reference.basis == "DayAhead":
        return True
    return (now - point.issued_at).total_seconds() <= source.stale_after_seconds


def is_settled(point: Point, reference: SignalRef, now: datetime) -> bool:
    """Whether a point is what was: nothing that was foreseen, repeated or assumed."""
    agreed = reference.basis == "DayAhead" or (reference.basis is not None and point.issued_at is None)
    return point.end <= now and (agreed or point.quality in ACTUAL)


def carried_since(source: Source, start: datetime, now: datetime) -> datetime:
    """From when on a source is asked: its last measurement may be older than the first slot."""
    if not isinstance(source.settings, CsvSettings | LiveSettings):
        return start
    return min(start, now - timedelta(seconds=source.stale_after_seconds))


def carried(
    points: Sequence[Point], reference: SignalRef, source: Source, now: datetime, until: datetime
) -> list[Point]:
    """The points, the last measurement standing for the time from its end up to ``until``, the end of the current slot.

    Not where something follows it, and not once its end is longer ago than the source's values keep.
    """
    past = [point for point in points if point.quality in ACTUAL and point.end <= now]
    if not past or reference.basis in AGREED:
        return list(points)
    last = max(past, key=lambda point: point.end)
    if (now - last.end).total_seconds() > source.stale_after_seconds:
        return list(points)
    end = min([until, *(point.start for point in points if point.start >= last.end)])
    return [replace(point, end=max(end, point.end)) if point is last else point for point in points]


def check_plausible(points: Iterable[Point], kind: SignalKind, policy: Policy, source: Source, unit: str) -> None:
    """Refuse values that no such signal has.

    Raises:
        SignalError: there is one; names it.
    """
    low, high = _plausible(kind, policy)
    for point in points:
        if not low <= point.value <= high:
            raise SignalError(
                f"SignalSource {source.name} gives {point.value:g} {unit} at {point.start:%Y-%m-%dT%H:%MZ}, "
                f"outside {low:g} … {high:g}; check its unit"
            )


def _plausible(kind: SignalKind, policy: Policy) -> tuple[float, float]:
    """Bounds in the kind's unit; prices in a currency of unknown worth have none."""
    low, high = PLAUSIBLE[kind]
    if kind is not SignalKind.ELECTRICITY_PRICE or policy.currency == "USD":
        return low, high
    given = {entry.source_currency: entry.rate for entry in policy.exchange_rates}
    worth = 1.0 / given["USD"] if "USD" in given else USD_WORTH.get(policy.currency)
    return (-math.inf, math.inf) if worth is None else (low / worth, high / worth)


def delivered(kind: SignalKind, reference: SignalRef) -> Callable[[float], float]:
    """A wholesale price as a delivered one."""
    if kind is not SignalKind.ELECTRICITY_PRICE:
        return lambda value: value
    return lambda value: value * reference.multiplier + reference.adder_per_mwh
