"""InferenceSite: physical facts of one data centre, and where its signals come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from green_llm.api.v1alpha1.common import (
    DecimalText,
    GeoLocation,
    Model,
    Name,
    Percent,
    PositiveText,
    SourceParams,
    TimeZone,
)
from green_llm.domain.series import SignalKind, SignalRef
from green_llm.domain.topology import (
    Performance,
    Renewable,
    RenewableType,
    ResourceCapacity,
    Site,
    SiteState,
    WaterBasis,
    WueModel,
)
from green_llm.domain.units import fraction, kilograms, kwh_from_millijoules


class WueModelSpec(Model):
    """On-site water that follows the wet bulb, through a source of weather in signals.wue."""

    annual_mean_liters_per_k_wh: PositiveText = Field(
        alias="annualMeanLitersPerKWh", description="The site's own WUE over a year, litres per kWh of IT energy."
    )
    curve_mean_liters_per_k_wh: PositiveText = Field(
        alias="curveMeanLitersPerKWh",
        description="Mean of the cooling-tower curve over a year of the site's weather (docs/signals.md), litres per kWh.",
    )
    annual_mean_source: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Where the annual mean is from: a report and its year."
    )

    @model_validator(mode="after")
    def _positive_curve(self) -> Self:
        if float(self.curve_mean_liters_per_k_wh) <= 0:
            raise ValueError("curveMeanLitersPerKWh: must be more than 0")
        return self


class Water(Model):
    """Water of cooling and of electricity."""

    wue_liters_per_k_wh: PositiveText | None = Field(
        None, alias="wueLitersPerKWh", description="On-site water, litres per kWh of IT energy. Or give signals.wue."
    )
    ewif_liters_per_k_wh: PositiveText | None = Field(
        None,
        alias="ewifLitersPerKWh",
        description="Off-site water, litres per kWh of grid energy. Or give signals.ewif.",
    )
    wue_model: WueModelSpec | None = Field(
        None, description="What a source of weather in signals.wue needs: level and shape over a year."
    )
    basis: Literal["Consumption", "Withdrawal"] = Field(
        "Consumption", description="What a litre counts; all sites of a policy must agree."
    )
    scarcity_on_site: PositiveText = Field("1", description="Characterisation factor of on-site litres (e.g. AWARE).")
    scarcity_off_site: PositiveText = Field("1", description="Characterisation factor of off-site litres.")


class RenewableSpec(Model):
    """One on-site installation."""

    type: Literal["Solar", "Wind"] = Field(
        description="Solar (needs signals.solarOutput) or Wind (signals.windOutput)."
    )
    capacity_kilowatts: Annotated[int, Field(ge=0, le=10_000_000)] = Field(description="Nameplate capacity, kW.")
    tilt_degrees: Annotated[int, Field(ge=0, le=90)] | None = Field(
        None, description="Tilt of solar panels, degrees; 25 where left out."
    )
    azimuth_degrees: Annotated[int, Field(ge=0, le=359)] | None = Field(
        None, description="Direction solar panels face, degrees clockwise from north; 180 (south) where left out."
    )
    hub_height_meters: Annotated[int, Field(ge=1, le=300)] | None = Field(
        None, description="Hub height of turbines, m; 100 where left out."
    )
    certificates: Literal["Retained", "Sold"] = Field(
        "Retained", description="Whether certificates of origin are kept. It counts in the account and never steers."
    )
    residual_grams_per_k_wh: Annotated[int, Field(ge=0, le=2000)] | None = Field(
        None,
        alias="residualGramsPerKWh",
        description="Carbon of the residual mix, gCO2e/kWh: what energy counts with once its certificates are Sold.",
    )

    @model_validator(mode="after")
    def _sold_needs_a_factor(self) -> Self:
        if (self.certificates == "Sold") != (self.residual_grams_per_k_wh is not None):
            raise ValueError("residualGramsPerKWh: give it where certificates are Sold, and only there")
        return self


class Power(Model):
    """Grid connection and on-site generation."""

    grid_limit_kilowatts: Annotated[int, Field(ge=0, le=10_000_000)] = Field(description="Grid connection, kW.")
    other_load_kilowatts: PositiveText = Field(
        "0", description="Load that is not ours, kW; takes renewables and grid limit first."
    )
    carbon_price_per_tonne: PositiveText = Field(
        "0", description="Internal carbon price, policy currency per tonne CO2e; never part of the reported cost."
    )
    contracted_grams_per_k_wh: Annotated[int, Field(ge=0, le=2000)] | None = Field(
        None,
        alias="contractedGramsPerKWh",
        description="Carbon of grid energy by contract, gCO2e/kWh: the supplier's factor, certificates bought and "
        "cancelled, or else the residual mix. For the market-based figure of the account alone: it steers nothing.",
    )
    renewables: Annotated[tuple[RenewableSpec, ...], Field(max_length=8)] = Field((), description="On-site generation.")


class Capacity(Model):
    """How much of a resource the site has."""

    name: Name = Field(description="Resource, such as gpu.")
    amount: PositiveText = Field(description="Units in parallel; times the slot's seconds it is the slot's capacity.")
    headroom_percent: Percent = Field(0, description="Share kept free for the failure of another site, per cent.")


class ResourceSeconds(Model):
    """What tokens need of a resource."""

    name: Name = Field(description="Resource, such as gpu.")
    amount: PositiveText = Field(description="Resource-seconds per 1,000 tokens.")


class PerformanceSpec(Model):
    """What one hardware profile does here."""

    profile: Name = Field(description="Hardware profile that query classes name.")
    throughput_tokens_per_second: Annotated[int, Field(ge=1, le=10_000_000_000)] = Field(
        description="Tokens per second; the model's v is its inverse, for one hour of load."
    )
    millijoules_per_input_token: Annotated[int, Field(ge=0, le=1_000_000_000)] = Field(
        description="IT energy per input token, mJ."
    )
    millijoules_per_output_token: Annotated[int, Field(ge=0, le=1_000_000_000)] = Field(
        description="IT energy per output token, mJ."
    )
    resource_seconds_per_thousand_tokens: Annotated[tuple[ResourceSeconds, ...], Field(max_length=8)] = Field(
        (), description="Resources that 1,000 tokens need."
    )
    measurements: SourceParams | None = Field(
        None,
        description="A Prometheus source of what its servers measure; exported beside the model, never planned with.",
    )


class SignalEntry(SourceParams):
    """One entry of a chain."""

    basis: Literal["DayAhead", "RealTime", "Retail"] | None = Field(
        None,
        description="Basis of a price. Default: what all prices of the source's provider are; where that depends (Csv, "
        "GridStatusIo) it has to be given.",
    )
    multiplier: DecimalText = Field("1", description="Factor that makes a price a delivered one.")
    adder_per_m_wh: DecimalText = Field(
        "0", alias="adderPerMWh", description="Policy currency per MWh added to make a price a delivered one."
    )

    def to_domain(self) -> SignalRef:
        """As the domain's reference."""
        return SignalRef(
            source=self.source,
            params=dict(self.params),
            basis=self.basis,
            multiplier=float(self.multiplier),
            adder_per_mwh=float(self.adder_per_m_wh),
        )


