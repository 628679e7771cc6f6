"""What users ask for: policies, demands and sources, parsed and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from green_llm.domain.plan import Order
from green_llm.domain.routes import BackendKey, RouteKey
from green_llm.domain.series import Measure
from green_llm.domain.topology import Area, QueryClass, Selector, Site


class Mode(StrEnum):
    """Whether weights are written. The stricter of a policy's and a demand's counts."""

    SHADOW = "Shadow"
    ACTIVE = "Active"


@dataclass(frozen=True)
class WaterBudget:
    """Litres per period."""

    liters: float
    period_days: int


@dataclass(frozen=True)
class SourceRef:
    """A source and what to ask it for."""

    source: str
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Slo:
    """What sites must keep after a shift; delay limits are those of the classes."""

    sources: Mapping[str, SourceRef]
    """Who measures, by hardware profile; the parameter ``site`` is the site's name where it is not given."""
    window_seconds: float = 120.0
    """A load must prove itself for so long; at least twice the queries' own windows."""
    backoff_seconds: float = 900.0
    """How long the first cap is kept; doubles with each break."""
    max_error: float = 0.01
    """Largest share of queries that may fail, 0 … 1."""


@dataclass(frozen=True)
class Guardrails:
    """How far and how often weights may move."""

    max_shift: float = 1.0
    """Largest total-variation distance between the old and new shares of one write, 0 … 1."""
    max_site: float = 1.0
    """Largest share of one site, 0 … 1."""
    deadband: float = 0.0
    """No write while every share moves by less than this, 0 … 1."""
    min_write_seconds: float = 0.0
    hold_seconds: float = 3600.0
    """How long a site without signals keeps its share before it leaves by the ramp."""
    slo: Slo | None = None

    @property
    def between_writes_seconds(self) -> float:
        """Shortest time between ordinary writes: with an SLO each shift is judged before the next."""
        return max(self.min_write_seconds, 0.0 if self.slo is None else self.slo.window_seconds)


@dataclass(frozen=True)
class CarbonAccounting:
    """What a carbon intensity counts; sources that differ are refused by name."""

    signal: str = "Average"
    factors: str = "Lifecycle"
    boundary: str = "Consumption"


@dataclass(frozen=True)
class ExchangeRate:
    """One unit of ``source_currency`` is worth ``rate`` of the policy's currency, as of a date the user gave."""

    source_currency: str
    rate: float
    as_of: date


@dataclass(frozen=True)
class DemandLimits:
    """Caps on what one demand may claim; None = no cap."""

    queries_per_hour: float | None = None
    delay_penalty_per_s: float | None = None
    managed_gateways: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What matters in which order, and within which limits."""

    name: str
    created: datetime
    generation: int = 0
    mode: Mode = Mode.SHADOW
    period_seconds: int = 300
    slot_seconds: int = 3600
    slots: int = 24
    currency: str = "USD"
    exchange_rates: tuple[ExchangeRate, ...] = ()
    accounting: CarbonAccounting = field(default_factory=CarbonAccounting)
    order: Order = field(default_factory=Order)
    water: WaterBudget | None = None
    sites: Selector | None = None
    """None selects no site."""
    areas: Mapping[str, Area] = field(default_factory=dict)
    allowed_namespaces: Selector | None = None
    """None admits no namespace."""
    limits: DemandLimits = field(default_factory=DemandLimits)
    guardrails: Guardrails = field(default_factory=Guardrails)

    @property
    def takes_inventory(self) -> bool:
        """Whether emissions may be shown as amounts; marginal ones mean something only as differences."""
        return self.accounting.signal == "Average"


@dataclass(frozen=True)
class DemandEntry:
    """How many queries of a class arrive in an area: a profile by wall clock, or a source."""

    query_class: str
    queries_per_hour: tuple[float, ...] = ()
    """24 values (hours of a day) or 168 (hours of a week from Monday), local time of the area."""
    source: SourceRef | None = None


@dataclass(frozen=True)
class ManagedTemplate:
    """The spec of a route that we make and own, without back-ends."""

    gateways: tuple[str, ...]
    """``namespace/name`` of each Gateway it attaches to."""
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class RouteTarget:
    """A route to steer, and which of its rules carries which class."""

    key: RouteKey
    rules: Mapping[str, str]
    """Rule name by class."""
    template: ManagedTemplate | None = None
    """None for a route that exists: only its weights are ours."""


@dataclass(frozen=True)
class DemandArea:
    """What arrives in one area, and the routes that carry it."""

    name: str
    entries: tuple[DemandEntry, ...]
    routes: tuple[RouteTarget, ...] = ()


@dataclass(frozen=True)
class Backend:
    """Which back-end stands for which site, of one class or of all."""

    site: str
    key: BackendKey
    query_class: str | None = None


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The traffic of one application."""

    namespace: str
    name: str
    created: datetime
    generation: int = 0
    policy: str
    mode: Mode = Mode.ACTIVE
    suspend: bool = False
    restore_on_delete: bool = True
    classes: Mapping[str, QueryClass]
    areas: tuple[DemandArea, ...]
    backends: tuple[Backend, ...] = ()

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class TariffPeriod:
    """Hours at one price, local time: ``start_hour`` until before ``end_hour`` on ``weekdays`` (0 = Monday)."""

    price_per_mwh: float
    start_hour: int = 0
    end_hour: int = 24
    weekdays: frozenset[int] = frozenset(range(7))
    months: frozenset[int] = frozenset(range(1, 13))


