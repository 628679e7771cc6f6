"""The live services that signals can come from: what each is called, where it is, what it gives and needs.

Facts are from the services' documentation, read in November 2026; docs/signals.md lists them, and what was run live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from green_llm.domain.request import CarbonAccounting
from green_llm.domain.series import Measure, Quantity, SignalKind

ZONE = "[A-Z0-9-]{2,20}"
PRICE: frozenset[Quantity] = frozenset({SignalKind.ELECTRICITY_PRICE})
CARBON: frozenset[Quantity] = frozenset({SignalKind.CARBON_INTENSITY})
MIX: frozenset[Quantity] = frozenset({SignalKind.CARBON_INTENSITY, SignalKind.EWIF})
DAY_AHEAD = "DayAhead"
HYDRO = {"hydro": "Included|Excluded"}
"""Whether the water that evaporates from reservoirs counts."""
AVERAGE_LIFECYCLE = CarbonAccounting("Average", "Lifecycle", "Consumption")
AVERAGE_DIRECT = CarbonAccounting("Average", "Direct", "Consumption")
MARGINAL = CarbonAccounting("Marginal", "Direct", "Consumption")
OWN_MIX = (
    CarbonAccounting("Average", "Lifecycle", "Production"),
    CarbonAccounting("Average", "Direct", "Production"),
)
"""Generation × factors: what is made in the zone, imports left out."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One live service."""

    name: str
    base_url: str
    kinds: frozenset[Quantity]
    poll_seconds: int
    """How often it is asked unless the source says otherwise; what it publishes, and what it allows."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Parameters a chain entry must give: regular expression each must match in full."""
    optional: Mapping[str, str] = field(default_factory=dict)
    accountings: tuple[CarbonAccounting, ...] = ()
    """What its carbon intensities can count; the first unless the source declares another."""
    price_basis: str | None = None
    """What all its prices are; None where that depends on what is asked for."""
    needs: str | None = None
    """What its Secret holds; None where it takes none."""
    works_without: bool = False
    """Whether it answers without a key too."""


def _table(*services: Service) -> Mapping[str, Service]:
    return {service.name: service for service in services}


