"""The model beside what was measured, as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from green_llm.observability.families import Outcomes, add, gauge


def comparison(outcomes: Outcomes) -> Iterator[Metric]:
    """What the model says of the weights in force, to be set beside what was measured."""
    of_pair, of_site = ["policy", "demand", "area", "class"], ["policy", "site", "profile"]
    model = gauge("demand_model_delay_seconds", "Mean delay of a query by the model, weights in force, now", of_pair)
    measured = gauge(
        "demand_measured_delay_seconds", "The same as its gateway measures it, over the past hour", of_pair
    )
    there = gauge("site_model_delay_seconds", "Mean processing delay by the model, weights in force, now", of_site)
    planned = gauge("site_planned_it_power_watts", "IT power by the model, under the plan, now", of_site)
    power = gauge("site_model_it_power_watts", "IT power by the model, under the weights in force, now", of_site)
    drawn = gauge(
        "site_measured_it_power_watts",
        "Energy per token times the tokens of the site's servers, over the past hour",
        of_site,
    )
    for outcome in outcomes:
        name, found = outcome.policy.name, outcome.comparison
        for pair, delay in sorted(found.pair_delays_s.items()):
            add(model, [name, *pair], delay.model)
            add(measured, [name, *pair], delay.measured)
        for key, delay in found.site_delays_s.items():
            add(there, [name, *key], delay.model)
        for key, watts in found.site_it_watts.items():
            add(planned, [name, *key], watts.planned)
            add(power, [name, *key], watts.model)
            add(drawn, [name, *key], watts.measured)
    yield from (model, measured, there, planned, power, drawn)