Chain = Annotated[tuple[SignalEntry, ...], Field(max_length=8)]


class Signals(Model):
    """Ordered chains: the first source with a fresh value wins."""

    electricity_price: Annotated[Chain, Field(min_length=1)] = Field(description="Price of grid energy, per MWh.")
    carbon_intensity: Annotated[Chain, Field(min_length=1)] = Field(description="Carbon of grid energy, gCO2e/kWh.")
    solar_output: Chain = Field((), description="Available solar power, kW per kW of capacity.")
    wind_output: Chain = Field((), description="Available wind power, kW per kW of capacity.")
    wue: Chain = Field((), description="On-site water, litres per kWh of IT energy.")
    ewif: Chain = Field((), description="Off-site water, litres per kWh of grid energy.")


class SiteLocation(GeoLocation):
    """Where a site is, and what its clocks show."""

    time_zone: TimeZone = Field("UTC", description="IANA time zone.")


class SiteSpec(Model):
    """One data centre."""

    state: Literal["Active", "Draining"] = Field("Active", description="Draining takes all traffic off at once.")
    location: SiteLocation = Field(description="Where it is.")
    pue: PositiveText = Field(description="Facility energy per IT energy, at least 1, as a decimal string.")
    water: Water = Field(description="Water of cooling and of electricity.")
    power: Power = Field(description="Grid connection and on-site generation.")
    capacity: Annotated[tuple[Capacity, ...], Field(max_length=8)] = Field((), description="Resources of the site.")
    performance: Annotated[tuple[PerformanceSpec, ...], Field(max_length=16)] = Field(
        description="What each hardware profile does here."
    )
    signals: Signals = Field(description="Where its signals come from.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> list[str]:
        found = []
        if float(self.pue) < 1:
            found.append(f"pue: must be at least 1, not {self.pue}")
        for field, value, chain in (
            ("wue", self.water.wue_liters_per_k_wh, self.signals.wue),
            ("ewif", self.water.ewif_liters_per_k_wh, self.signals.ewif),
        ):
            if (value is None) == (not chain):
                found.append(f"water.{field}LitersPerKWh: give it or signals.{field}, exactly one of the two")
        for number, installation in enumerate(self.power.renewables):
            kind = RenewableType(installation.type)
            chain = self.signals.solar_output if kind is RenewableType.SOLAR else self.signals.wind_output
            if not chain:
                found.append(f"power.renewables[{number}]: {kind.value} needs signals.{kind.output_signal.value}")
        return found + self._name_faults()

    def _name_faults(self) -> list[str]:
        resources = {entry.name for entry in self.capacity}
        found = []
        for entry in self.performance:
            for need in entry.resource_seconds_per_thousand_tokens:
                if need.name not in resources:
                    found.append(  # noqa: PERF401 - a comprehension would hide the message
                        f"performance[{entry.profile}].resourceSecondsPerThousandTokens: "
                        f'"{need.name}" is no resource of spec.capacity (known: {", ".join(sorted(resources)) or "none"})'
                    )
        for field, names in (
            ("capacity", [entry.name for entry in self.capacity]),
            ("performance", [entry.profile for entry in self.performance]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                found.append(f'{field}: "{twice[0]}" is there more than once')
        return found

    def to_domain(self, name: str, created: datetime, labels: Mapping[str, str], generation: int) -> Site:
        """As the domain's site."""
        water = self.water
        chains = {kind: getattr(self.signals, _FIELDS[kind]) for kind in SignalKind}
        return Site(
            name=name,
            created=created,
            labels=dict(labels),
            generation=generation,
            state=SiteState(self.state),
            location=self.location.to_domain(),
            time_zone=self.location.time_zone,
            pue=float(self.pue),
            wue_l_per_kwh=None if water.wue_liters_per_k_wh is None else float(water.wue_liters_per_k_wh),
            ewif_l_per_kwh=None if water.ewif_liters_per_k_wh is None else float(water.ewif_liters_per_k_wh),
            wue_model=None
            if water.wue_model is None
            else WueModel(
                float(water.wue_model.annual_mean_liters_per_k_wh), float(water.wue_model.curve_mean_liters_per_k_wh)
            ),
            water_basis=WaterBasis(water.basis),
            scarcity_on_site=float(water.scarcity_on_site),
            scarcity_off_site=float(water.scarcity_off_site),
            grid_limit_kw=float(self.power.grid_limit_kilowatts),
            other_load_kw=float(self.power.other_load_kilowatts),
            carbon_price_per_kg=kilograms(float(self.power.carbon_price_per_tonne)),
            market_kg_per_kwh=None
            if self.power.contracted_grams_per_k_wh is None
            else kilograms(self.power.contracted_grams_per_k_wh),
            renewables=tuple(
                Renewable(
                    RenewableType(entry.type),
                    float(entry.capacity_kilowatts),
                    float(25 if entry.tilt_degrees is None else entry.tilt_degrees),
                    float(180 if entry.azimuth_degrees is None else entry.azimuth_degrees),
                    float(entry.hub_height_meters or 100),
                    None if entry.residual_grams_per_k_wh is None else kilograms(entry.residual_grams_per_k_wh),
                )
                for entry in self.power.renewables
            ),
            capacity=tuple(
                ResourceCapacity(entry.name, float(entry.amount), fraction(entry.headroom_percent))
                for entry in self.capacity
            ),
            performance={entry.profile: _performance(entry) for entry in self.performance},
            signals={kind: tuple(entry.to_domain() for entry in chain) for kind, chain in chains.items() if chain},
        )


_FIELDS = {
    SignalKind.ELECTRICITY_PRICE: "electricity_price",
    SignalKind.CARBON_INTENSITY: "carbon_intensity",
    SignalKind.SOLAR_OUTPUT: "solar_output",
    SignalKind.WIND_OUTPUT: "wind_output",
    SignalKind.WUE: "wue",
    SignalKind.EWIF: "ewif",
}


def _performance(entry: PerformanceSpec) -> Performance:
    return Performance(
        profile=entry.profile,
        throughput_tokens_per_second=float(entry.throughput_tokens_per_second),
        kwh_per_input_token=kwh_from_millijoules(entry.millijoules_per_input_token),
        kwh_per_output_token=kwh_from_millijoules(entry.millijoules_per_output_token),
        resource_seconds_per_token={
            need.name: float(need.amount) / 1000.0 for need in entry.resource_seconds_per_thousand_tokens
        },
        measurements=None
        if entry.measurements is None
        else SignalRef(entry.measurements.source, dict(entry.measurements.params)),
    )