SERVICES = _table(
    Service(
        name="ElectricityMaps", base_url="https://api.electricitymaps.com/v4", kinds=CARBON | PRICE, poll_seconds=900,
        params={"zone": ZONE}, accountings=(AVERAGE_LIFECYCLE, AVERAGE_DIRECT), price_basis=DAY_AHEAD,
        needs="the auth-token",
    ),
    Service(
        name="UKCarbonIntensity", base_url="https://api.carbonintensity.org.uk", kinds=CARBON, poll_seconds=900,
        optional={"region": "[0-9]{1,2}"}, accountings=(AVERAGE_DIRECT,),
    ),
    Service(
        name="WattTime", base_url="https://api.watttime.org", kinds=CARBON, poll_seconds=300,
        params={"region": "[A-Z0-9_]{2,40}"}, accountings=(MARGINAL,), needs="USER:PASSWORD",
    ),
    Service(
        name="CarbonAwareSDK", base_url="http://carbon-aware-sdk.carbon-aware-sdk", kinds=CARBON, poll_seconds=900,
        params={"location": "[a-z0-9-]{2,40}"}, accountings=(MARGINAL, AVERAGE_LIFECYCLE, AVERAGE_DIRECT),
    ),
    Service(
        name="EnergyCharts", base_url="https://api.energy-charts.info", kinds=PRICE | MIX, poll_seconds=1800,
        params={"zone": "[A-Za-z0-9-]{2,12}"}, optional=HYDRO, accountings=OWN_MIX, price_basis=DAY_AHEAD,
    ),
    Service(
        name="Entsoe", base_url="https://web-api.tp.entsoe.eu", kinds=PRICE | MIX, poll_seconds=1800,
        params={"zone": "[0-9A-Z-]{16}"}, optional=HYDRO, accountings=OWN_MIX, price_basis=DAY_AHEAD,
        needs="the security token",
    ),
    Service(
        name="Eia", base_url="https://api.eia.gov/v2", kinds=MIX, poll_seconds=3600,
        params={"respondent": "[A-Z0-9]{2,6}"}, optional=HYDRO, accountings=OWN_MIX, needs="the api_key",
    ),
    Service(
        name="CaisoOutlook", base_url="https://www.caiso.com/outlook", kinds=MIX, poll_seconds=300,
        optional=HYDRO, accountings=OWN_MIX,
    ),
    Service(
        name="CaisoOasis", base_url="https://oasis.caiso.com/oasisapi", kinds=PRICE, poll_seconds=3600,
        params={"node": "[A-Za-z0-9_.-]{2,60}"}, price_basis=DAY_AHEAD,
    ),
    Service(
        name="GridStatusIo", base_url="https://api.gridstatus.io/v1", kinds=PRICE, poll_seconds=3600,
        params={"dataset": "[a-z0-9_]{4,60}", "location": "[A-Za-z0-9_. -]{2,60}"}, needs="the x-api-key",
    ),
    Service(
        name="OctopusAgile", base_url="https://api.octopus.energy/v1", kinds=PRICE, poll_seconds=3600,
        params={"product": "[A-Z0-9-]{4,40}", "region": "[A-HJ-NP]"}, price_basis="Retail",
    ),
    Service(
        name="Awattar", base_url="https://api.awattar.de/v1", kinds=PRICE, poll_seconds=3600, price_basis=DAY_AHEAD,
    ),
    Service(
        name="OpenMeteo", base_url="https://api.open-meteo.com/v1", poll_seconds=1800,
        kinds=frozenset({SignalKind.SOLAR_OUTPUT, SignalKind.WIND_OUTPUT, SignalKind.WUE}),
        needs="the apikey of the customer host", works_without=True,
    ),
    Service(
        name="Prometheus", base_url="", kinds=frozenset(Measure), poll_seconds=60,
        needs="a bearer token", works_without=True,
    ),
)  # fmt: skip
"""By name, as a SignalSource calls it."""


@dataclass(frozen=True)
class QueryTemplate:
    """Ready-made PromQL; ``$window`` is the time between two values, ``${name:regex}`` a parameter inside a pattern."""

    queries: Mapping[Measure, str]
    params: Mapping[str, str]


