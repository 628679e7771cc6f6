"""Every metric, rendered from outcomes. One function per subject; names and units as ``docs/metrics.md`` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from green_llm.domain.amounts import Amounts, SiteAmounts, total
from green_llm.domain.series import Measure, SignalKind, SourceHealth
from green_llm.domain.units import joules
from green_llm.services.outcome import Outcome

PREFIX = "greenllm"
Outcomes = Sequence[Outcome]
_SIGNALS = {
    SignalKind.ELECTRICITY_PRICE: ("electricity_price_per_kilowatt_hour", "Delivered price of grid energy", 1e-3),
    SignalKind.CARBON_INTENSITY: ("carbon_intensity_grams_per_kilowatt_hour", "Carbon of grid energy, CO2e", 1.0),
    SignalKind.SOLAR_OUTPUT: ("solar_output_ratio", "Available solar power per capacity", 1.0),
    SignalKind.WIND_OUTPUT: ("wind_output_ratio", "Available wind power per capacity", 1.0),
    SignalKind.WUE: ("water_usage_liters_per_kilowatt_hour", "On-site water per IT energy", 1.0),
    SignalKind.EWIF: ("electricity_water_liters_per_kilowatt_hour", "Off-site water per grid energy", 1.0),
}
Read = Callable[[Amounts], float]
_RATES: tuple[tuple[str, str, Read], ...] = (
    ("emissions_grams_per_hour", "Emissions of grid energy, CO2e", lambda a: a.emissions_kg * 1000.0),
    ("energy_watts", "Power of the facility for this traffic", lambda a: a.energy_kwh * 1000.0),
    ("grid_energy_watts", "Power drawn from the grid", lambda a: a.grid_energy_kwh * 1000.0),
    (
        "displaced_renewables_watts",
        "On-site renewable power left unused",
        lambda a: a.displaced_renewables_kwh * 1000.0,
    ),
    ("water_weighted_liters_per_hour", "Water weighted by scarcity", lambda a: a.water_weighted_l),
    ("queries_per_hour", "Queries served", lambda a: a.queries),
    ("delay_seconds", "Mean delay of a query", lambda a: a.mean_delay_s),
)
_MONEY_RATES: tuple[tuple[str, str, Read], ...] = (
    ("cost_per_hour", "Net cost of grid energy", lambda a: a.cost),
    ("carbon_cost_per_hour", "Internal carbon price times emissions", lambda a: a.carbon_cost),
    ("delay_penalty_per_hour", "Price of delay", lambda a: a.delay_penalty),
)
_TOTALS: tuple[tuple[str, str, Read], ...] = (
    ("emissions_grams", "Emissions of grid energy, CO2e", lambda a: a.emissions_kg * 1000.0),
    ("energy_joules", "Energy of the facility for this traffic", lambda a: joules(a.energy_kwh)),
    ("grid_energy_joules", "Energy drawn from the grid", lambda a: joules(a.grid_energy_kwh)),
    (
        "displaced_renewables_joules",
        "On-site renewable energy left unused",
        lambda a: joules(a.displaced_renewables_kwh),
    ),
    ("water_weighted_liters", "Water weighted by scarcity", lambda a: a.water_weighted_l),
    ("queries", "Queries served", lambda a: a.queries),
    ("tokens", "Input and output tokens", lambda a: a.tokens),
    (
        "measured_energy_joules",
        "The part of the energy whose shares a gateway has measured",
        lambda a: joules(a.measured_kwh),
    ),
    ("query_delay_seconds", "Sum of the delays of queries", lambda a: a.query_delay_s),
)
_MONEY_TOTALS: tuple[tuple[str, str, Read], ...] = (
    ("cost_paid", "Grid energy bought at positive prices", lambda a: a.cost_paid),
    ("cost_earned", "Grid energy taken at negative prices", lambda a: a.cost_earned),
    ("carbon_cost", "Internal carbon price times emissions", lambda a: a.carbon_cost),
    ("delay_penalty", "Price of delay", lambda a: a.delay_penalty),
)
_SCOPES: tuple[tuple[str, Read], ...] = (
    ("on_site", lambda a: a.water_on_site_l),
    ("off_site", lambda a: a.water_off_site_l),
)


def gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    """An empty gauge of ours."""
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    """An empty counter of ours; the exposition adds ``_total``."""
    return CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def add(family: GaugeMetricFamily | CounterMetricFamily, labels: Sequence[str], value: float | None) -> None:
    """A sample, unless there is no number to show."""
    if value is not None and math.isfinite(value):
        family.add_metric(list(labels), value)


def rates(outcomes: Outcomes) -> Iterator[Metric]:
    """Rates of slot 0 per site: under the plan, under the weights in force, and under both baselines."""
    for state, words, pick in (
        ("planned", "under the plan", lambda outcome: outcome.planned),
        ("in_force", "under the weights in force", lambda outcome: outcome.in_force),
        ("nearest", "had every query gone to its nearest site", lambda outcome: outcome.nearest),
        ("static", "had the weights stayed that were found at adoption", lambda outcome: outcome.static),
    ):
        yield from _amounts(outcomes, pick, lambda name, text, labels, s=state, w=words: gauge(  # type: ignore[misc]
            f"{s}_{name}", f"{text}, now, {w}", labels), _RATES, _MONEY_RATES, "water_liters_per_hour")  # fmt: skip


def totals(outcomes: Outcomes) -> Iterator[Metric]:
    """Accumulated totals per site: of the weights in force, and of both baselines."""
    for state, words, pick in (
        ("in_force", "under the weights in force", lambda outcome: outcome.ledger.in_force if outcome.ledger else {}),
        ("nearest", "had every query gone to its nearest site", lambda o: o.ledger.nearest if o.ledger else {}),
        (
            "static",
            "had the weights stayed that were found at adoption",
            lambda outcome: outcome.ledger.static if outcome.ledger else {},
        ),
    ):
        yield from _amounts(outcomes, pick, lambda name, text, labels, s=state, w=words: counter(  # type: ignore[misc]
            f"{s}_{name}", f"{text}, so far, {w}", labels), _TOTALS, _MONEY_TOTALS, "water_liters")  # fmt: skip


def _amounts(
    outcomes: Outcomes,
    pick: Callable[[Outcome], SiteAmounts],
    make: Callable[[str, str, Sequence[str]], GaugeMetricFamily | CounterMetricFamily],
    plain: Iterable[tuple[str, str, Read]],
    money: Iterable[tuple[str, str, Read]],
    water: str,
) -> Iterator[Metric]:
    for name, text, read in plain:
        family = make(name, text, ["policy", "site"])
        for outcome in _shown(outcomes, name):
            for site, amounts in pick(outcome).items():
                add(family, [outcome.policy.name, site], read(amounts))
        yield family
    for name, text, read in money:
        family = make(name, text, ["policy", "site", "currency"])
        for outcome in _shown(outcomes, name):
            for site, amounts in pick(outcome).items():
                add(family, [outcome.policy.name, site, outcome.policy.currency], read(amounts))
        yield family
    family = make(water, "Water", ["policy", "site", "scope"])
    for outcome in outcomes:
        for site, amounts in pick(outcome).items():
            for scope, read in _SCOPES:
                add(family, [outcome.policy.name, site, scope], read(amounts))
    yield family


def _shown(outcomes: Outcomes, name: str) -> Iterator[Outcome]:
    """Marginal emissions are shown as differences alone."""
    counted = name.startswith(("emissions_", "carbon_cost"))
    return (outcome for outcome in outcomes if outcome.policy.takes_inventory or not counted)


def avoided(outcomes: Outcomes) -> Iterator[Metric]:
    """Emissions that sending every query to its nearest site would have had, less those of the weights in force."""
    labels = ["policy", "signal"]
    now = gauge(
        "avoided_emissions_grams_per_hour", "Emissions at the nearest site less those in force, CO2e, now", labels
    )
    so_far = gauge("avoided_emissions_grams", "Emissions at the nearest site less those in force, CO2e, so far", labels)
    for outcome in outcomes:
        name = [outcome.policy.name, outcome.policy.accounting.signal]
        if outcome.in_force:
            add(now, name, _difference(outcome.nearest, outcome.in_force))
        if outcome.ledger is not None:
            add(so_far, name, _difference(outcome.ledger.nearest, outcome.ledger.in_force))
    yield from (now, so_far)


def _difference(theirs: SiteAmounts, ours: SiteAmounts) -> float:
    return 1000.0 * (total(theirs.values()).emissions_kg - total(ours.values()).emissions_kg)


def weights(outcomes: Outcomes) -> Iterator[Metric]:
    """Shares per demand, area, class, rule and site: planned and in force."""
    labels = ["policy", "demand", "area", "class", "route", "rule", "site"]
    planned = gauge("planned_weight_ratio", "Share of a site in a rule, by the plan", labels)
    in_force = gauge("in_force_weight_ratio", "Share of a site in a rule, in force", labels)
    for outcome in outcomes:
        sums: dict[tuple[str, ...], int] = {}
        for row in outcome.weights:
            key = (row.demand, row.area, row.query_class, str(row.route), row.rule)
            sums[key] = sums.get(key, 0) + (row.weight or 0)
        for row in outcome.weights:
            key = (row.demand, row.area, row.query_class, str(row.route), row.rule)
            add(planned, [outcome.policy.name, *key, row.site], row.planned)
            if row.weight is not None and sums[key]:
                add(in_force, [outcome.policy.name, *key, row.site], row.weight / sums[key])
    yield from (planned, in_force)


def signals(outcomes: Outcomes) -> Iterator[Metric]:
    """The value of each signal in slot 0, its source, and when it was issued."""
    issued = gauge(
        "site_signal_issued_timestamp_seconds", "When the value in use was published", ["policy", "site", "kind"]
    )
    info = gauge(
        "site_signal_info",
        "Source, quality and basis of the value in use",
        ["policy", "site", "kind", "source", "quality", "basis"],
    )
    covered = gauge(
        "site_signal_covered_seconds", "Time from slot 0 on for which there are values", ["policy", "site", "kind"]
    )
    rank = gauge(
        "site_signal_rank", "Place in its chain of the source in use; 0 is the first, more is a fall-back",
        ["policy", "site", "kind"],
    )  # fmt: skip
    other = gauge(
        "site_electricity_water_otherwise_liters_per_kilowatt_hour",
        "Off-site water per grid energy with reservoirs counted the other way, in the current slot",
        ["policy", "site"],
    )
    for outcome in outcomes:
        for (site, _), current in sorted(outcome.current_signals().items()):
            add(other, [outcome.policy.name, site], current.other_value)
    for kind, (name, text, factor) in _SIGNALS.items():
        priced = kind is SignalKind.ELECTRICITY_PRICE
        family = gauge(
            f"site_{name}", f"{text}, in the current slot", ["policy", "site", *(["currency"] if priced else [])]
        )
        for outcome in outcomes:
            first = outcome.first_slot
            for (site, signal), values in sorted(outcome.book.values.items()):
                if signal is not kind:
                    continue
                labels = [outcome.policy.name, site, kind.value]
                add(covered, labels, outcome.known_ahead_seconds(site, kind))
                value = values[first] if first < len(values) else None
                if value is None:
                    continue
                add(
                    family,
                    [outcome.policy.name, site, *([outcome.policy.currency] if priced else [])],
                    value.value * factor,
                )
                add(info, [*labels, value.source, value.quality.value, value.basis or ""], 1)
                add(rank, labels, value.rank)
                add(issued, labels, value.issued_at.timestamp() if value.issued_at else None)
        yield family
    yield from (issued, info, rank, covered, other)


_MEASURES = {
    Measure.FINISHED: ("measured_queries_per_hour", "Queries that the site's servers have finished"),
    Measure.THROUGHPUT: ("measured_tokens_per_second", "Tokens in and out of the site's servers"),
    Measure.INPUT_TOKENS: ("measured_input_tokens_per_query", "Input tokens of a query"),
    Measure.OUTPUT_TOKENS: ("measured_output_tokens_per_query", "Output tokens of a query"),
    Measure.MEAN_DELAY: ("measured_delay_seconds", "Mean delay of a query at the site's servers"),
}


def traffic(outcomes: Outcomes) -> Iterator[Metric]:
    """What arrives, how good its forecast is, and what servers measure."""
    labels = ["policy", "demand", "area", "class"]
    arriving = gauge("demand_queries_per_hour", "Queries that arrive, in the current slot", labels)
    error = gauge(
        "demand_forecast_error_ratio",
        "Error of the demand's forecast a day ahead, over the past week, by back-test",
        labels,
    )
    for outcome in outcomes:
        for pair, arrivals in sorted(outcome.arrivals.items()):
            queries = arrivals.queries[outcome.first_slot] / outcome.book.slots.slot_hours
            add(arriving, [outcome.policy.name, *pair], float(queries))
            add(error, [outcome.policy.name, *pair], arrivals.error_ratio)
    yield from (arriving, error)
    for measure, (name, text) in _MEASURES.items():
        family = gauge(f"site_{name}", f"{text}, over the past hour", ["policy", "site", "profile"])
        for outcome in outcomes:
            for (site, profile, found), value in sorted(outcome.measured.items()):
                if found is measure:
                    add(family, [outcome.policy.name, site, profile], value)
        yield family


def sources(health: Mapping[str, SourceHealth]) -> Iterator[Metric]:
    """How the live sources do."""
    success = gauge("signal_source_last_success_timestamp_seconds", "When a live source last answered", ["source"])
    seconds = gauge("signal_source_fetch_seconds", "How long its last answer took", ["source"])
    fetches = counter("signal_source_fetches", "Answers of a live source", ["source"])
    errors = counter("signal_source_errors", "Requests that brought nothing, by reason", ["source", "reason"])
    foreseen = gauge(
        "signal_source_forecast_error_ratio",
        "Forecasts at least half a day ahead against what was measured, over two days",
        ["source", "kind"],
    )
    for name, entry in sorted(health.items()):
        add(success, [name], None if entry.last_success is None else entry.last_success.timestamp())
        add(seconds, [name], entry.fetch_seconds)
        add(fetches, [name], entry.fetches)
        for reason, count in sorted(entry.errors.items()):
            add(errors, [name, reason], count)
        for kind, ratio in sorted(entry.forecast_errors.items()):
            add(foreseen, [name, kind], ratio)
    yield from (success, seconds, fetches, errors, foreseen)
