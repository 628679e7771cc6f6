"""Signals: values over time that know their unit, source, age and quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from green_llm.domain.time import Slots


class SignalKind(StrEnum):
    """What a signal measures; the value is its name in an InferenceSite's ``signals``."""

    ELECTRICITY_PRICE = "electricityPrice"
    CARBON_INTENSITY = "carbonIntensity"
    SOLAR_OUTPUT = "solarOutput"
    WIND_OUTPUT = "windOutput"
    WUE = "wue"
    EWIF = "ewif"

    def unit(self, currency: str) -> str:
        """The unit in which values of this kind are kept; ``currency`` is the policy's ISO 4217 code."""
        units = {
            SignalKind.ELECTRICITY_PRICE: f"{currency}/MWh",
            SignalKind.CARBON_INTENSITY: "g/kWh",
            SignalKind.SOLAR_OUTPUT: "kW/kW",
            SignalKind.WIND_OUTPUT: "kW/kW",
            SignalKind.WUE: "L/kWh",
            SignalKind.EWIF: "L/kWh",
        }
        return units[self]


RECENT_POLL_SECONDS = 15.0
"""How often measures are asked at the least of which only the last minutes are of use."""


class Measure(StrEnum):
    """What is measured of our own traffic; the value is its name in a SignalSource."""

    DEMAND = "demand"
    """Queries that arrive, before routing: the one measure that plans may follow."""
    SERVED = "servedQueries"
    """Queries that a gateway has sent to one back-end: after routing, so for the account alone."""
    FINISHED = "finishedQueries"
    """Queries that a site has finished: after routing, so a cross-check and never a demand."""
    INPUT_TOKENS = "inputTokensPerQuery"
    OUTPUT_TOKENS = "outputTokensPerQuery"
    THROUGHPUT = "tokens"
    MEAN_DELAY = "meanDelay"
    """Of a query: at the gateway from its rule on, at a site's servers from arrival to the last token."""
    P95_DELAY = "p95Delay"
    """Of the queries a site has answered lately: what the SLO guard looks at."""
    ERROR_RATIO = "errorRatio"
    """Queries that a site answered with an error or not at all, of all it was sent."""

    @property
    def recent(self) -> bool:
        """Whether only the last minutes are of use: kept no longer, and in small steps."""
        return self in (Measure.P95_DELAY, Measure.ERROR_RATIO)

    def unit(self, currency: str) -> str:
        """The unit in which values of this measure are kept."""
        del currency
        units = {
            Measure.DEMAND: "queries/h",
            Measure.SERVED: "queries/h",
            Measure.FINISHED: "queries/h",
            Measure.INPUT_TOKENS: "tokens",
            Measure.OUTPUT_TOKENS: "tokens",
            Measure.THROUGHPUT: "tokens/s",
            Measure.MEAN_DELAY: "s",
            Measure.P95_DELAY: "s",
            Measure.ERROR_RATIO: "1",
        }
        return units[self]


Quantity = SignalKind | Measure
MeasureKey = tuple[str, str, Measure]
"""(site, profile, measure)."""


class Quality(StrEnum):
    """How a value came to be, best first."""

    MEASURED = "measured"
    FORECAST = "forecast"
    ESTIMATED = "estimated"
    PROFILE = "profile"
    PERSISTENCE = "persistence"
    STATIC = "static"


@dataclass(frozen=True)
class Point:
    """One value over ``[start, end)`` (UTC)."""

    start: datetime
    end: datetime
    value: float
    quality: Quality
    issued_at: datetime | None = None
    """When the value was published: of a forecast its issue, of a measurement the end of its interval.

    None for what does not age: a tariff, a day-ahead price, a constant.
    """
    other_value: float | None = None
    """The same counted the other way, where there are two: water of electricity with and without reservoirs."""


def mean_over(points: Sequence[Point]) -> float | None:
    """The mean over the time that points speak for; None without any."""
    seconds = [(point.end - point.start).total_seconds() for point in points]
    return sum(p.value * s for p, s in zip(points, seconds, strict=True)) / sum(seconds) if points else None


@dataclass(frozen=True)
class Series:
    """What one source knows about one kind: points in ``unit``, ordered by start, without overlap, maybe with gaps."""

    kind: Quantity
    source: str
    unit: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class SlotValue:
    """The value of a signal in one slot (energy-weighted over the slot), with where it came from."""

    value: float
    source: str
    quality: Quality
    issued_at: datetime | None = None
    other_value: float | None = None
    """The same counted the other way (``Point.other_value``); never planned with."""
    basis: str | None = None
    """What it counts: DayAhead, RealTime or Retail of a price, average or marginal and so on of carbon."""
    rank: int = 0
    """Place of its source in the chain; more than 0 is a fall-back."""


@dataclass(frozen=True)
class SignalProblem:
    """A source that could not be used, or a slot that no source of the chain covers."""

    site: str
    kind: SignalKind
    message: str
    source: str | None = None
    """None: the whole chain has nothing."""
    slot_start: datetime | None = None
    """The first slot concerned."""


@dataclass(frozen=True)
class SignalBook:
    """All signals of a horizon: for each (site, kind) one value per slot, None where no source of the chain has one."""

    slots: Slots
    values: Mapping[tuple[str, SignalKind], tuple[SlotValue | None, ...]]
    problems: tuple[SignalProblem, ...] = ()


@dataclass(frozen=True)
class SignalRef:
    """An entry of a site's chain: a source, what to ask it for, and how its price becomes a delivered one."""

    source: str
    params: Mapping[str, str] = field(default_factory=dict)
    basis: str | None = None
    """DayAhead, RealTime or Retail; prices only."""
    multiplier: float = 1.0
    adder_per_mwh: float = 0.0
    """In the policy's currency; prices only."""


@dataclass(frozen=True)
class Place:
    """Where a site is, and how its first installation of the kind that is asked for stands."""

    latitude: float
    longitude: float
    tilt_degrees: float = 25.0
    azimuth_degrees: float = 180.0
    """Clockwise from north."""
    hub_height_m: float = 100.0
    wue_annual_mean_l_per_kwh: float = 0.0
    """Of the site, over a year."""
    wue_curve_mean_l_per_kwh: float = 0.0
    """Of the curve over a year of the site's weather."""


@dataclass(frozen=True)
class SignalQuery:
    """What a provider is asked for: values of one kind over ``[start, end)`` as known at ``now``."""

    kind: Quantity
    params: Mapping[str, str]
    start: datetime
    end: datetime
    now: datetime
    unit: str
    """The unit the answer must be in; a source in another one converts or refuses."""
    time_zone: str
    """IANA name of the site's time zone."""
    exchange_rates: Mapping[str, float] = field(default_factory=dict)
    """What one unit of another currency is worth in that of ``unit``, as the policy says."""
    place: Place | None = None
    """For what depends on where a site's installation stands."""
    basis: str | None = None
    """What the chain says a price is; recorded beside it."""
    step_seconds: int | None = None
    """Time between two values, where a source can be asked for it."""


@dataclass
class SourceHealth:
    """How a live source does: what its status and metrics say."""

    last_success: datetime | None = None
    last_error: str | None = None
    """Of the last round; None where it went well."""
    reason: str | None = None
    """Of ``last_error``: configuration, rate_limited, server, network, timeout or answer."""
    fetch_seconds: float | None = None
    fetches: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """By reason."""
    forecast_errors: dict[str, float] = field(default_factory=dict)
    """Of forecasts at least half a day ahead against what was measured, over two days, by kind."""
    quota: str | None = None
    """What the service says is left of what it allows, in its words."""