CLASS = "class"
"""Parameter of a query that can tell classes apart: a class, as a regular expression; all of them unless it is given."""
OBJECT_NAME = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_RULE = 'envoy_cluster_name=~"httproute/${namespace:regex}/${route:regex}/rule/$rule(/.*)?"'
_ENVOY = {
    name: f"sum(rate(envoy_cluster_upstream_rq_{name}{{{_RULE}}}[$window]))"
    for name in ("total", "retry", "time_sum", "time_count")
}
_COUNTED = " and sum({} offset $window)"
"""What a counter that began within the window has counted says too little of it: rate() divides by the whole."""
_ENVOY_DEMAND = {
    # Retries are not arrivals. A rule's Envoy cluster is named by its place in the route.
    Measure.DEMAND: f"{_ENVOY['total']} - ({_ENVOY['retry']} or vector(0))"
    + _COUNTED.format(f"envoy_cluster_upstream_rq_total{{{_RULE}}}"),
    Measure.MEAN_DELAY: f"{_ENVOY['time_sum']} / {_ENVOY['time_count']} / 1000",
}  # fmt: skip
_ENVOY_BY_IP = (
    f"label_replace(rate(envoy_cluster_endpoint_rq_total{{{_RULE}}}[$window]), "
    '"ip", "${1}", "envoy_endpoint_address", "\\\\[?(.+?)\\\\]?:[0-9]+")'
)
"""What the endpoints of a rule were sent, where its EnvoyProxy has ``telemetry.metrics.enablePerEndpointStats``."""
_SERVICE_BY_IP = 'max by (ip) (kube_endpoint_address{namespace="$backendNamespace",endpoint="$backend"})'
"""Which addresses a Service has had, as kube-state-metrics says."""
_ISTIO = 'istio_{}{{reporter="source",source_workload="$gateway",request_host="$host"}}[$window]'
_ISTIO_TO_BACKEND = _ISTIO.format("requests_total").replace(
    "}", ',destination_service_name="$backend",destination_service_namespace="$backendNamespace"}'
)
_VLLM = "sum(rate(vllm:{}_total{{{}}}[$window]))"
_MODEL = f'model_name="$model",site="$site",class=~"${CLASS}"'
_FINISHED = _VLLM.format("request_success", _MODEL)
_BUCKETS = f"sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket{{{_MODEL}}}[$window]))"
_TOKENS = {name: _VLLM.format(f"{name}_tokens", _MODEL) for name in ("prompt", "generation")}
_LATENCY = {
    part: f"sum(rate(vllm:e2e_request_latency_seconds_{part}{{{_MODEL}}}[$window]))" for part in ("sum", "count")
}
_VLLM_COUNTED = _COUNTED.format(f"vllm:prompt_tokens_total{{{_MODEL}}}")
_HTTP = 'sum(rate(http_requests_total{{site="$site",handler=~"/v1/.*"{}}}[$window]))'
_STALLED = f"(sum(vllm:num_requests_running{{{_MODEL}}}) > 0) and ({_TOKENS['generation']} == 0)"
TEMPLATES = {
    "EnvoyGateway": QueryTemplate(_ENVOY_DEMAND, {"route": OBJECT_NAME, "rule": "[0-9]{1,3}"}),
    "EnvoyGatewayEndpoints": QueryTemplate(
        {**_ENVOY_DEMAND, Measure.SERVED: f"sum({_ENVOY_BY_IP} * on (ip) group_left () {_SERVICE_BY_IP})"},
        {"route": OBJECT_NAME, "rule": "[0-9]{1,3}"},
    ),
    "Istio": QueryTemplate(
        {
            Measure.DEMAND: f"sum(rate({_ISTIO.format('requests_total')}))"
            + _COUNTED.format(_ISTIO.format("requests_total").removesuffix("[$window]")),
            Measure.SERVED: f"sum(rate({_ISTIO_TO_BACKEND}))",
            Measure.MEAN_DELAY: f"sum(rate({_ISTIO.format('request_duration_milliseconds_sum')})) / "
            f"sum(rate({_ISTIO.format('request_duration_milliseconds_count')})) / 1000",
        },
        {"gateway": OBJECT_NAME, "host": "[a-z0-9.-]{1,253}"},
    ),
    "Vllm": QueryTemplate(
        {
            Measure.FINISHED: _FINISHED + _VLLM_COUNTED,
            Measure.INPUT_TOKENS: f"{_TOKENS['prompt']} / {_FINISHED}",
            Measure.OUTPUT_TOKENS: f"{_TOKENS['generation']} / {_FINISHED}",
            Measure.MEAN_DELAY: f"{_LATENCY['sum']} / {_LATENCY['count']}",
            Measure.THROUGHPUT: f"{_TOKENS['prompt']} + {_TOKENS['generation']}" + _VLLM_COUNTED,
            Measure.P95_DELAY: f"histogram_quantile(0.95, {_BUCKETS})",
            # Of what is answered; all of it, where there are queries and no token comes: a server that hangs counts no errors.
            Measure.ERROR_RATIO: "(({} or vector(0)) / ({} > 0)) or (({}) * 0 + 1)".format(
                _HTTP.format(',status="5xx"'), _HTTP.format(""), _STALLED
            ),
        },
        {"model": "[A-Za-z0-9_./:-]{1,128}", "site": OBJECT_NAME},
    ),
}  # fmt: skip
"""By name, as ``prometheus.template`` calls it. ``$namespace`` is always that of the demand that asks."""
