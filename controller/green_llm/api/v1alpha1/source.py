"""SignalSource: one configured provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from green_llm.api.v1alpha1.common import CarbonBasis, Currency, DecimalText, LabelSelector, Model, Name, Text, TimeZone
from green_llm.api.v1alpha1.policy import to_accounting
from green_llm.domain.request import (
    CsvSettings,
    LiveSettings,
    PersistenceSettings,
    ProviderSettings,
    Source,
    StaticSettings,
    TariffPeriod,
    TariffSettings,
)
from green_llm.domain.series import Measure
from green_llm.domain.services import SERVICES, TEMPLATES, Service

SAFE_VALUE = "[A-Za-z0-9_-]{1,63}"
"""What a parameter may be where its source gives no pattern."""
Weekday = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)


class StaticSpec(Model):
    """One constant."""

    value: DecimalText = Field(description="The value, as a decimal string.")
    unit: Text = Field(description="Its unit, such as USD/MWh, g/kWh, L/kWh or kW/kW.")

    def settings(self) -> ProviderSettings:
        """As the domain's settings."""
        return StaticSettings(float(self.value), self.unit)


class PeriodSpec(Model):
    """Hours at one price, local time."""

    price_per_m_wh: DecimalText = Field(alias="pricePerMWh", description="Price per MWh.")
    start_hour: Annotated[int, Field(ge=0, le=23)] = Field(0, description="First hour of the day.")
    end_hour: Annotated[int, Field(ge=1, le=24)] = Field(
        24, description="Hour before which it ends; may be over midnight."
    )
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = Field(
        WEEKDAYS, description="Days it holds on."
    )
    months: Annotated[tuple[Annotated[int, Field(ge=1, le=12)], ...], Field(min_length=1, max_length=12)] = Field(
        tuple(range(1, 13)), description="Months it holds in."
    )


class TariffSpec(Model):
    """Time-of-use prices; the first period that matches counts."""

    currency: Currency = Field(description="ISO 4217 code.")
    time_zone: TimeZone = Field(description="IANA time zone of the hours.")
    periods: Annotated[tuple[PeriodSpec, ...], Field(min_length=1, max_length=32)] = Field(
        description="Prices by time."
    )

    def settings(self) -> ProviderSettings:
        """As the domain's settings."""
        return TariffSettings(
            self.currency,
            self.time_zone,
            tuple(
                TariffPeriod(
                    price_per_mwh=float(period.price_per_m_wh),
                    start_hour=period.start_hour,
                    end_hour=period.end_hour,
                    weekdays=frozenset(WEEKDAYS.index(day) for day in period.weekdays),
                    months=frozenset(period.months),
                )
                for period in self.periods
            ),
        )


class ConfigMapRef(Model):
    """A key of a ConfigMap in the operator's namespace."""

    name: Name = Field(description="Name of the ConfigMap.")
    key: Text = Field(description="Key in it.")


class CsvSpec(Model):
    """Recorded values: columns start,end,value,unit,quality,issued_at."""

    file: Text | None = Field(None, description="Path beside the resources; {param} is replaced by a parameter.")
    config_map_ref: ConfigMapRef | None = Field(None, description="A key of a ConfigMap.")
    publication_lag_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = Field(
        0, description="How long after its end a row without issued_at becomes known, s."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.file is None) == (self.config_map_ref is None):
            raise ValueError("give file or configMapRef, exactly one of the two")
        if self.file is not None and (self.file.startswith(("/", "configmap:")) or ".." in self.file.split("/")):
            raise ValueError(f'file: "{self.file}" must be a path below the directory of the resources')
        return self

    def settings(self) -> ProviderSettings:
        """As the domain's settings."""
        reference = self.config_map_ref
        file = self.file if reference is None else f"configmap:{reference.name}/{reference.key}"
        return CsvSettings(file or "", float(self.publication_lag_seconds))


class PersistenceSpec(Model):
    """The same local hour some days ago."""

    days: Literal[1, 7] = Field(1, description="1 (yesterday) or 7 (last week).")

    def settings(self) -> ProviderSettings:
        """As the domain's settings."""
        return PersistenceSettings(self.days)


