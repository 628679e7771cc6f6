"""GreenPolicy: what matters in which order, areas, budgets, horizon, guardrails, mode, who may join."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from green_llm.api.v1alpha1.common import (
    CarbonBasis,
    Currency,
    GeoLocation,
    LabelSelector,
    Model,
    Name,
    Percent,
    PositiveText,
    SourceParams,
    TimeZone,
)
from green_llm.domain.plan import Objective, Order, Tolerance
from green_llm.domain.request import (
    CarbonAccounting,
    DemandLimits,
    ExchangeRate,
    Guardrails,
    Mode,
    Policy,
    Slo,
    SourceRef,
    WaterBudget,
)
from green_llm.domain.topology import Area, NetworkLink
from green_llm.domain.units import fraction, seconds

OBJECTIVES = {
    "Cost": Objective.COST,
    "CarbonCost": Objective.CARBON,
    "Emissions": Objective.EMISSIONS,
    "Delay": Objective.DELAY,
    "Water": Objective.WATER,
}
LONGEST_HORIZON_SECONDS = 7 * 86400


class Horizon(Model):
    """The slots that are planned ahead."""

    slot_seconds: Annotated[int, Field(ge=300, le=86400)] = Field(
        3600, description="Length of a slot, s; divides 86400."
    )
    slots: Annotated[int, Field(ge=1, le=336)] = Field(24, description="Number of slots; at most 7 days together.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 86400 % self.slot_seconds:
            raise ValueError(f"slotSeconds: {self.slot_seconds} does not divide a day of 86400 s; take 900 or 3600")
        if self.slot_seconds * self.slots > LONGEST_HORIZON_SECONDS:
            raise ValueError(f"slots: {self.slots} slots of {self.slot_seconds} s are more than 7 days; take fewer")
        return self


class ExchangeRateSpec(Model):
    """A rate the user vouches for."""

    from_: Currency = Field(alias="from", description="Currency to convert from, ISO 4217.")
    rate: PositiveText = Field(description="What one unit of it is worth in the policy's currency.")
    as_of_date: date = Field(description="The day the rate is from.")


class ObjectiveSpec(Model):
    """One objective of the order."""

    name: Literal["Cost", "CarbonCost", "Emissions", "Delay", "Water"] = Field(description="What to minimise.")
    tolerance_percent: PositiveText = Field(
        "0.1", description="How much of its optimum may be given up for the objectives after it, per cent."
    )


class WaterSpec(Model):
    """A water budget."""

    budget_liters: Annotated[int, Field(ge=0, le=1_000_000_000_000)] = Field(
        description="Litres per period, all sites."
    )
    period_days: Annotated[int, Field(ge=1, le=366)] = Field(30, description="Length of a period, days.")


class Network(Model):
    """The way from an area to a site."""

    site: Name = Field(description="Name of the InferenceSite.")
    latency_milliseconds: Annotated[int, Field(ge=0, le=100_000)] = Field(description="Round trip, ms.")
    bandwidth_mbps: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Bandwidth, Mbit/s; left out, transfer takes no time."
    )


class AreaSpec(Model):
    """Where queries arrive."""

    name: Name = Field(description="Name of the area.")
    location: GeoLocation = Field(description="Where it is.")
    time_zone: TimeZone = Field(description="IANA time zone of demand profiles.")
    network: Annotated[tuple[Network, ...], Field(max_length=64)] = Field(
        (), description="Ways to sites; those left out are estimated from the great-circle distance."
    )


GatewayName = Annotated[str, StringConstraints(max_length=127, pattern=r"^[a-z0-9][-a-z0-9.]*/[a-z0-9][-a-z0-9.]*$")]


class Limits(Model):
    """Caps on what one demand may claim."""

    queries_per_hour_per_demand: Annotated[int, Field(ge=0, le=1_000_000_000_000)] | None = Field(
        None, description="Most queries per hour, all areas and classes of a demand at their peaks."
    )
    delay_penalty_per_second: PositiveText | None = Field(None, description="Highest delay penalty a class may claim.")
    allow_managed: Annotated[tuple[GatewayName, ...], Field(max_length=16)] = Field(
        (), description="Gateways that managed routes may attach to, each as namespace/name."
    )


class SloProfile(SourceParams):
    """Who measures how the sites of one hardware profile do."""

    profile: Name = Field(description="Name of the hardware profile, as sites describe it.")


class SloSpec(Model):
    """What sites must keep. One that breaks it after a shift is taken back to where it was, and capped for a while.

    Delay limits are those of the demands' classes: the strictest of a profile is compared with its p95.
    """

    profiles: Annotated[tuple[SloProfile, ...], Field(min_length=1, max_length=16)] = Field(
        description="Prometheus sources that measure p95Delay, errorRatio or both, by profile."
    )
    window_seconds: Annotated[int, Field(ge=10, le=1800)] = Field(
        120,
        description="How long a shift must prove itself before the next, s; at least twice the queries' own windows and "
        "four times the period at which their source is asked.",
    )
    backoff_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        900, description="How long the first cap of a site is kept, s; doubles each time, up to a day."
    )
    max_error_percent: PositiveText = Field("1", description="Most queries that may fail, per cent.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.profile for entry in self.profiles]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'profiles: "{twice[0]}" is there more than once; name it once')
        if float(self.max_error_percent) > 100:
            raise ValueError(f"maxErrorPercent: {self.max_error_percent} is more than 100; write per cent")
        return self

    def to_domain(self) -> Slo:
        """As the domain's."""
        return Slo(
            sources={entry.profile: SourceRef(entry.source, dict(entry.params)) for entry in self.profiles},
            window_seconds=float(self.window_seconds),
            backoff_seconds=float(self.backoff_seconds),
            max_error=fraction(float(self.max_error_percent)),
        )


