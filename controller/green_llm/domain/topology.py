"""Sites, areas and classes: the physical and contractual facts between which traffic is steered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from green_llm.domain.series import SignalKind, SignalRef


@dataclass(frozen=True)
class Selector:
    """Selects objects by labels: all of ``match_labels`` must be there. An empty one selects everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with ``labels`` is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items())


@dataclass(frozen=True)
class Location:
    """A place on earth, degrees."""

    latitude: float
    longitude: float


class SiteState(StrEnum):
    """Whether a site takes traffic."""

    ACTIVE = "Active"
    DRAINING = "Draining"


class WaterBasis(StrEnum):
    """What a litre counts; a policy never mixes them."""

    CONSUMPTION = "Consumption"
    WITHDRAWAL = "Withdrawal"


class RenewableType(StrEnum):
    """Kind of on-site generation."""

    SOLAR = "Solar"
    WIND = "Wind"

    @property
    def output_signal(self) -> SignalKind:
        """The signal that says how much of the capacity is available."""
        return SignalKind.SOLAR_OUTPUT if self is RenewableType.SOLAR else SignalKind.WIND_OUTPUT


@dataclass(frozen=True)
class Renewable:
    """On-site generation."""

    type: RenewableType
    capacity_kw: float
    tilt_degrees: float = 25.0
    azimuth_degrees: float = 180.0
    """Direction that panels face, clockwise from north."""
    hub_height_m: float = 100.0
    sold_kg_per_kwh: float | None = None
    """Residual factor where the certificates are sold, None where they are kept. It counts in the account and never steers."""


@dataclass(frozen=True)
class WueModel:
    """On-site water that follows the wet bulb: the shape is a curve's, the level the site's own annual mean."""

    annual_mean_l_per_kwh: float
    curve_mean_l_per_kwh: float
    """Of the curve over a year of the site's weather."""


@dataclass(frozen=True)
class ResourceCapacity:
    """How much of a resource a site has."""

    name: str
    amount: float
    headroom: float = 0.0
    """Share kept free, 0 … 1."""


@dataclass(frozen=True)
class Performance:
    """What one hardware profile does and needs at a site."""

    profile: str
    throughput_tokens_per_second: float
    kwh_per_input_token: float
    kwh_per_output_token: float
    resource_seconds_per_token: Mapping[str, float] = field(default_factory=dict)
    measurements: SignalRef | None = None
    """Where what its servers measure comes from: shown beside the model, never planned with."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One data centre."""

    name: str
    created: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    state: SiteState = SiteState.ACTIVE
    location: Location
    time_zone: str
    pue: float
    wue_l_per_kwh: float | None
    """On-site water per IT energy; None where the ``wue`` signal gives it."""
    ewif_l_per_kwh: float | None
    """Off-site water per grid energy; None where the ``ewif`` signal gives it."""
    wue_model: WueModel | None = None
    """For a ``wue`` signal that comes from the weather."""
    water_basis: WaterBasis = WaterBasis.CONSUMPTION
    scarcity_on_site: float = 1.0
    scarcity_off_site: float = 1.0
    grid_limit_kw: float
    other_load_kw: float = 0.0
    carbon_price_per_kg: float = 0.0
    """Internal price in the policy's currency; never part of the reported cost."""
    market_kg_per_kwh: float | None = None
    """Carbon of grid energy by contract, for the market-based figure alone; None where it is not declared."""
    renewables: tuple[Renewable, ...] = ()
    capacity: tuple[ResourceCapacity, ...] = ()
    performance: Mapping[str, Performance] = field(default_factory=dict)
    """By profile."""
    signals: Mapping[SignalKind, tuple[SignalRef, ...]] = field(default_factory=dict)
    """Ordered chains."""


@dataclass(frozen=True)
class NetworkLink:
    """From an area to a site."""

    latency_s: float
    """Round trip."""
    bandwidth_mbps: float | None = None
    """None: transfer takes no time in the model."""


@dataclass(frozen=True)
class Area:
    """Where queries arrive."""

    name: str
    location: Location
    time_zone: str
    network: Mapping[str, NetworkLink] = field(default_factory=dict)
    """By site; a site left out is reached at great-circle latency without a transfer term."""


@dataclass(frozen=True)
class QueryClass:
    """One class of queries of one demand."""

    name: str
    profile: str
    input_tokens: float
    output_tokens: float
    bytes_per_token: float
    delay_limit_s: float | None
    delay_penalty_per_s: float
    allowed_sites: Selector = field(default_factory=Selector)