class PrometheusQuery(Model):
    """What a query measures."""

    measure: Annotated[str, Field(pattern=f"^({'|'.join(Measure)})$")] = Field(
        description="demand (queries/s that arrive), servedQueries (queries/s sent to $backend), finishedQueries (queries/s), "
        "tokens (tokens/s), inputTokensPerQuery, outputTokensPerQuery, meanDelay (s), p95Delay (s), errorRatio (0 to 1)."
    )
    query: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="PromQL with one series as its result. $name is a parameter, ${name:regex} one inside a pattern, "
        "$window the time between two values (60s for p95Delay and errorRatio), $namespace that of the demand which asks; in "
        "servedQueries $backend and $backendNamespace name the back-end, and $class is a class as a regular expression, all "
        "of them but for green-llm calibrate."
    )


class PrometheusSpec(Model):
    """Queries of our own traffic: a template's, or your own."""

    template: Literal["EnvoyGateway", "EnvoyGatewayEndpoints", "Istio", "Vllm"] | None = Field(
        None, description="Ready-made queries."
    )
    queries: Annotated[tuple[PrometheusQuery, ...], Field(max_length=8)] = Field((), description="Your own queries.")
    history_days: Annotated[int, Field(ge=1, le=90)] = Field(
        28, description="How far back demand is looked at for its forecast, days."
    )
    step_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        900, description="Time between two values, s: what $window is in the queries. Four scrapes at least."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.template is None) == (not self.queries):
            raise ValueError("give template or queries, exactly one of the two")
        names = [entry.measure for entry in self.queries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'queries: "{twice[0]}" is there more than once')
        return self

    def by_measure(self) -> dict[Measure, str]:
        """The queries."""
        if self.template is not None:
            return dict(TEMPLATES[self.template].queries)
        return {Measure(entry.measure): entry.query for entry in self.queries}


class ParamSpec(Model):
    """A parameter that users of the source may pass."""

    name: Name = Field(description="Name of the parameter.")
    pattern: Text | None = Field(None, description="Regular expression a value must match in full.")

    @model_validator(mode="after")
    def _pattern_compiles(self) -> Self:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern: is no regular expression: {error}") from None
        return self