class GuardrailsSpec(Model):
    """How far and how often weights may move."""

    max_shift_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        100, description="Most traffic of a rule that one write may move, per cent."
    )
    max_site_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        100, description="Largest share of one site, per cent."
    )
    deadband_percent: Percent = Field(0, description="No write while every share moves by less, per cent.")
    min_write_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(0, description="Shortest time between writes, s.")
    hold_seconds: Annotated[int, Field(ge=0, le=604800)] = Field(
        3600, description="How long a site without signals keeps its share, s."
    )
    slo: SloSpec | None = Field(None, description="What sites must keep after a shift; not guarded where left out.")


class PolicySpec(Model):
    """A policy."""

    mode: Literal["Shadow", "Active"] = Field("Shadow", description="Shadow plans and explains but writes no route.")
    period_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(300, description="Re-solve at least this often, s.")
    horizon: Horizon = Field(default_factory=Horizon, description="Slots planned ahead.")
    currency: Currency = Field("USD", description="ISO 4217 code of all money.")
    exchange_rates: Annotated[tuple[ExchangeRateSpec, ...], Field(max_length=16)] = Field(
        (), description="Rates for sources in another currency."
    )
    carbon_accounting: CarbonBasis = Field(
        default_factory=CarbonBasis, description="What carbon intensities must count."
    )
    objectives: Annotated[tuple[ObjectiveSpec, ...], Field(min_length=1, max_length=5)] = Field(
        (ObjectiveSpec(name="Cost"), ObjectiveSpec(name="Emissions"), ObjectiveSpec(name="Delay")),
        description="Lexicographic order, most important first.",
    )
    water: WaterSpec | None = Field(None, description="Water budget; none where left out.")
    sites: LabelSelector | None = Field(None, description="Sites of the policy; absent selects none, {} all.")
    areas: Annotated[tuple[AreaSpec, ...], Field(min_length=1, max_length=64)] = Field(
        description="Where queries arrive."
    )
    allowed_namespaces: LabelSelector | None = Field(
        None, description="Namespaces whose demands may join; absent admits none, {} all."
    )
    limits: Limits = Field(default_factory=Limits, description="Caps on what one demand may claim.")
    guardrails: GuardrailsSpec = Field(default_factory=GuardrailsSpec, description="How weights may move.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lists: dict[str, list[str]] = {
            "objectives": [objective.name for objective in self.objectives],
            "areas": [area.name for area in self.areas],
        }
        lists |= {f"areas[{n}].network": [link.site for link in area.network] for n, area in enumerate(self.areas)}
        for field, names in lists.items():
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f'{field}: "{twice[0]}" is there more than once; name it once')
        return self

    def to_domain(self, name: str, created: datetime, labels: Mapping[str, str], generation: int) -> Policy:
        """As the domain's policy."""
        del labels
        rails, penalty = self.guardrails, self.limits.delay_penalty_per_second
        return Policy(
            name=name,
            created=created,
            generation=generation,
            mode=Mode(self.mode),
            period_seconds=self.period_seconds,
            slot_seconds=self.horizon.slot_seconds,
            slots=self.horizon.slots,
            currency=self.currency,
            exchange_rates=tuple(ExchangeRate(e.from_, float(e.rate), e.as_of_date) for e in self.exchange_rates),
            accounting=to_accounting(self.carbon_accounting),
            order=Order(
                tuple(OBJECTIVES[entry.name] for entry in self.objectives),
                tuple(Tolerance(fraction(float(entry.tolerance_percent))) for entry in self.objectives),
            ),
            water=WaterBudget(float(self.water.budget_liters), self.water.period_days) if self.water else None,
            sites=self.sites.to_domain() if self.sites is not None else None,
            areas={area.name: _area(area) for area in self.areas},
            allowed_namespaces=self.allowed_namespaces.to_domain() if self.allowed_namespaces is not None else None,
            limits=DemandLimits(
                queries_per_hour=self.limits.queries_per_hour_per_demand,
                delay_penalty_per_s=None if penalty is None else float(penalty),
                managed_gateways=self.limits.allow_managed,
            ),
            guardrails=Guardrails(
                max_shift=fraction(rails.max_shift_percent),
                max_site=fraction(rails.max_site_percent),
                deadband=fraction(rails.deadband_percent),
                min_write_seconds=rails.min_write_seconds,
                hold_seconds=rails.hold_seconds,
                slo=rails.slo.to_domain() if rails.slo is not None else None,
            ),
        )


def to_accounting(basis: CarbonBasis) -> CarbonAccounting:
    """As the domain's accounting."""
    return CarbonAccounting(basis.signal, basis.factors, basis.boundary)


def _area(area: AreaSpec) -> Area:
    links = {
        link.site: NetworkLink(
            seconds(link.latency_milliseconds), None if link.bandwidth_mbps is None else float(link.bandwidth_mbps)
        )
        for link in area.network
    }
    return Area(area.name, area.location.to_domain(), area.time_zone, links)