@dataclass(frozen=True)
class StaticSettings:
    """One constant."""

    value: float
    unit: str


@dataclass(frozen=True)
class TariffSettings:
    """Time-of-use prices; the first matching period counts."""

    currency: str
    time_zone: str
    periods: tuple[TariffPeriod, ...]


@dataclass(frozen=True)
class CsvSettings:
    """Recorded values: columns ``start,end,value,unit,quality,issued_at``."""

    file: str
    """Path relative to the resources, with ``{param}`` place-holders; or ``configmap:NAME/KEY``."""
    publication_lag_seconds: float = 0.0
    """A row without ``issued_at`` is an actual and becomes visible this long after its end."""


@dataclass(frozen=True)
class PersistenceSettings:
    """The same local hour some days ago, from the sources before this one in the chain."""

    days: int = 1
    """1 (yesterday) or 7 (last week)."""


@dataclass(frozen=True)
class LiveSettings:
    """A service that is asked over the network."""

    service: str
    """Its name in ``domain.services.SERVICES``."""
    base_url: str
    poll_seconds: float
    timeout_seconds: float = 10.0
    secret: tuple[str, str] | None = None
    """Name and key of the Secret, in the operator's namespace."""
    queries: Mapping[Measure, str] = field(default_factory=dict)
    """PromQL by what it measures, with ``$name`` for parameters; Prometheus only."""
    step_seconds: int | None = None
    """Time between two values of Prometheus; None: as it suits."""
    history_days: int = 0
    """How far back it is asked for what forecasts are made of; 0: as the service suits."""


ProviderSettings = StaticSettings | TariffSettings | CsvSettings | PersistenceSettings | LiveSettings


@dataclass(frozen=True, kw_only=True)
class Source:
    """One configured provider."""

    name: str
    generation: int = 0
    settings: ProviderSettings
    stale_after_seconds: float = 7200.0
    allowed_namespaces: Selector | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    """Regular expression each parameter must match in full, by parameter."""
    optional_params: Mapping[str, str] = field(default_factory=dict)
    """The same of those that may be left out."""
    accounting: CarbonAccounting | None = None


class Kind(StrEnum):
    """The four kinds of resource."""

    DEMAND = "InferenceDemand"
    SITE = "InferenceSite"
    POLICY = "GreenPolicy"
    SOURCE = "SignalSource"


@dataclass(frozen=True, order=True)
class ObjectKey:
    """Which resource; ``namespace`` is empty for the cluster-scoped kinds."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        """``InferenceDemand inference/assistant``, as messages name it."""
        return f"{self.kind.value} {self.namespace}/{self.name}" if self.namespace else f"{self.kind.value} {self.name}"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a resource: where, what, and what to do."""

    key: ObjectKey
    field: str
    message: str
    reason: str = "Invalid"
    """CamelCase, from a fixed list: it becomes the reason of a condition."""


@dataclass(frozen=True)
class Resources:
    """Everything a store holds at one moment: what parsed, and what did not."""

    policies: Mapping[str, Policy] = field(default_factory=dict)
    sites: Mapping[str, Site] = field(default_factory=dict)
    demands: Mapping[str, Demand] = field(default_factory=dict)
    """By ``namespace/name``."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    """Of the objects that did not parse."""