class SecretRef(Model):
    """A key of a Secret in the operator's namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: Text = Field("token", description="Key in it.")


class SourceSpec(Model):
    """One configured provider: exactly the block named after it is there."""

    provider: Literal[
        "Static", "Tariff", "Csv", "Persistence", "ElectricityMaps", "UKCarbonIntensity", "WattTime", "CarbonAwareSDK",
        "EnergyCharts", "Entsoe", "Eia", "CaisoOutlook", "CaisoOasis", "GridStatusIo", "OctopusAgile", "Awattar", "OpenMeteo",
        "Prometheus",
    ] = Field(description="Which provider.")  # fmt: skip
    secret_ref: SecretRef | None = Field(None, description="The key of a live service, in the operator's namespace.")
    base_url: Annotated[str, Field(max_length=253, pattern=r"^https?://[A-Za-z0-9.:_/-]+$")] | None = Field(
        None, description="Another address of a live service; its host must be one that the operator's settings allow."
    )
    poll_period_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        None, description="How often a live service is asked, s; left out, what suits it. Below 10 for Prometheus only."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = Field(10, description="How long a live service may take, s.")
    static: StaticSpec | None = Field(None, description="Settings of Static.")
    tariff: TariffSpec | None = Field(None, description="Settings of Tariff.")
    csv: CsvSpec | None = Field(None, description="Settings of Csv.")
    persistence: PersistenceSpec | None = Field(None, description="Settings of Persistence; may be left out.")
    prometheus: PrometheusSpec | None = Field(None, description="Settings of Prometheus; needs baseUrl.")
    params: Annotated[tuple[ParamSpec, ...], Field(max_length=8)] = Field((), description="What users may pass.")
    allowed_namespaces: LabelSelector | None = Field(
        None, description="Namespaces whose demands may use it; absent admits none. Sites always may."
    )
    carbon_basis: CarbonBasis | None = Field(None, description="What its carbon intensities count.")
    stale_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = Field(
        7200, description="Age from which a forecast is not used, s."
    )

    @model_validator(mode="after")
    def _one_block(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> list[str]:
        blocks = {
            "Static": self.static,
            "Tariff": self.tariff,
            "Csv": self.csv,
            "Persistence": self.persistence,
            "Prometheus": self.prometheus,
        }
        faults = [
            f"{name.lower()}: belongs to the provider {name}, not {self.provider}; remove it"
            for name, block in blocks.items()
            if block is not None and name != self.provider
        ]
        if self.provider in blocks and blocks[self.provider] is None and self.provider != "Persistence":
            faults.append(f"{self.provider.lower()}: is missing; the provider {self.provider} needs it")
        service = SERVICES.get(self.provider)
        if service is None:
            live = {
                "secretRef": self.secret_ref,
                "baseUrl": self.base_url,
                "pollPeriodSeconds": self.poll_period_seconds,
            }
            faults += [
                f"{name}: {self.provider} is no live service; remove it" for name, v in live.items() if v is not None
            ]
        else:
            faults += self._service_faults(service)
        declared = {entry.name for entry in self.params}
        used = re.findall(r"\{(\w+)\}", self.csv.file) if self.csv is not None and self.csv.file else []
        faults += [
            f'csv.file: the parameter "{name}" is not declared in params' for name in used if name not in declared
        ]
        return faults

    def _service_faults(self, service: Service) -> list[str]:
        """What a live service makes of the rest."""
        faults = []
        if service.needs is not None and not service.works_without and self.secret_ref is None:
            faults.append(f"secretRef: {service.name} needs a Secret that holds {service.needs}")
        if service.needs is None and self.secret_ref is not None:
            faults.append(f"secretRef: {service.name} takes none; remove it")
        if self.params and (self.prometheus is None or self.prometheus.template is not None):
            faults.append(f"params: those of {service.name} are known; remove it")
        if self.prometheus is None and self.poll_period_seconds is not None and self.poll_period_seconds < 10:
            faults.append(f"pollPeriodSeconds: {service.name} may be asked every 10 s at the most; take 10 or more")
        if not service.base_url and self.base_url is None:
            faults.append(f"baseUrl: {service.name} needs it")
        basis = None if self.carbon_basis is None else to_accounting(self.carbon_basis)
        if basis is not None and basis not in service.accountings:
            known = (
                " or ".join("/".join(vars(entry).values()) for entry in service.accountings) or "none: it is no carbon"
            )
            faults.append(f"carbonBasis: {service.name} counts {known}")
        return faults

    def to_domain(self, name: str, created: datetime, labels: Mapping[str, str], generation: int) -> Source:
        """As the domain's source."""
        del created, labels
        block = self.static or self.tariff or self.csv or self.persistence or PersistenceSpec()
        service = SERVICES.get(self.provider)
        accounting = to_accounting(self.carbon_basis) if self.carbon_basis is not None else None
        declared = {entry.name: entry.pattern or SAFE_VALUE for entry in self.params}
        if service is not None:
            return Source(
                name=name,
                generation=generation,
                settings=LiveSettings(
                    service.name,
                    self.base_url or service.base_url,
                    float(self.poll_period_seconds or service.poll_seconds),
                    float(self.timeout_seconds),
                    None if self.secret_ref is None else (self.secret_ref.name, self.secret_ref.key),
                    {} if self.prometheus is None else self.prometheus.by_measure(),
                    step_seconds=None if self.prometheus is None else self.prometheus.step_seconds,
                    history_days=0 if self.prometheus is None else self.prometheus.history_days,
                ),
                stale_after_seconds=float(self.stale_after_seconds),
                allowed_namespaces=self.allowed_namespaces.to_domain() if self.allowed_namespaces is not None else None,
                params=self._query_params(declared) if self.prometheus is not None else service.params,
                optional_params=service.optional,
                accounting=accounting or next(iter(service.accountings), None),
            )
        return Source(
            name=name,
            generation=generation,
            settings=block.settings(),
            stale_after_seconds=float(self.stale_after_seconds),
            allowed_namespaces=self.allowed_namespaces.to_domain() if self.allowed_namespaces is not None else None,
            params=declared,
            accounting=accounting,
        )

    def _query_params(self, declared: Mapping[str, str]) -> Mapping[str, str]:
        """What a user of Prometheus gives: what the template needs, else what the source declares."""
        template = None if self.prometheus is None else self.prometheus.template
        return declared if template is None else TEMPLATES[template].params
