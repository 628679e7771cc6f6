"""The three dashboards: what is asked, row by row."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from parts import (
    CURRENCY,
    DEMAND,
    RARE,
    SITE,
    Panel,
    Query,
    add_row,
    at_site,
    board,
    increase,
    metric,
    money,
    number,
    of_process,
    over_time,
    rows,
)

STATES = (("in_force", "in force"), ("planned", "planned"), ("nearest", "nearest site"))


def overview() -> dashboard.Dashboard:
    """What the fleet's traffic costs, emits and uses, and what steering it saves."""
    found = board(
        "Overview", "Cost, carbon, water and delay of the traffic, and what steering it saves.", CURRENCY, DEMAND
    )
    found = add_row(found, "Now, under the weights in force", *_now())
    found = add_row(found, "Saved in the chosen time, against sending every query to its nearest site", *_saved())
    found = add_row(found, "Over time", *_courses())
    found = add_row(found, "Where the traffic goes", *_traffic())
    return add_row(found, "Water budget and demands in trouble", *_budget())


def _now() -> tuple[Panel, ...]:
    delay, queries = metric("in_force_delay_seconds"), metric("in_force_queries_per_hour")
    return (
        number("Cost now ($currency per hour)", "Net cost of grid energy, per hour.", "short",
               Query(f"sum({money('in_force_cost_per_hour')})")),
        number("Emissions now, per hour", "CO2e of grid energy, per hour. Empty where the policy counts marginal "
               "emissions: those are shown as a difference only.", "massg",
               Query(f"sum({metric('in_force_emissions_grams_per_hour')})")),
        number("Water now", "On site and behind the electricity, unweighted.", "litreh",
               Query(f"sum({metric('in_force_water_liters_per_hour')})")),
        number("Mean delay now", "Of a query, weighted by traffic: network, and serving by the model's estimate.", "s",
               Query(f"sum({delay} * {queries}) / sum({queries})")),
        number("Queries per hour now", "That arrive and are served.", "short", Query(f"sum({queries})")),
        number("Demands in trouble", "Demands that are not served as they ask; the table below names them.", "none",
               Query(f"count(count by (policy, demand) ({metric('demand_trouble')})) or vector(0)"), alarming_above=1),
    )  # fmt: skip


def _saved() -> tuple[Panel, ...]:
    cost = " + ".join([
        increase(money("nearest_cost_paid_total")), increase(money("in_force_cost_earned_total"))
    ])  # fmt: skip
    cost += f" - {increase(money('nearest_cost_earned_total'))} - {increase(money('in_force_cost_paid_total'))}"
    theirs, ours = metric("nearest_water_liters_total"), metric("in_force_water_liters_total")
    cost_share = f"1 - sum({money('in_force_cost_per_hour')}) / sum({money('nearest_cost_per_hour')})"
    water_share = (
        f"1 - sum({metric('in_force_water_liters_per_hour')}) / sum({metric('nearest_water_liters_per_hour')})"
    )
    carbon_share = (
        f"sum({metric('avoided_emissions_grams_per_hour')}) / sum({metric('nearest_emissions_grams_per_hour')})"
    )
    return (
        number("Cost saved ($currency)", "What the nearest site would have cost, less what was in force. Negative: more "
               "was spent, for another objective.", "short", Query(cost)).span(8),
        number("Emissions avoided", "CO2e at the nearest site, less that in force. The only figure there is of marginal "
               "emissions.", "massg", Query(f"sum(delta({metric('avoided_emissions_grams')}[$__range]))")).span(8),
        number("Water saved", "Litres at the nearest site, less those in force.", "litre",
               Query(f"{increase(theirs)} - {increase(ours)}")).span(8),
        over_time("Saved now, of what the nearest site would take", "Shares of the current rates; negative where another "
                  "objective comes first.", "percentunit", Query(cost_share, "cost"), Query(carbon_share, "emissions"),
                  Query(water_share, "water")).span(24),
    )  # fmt: skip


def _courses() -> tuple[Panel, ...]:
    def states(pattern: str) -> list[Query]:
        return [Query(pattern.replace("STATE", state), words) for state, words in STATES]

    delay, queries = metric("STATE_delay_seconds"), metric("STATE_queries_per_hour")
    return (
        over_time("Cost ($currency per hour)", "Net cost of grid energy: in force, had the plan its way, and at the "
                  "nearest site.", "short", *states(f"sum({money('STATE_cost_per_hour')})")).span(12),
        over_time("Emissions, per hour", "CO2e of grid energy; empty where the policy counts marginal emissions.", "massg",
                  *states(f"sum({metric('STATE_emissions_grams_per_hour')})")).span(12),
        over_time("Water", "On site and behind the electricity.", "litreh",
                  *states(f"sum({metric('STATE_water_liters_per_hour')})")).span(12),
        over_time("Mean delay", "Of a query, weighted by traffic.", "s",
                  *states(f"sum({delay} * {queries}) / sum({queries})")).span(12),
    )  # fmt: skip


def _traffic() -> tuple[Panel, ...]:
    weights = metric("in_force_weight_ratio", 'demand=~"$demand"')
    return (
        over_time("Weights in force, by site", "Mean over the rules of the chosen demands, not weighted by traffic. Empty "
                  "where GREEN_LLM_ROUTE_MATRIX is false.", "percentunit",
                  Query(f"sum by (site) ({weights}) / on () group_left () sum({weights})", "{{site}}"),
                  stacked=True).span(12),
        over_time("Queries per hour, by site", "Under the weights in force.", "short",
                  Query(f"sum by (site) ({metric('in_force_queries_per_hour')})", "{{site}}"), stacked=True).span(12),
    )  # fmt: skip


def _budget() -> tuple[Panel, ...]:
    budget, used = metric("water_budget_liters"), metric("water_budget_used_liters")
    start = metric("water_budget_period_start_timestamp_seconds")
    end = metric("water_budget_period_end_timestamp_seconds")
    even = f"{budget} * ({end} - {metric('plan_timestamp_seconds')}) / ({end} - {start})"
    return (
        over_time("Water budget left", "Litres left of the period's budget, beside what would be left if it were used "
                  "evenly. Below that line it is used too fast.", "litre",
                  Query(f"sum by (policy) ({budget} - {used})", "{{policy}}: left"),
                  Query(f"sum by (policy) ({even})", "{{policy}}: used evenly")),
        over_time("Water budget used", "Share of the period's budget that is used.", "percentunit",
                  Query(f"sum by (policy) ({used}) / sum by (policy) ({budget})", "{{policy}}")),
        rows("Demands in trouble, and why", "The reasons are those of their status (docs/status.md).",
             Query(metric("demand_trouble"), "{{demand}}"), ("policy", "demand", "reason")),
    )  # fmt: skip


def site() -> dashboard.Dashboard:
    """One data centre, or some: what its signals say, what it draws, and what it uses."""
    found = board(
        "Site", "Signals with their sources, power, renewables and water of the data centres.", CURRENCY, SITE
    )
    found = add_row(found, "Signals", *_signals())
    found = add_row(found, "Power and renewables", *_power())
    found = add_row(found, "Water, carbon, money, traffic", *_use())
    return add_row(found, "SLO guard", *_slo())


def _signals() -> tuple[Panel, ...]:
    names, age_of = "{{site}} {{kind}}", metric("plan_timestamp_seconds")
    issued = at_site("site_signal_issued_timestamp_seconds")
    ratios = [Query(at_site(f"site_{kind}_output_ratio"), f"{{{{site}}}} {kind}") for kind in ("solar", "wind")]
    return (
        over_time("Electricity price ($currency per kWh)", "Delivered price of grid energy, in the current slot.", "short",
                  Query(money("site_electricity_price_per_kilowatt_hour", 'site=~"$site"'), "{{site}}")),
        over_time("Carbon intensity, per kWh", "CO2e of grid energy, in the current slot.", "massg",
                  Query(at_site("site_carbon_intensity_grams_per_kilowatt_hour"), "{{site}}")),
        over_time("Renewable output, of capacity", "What sun and wind on site could give, in the current slot.",
                  "percentunit", *ratios),
        rows("Sources in use, and their quality", "Where the value of the current slot comes from.",
             Query(at_site("site_signal_info"), names), ("policy", "site", "kind", "source", "quality", "basis")),
        over_time("Age of the value in use", "From its publication to the plan that uses it. A forecast of yesterday may be "
                  "right for now: see what its source is said to give.", "s",
                  Query(f"{age_of} - on (job, instance, policy) group_right () {issued}", names)),
        over_time("Known ahead", "Time from the current slot on for which there are values, without a gap.", "s",
                  Query(at_site("site_signal_covered_seconds"), names)),
    )  # fmt: skip


def _power() -> tuple[Panel, ...]:
    facility, grid = at_site("in_force_energy_watts"), at_site("in_force_grid_energy_watts")
    return (
        over_time("Power", "Of the facility, for this traffic, by site.", "watt",
                  Query(f"sum by (site) ({facility})", "{{site}}"), stacked=True),
        over_time("Power from the grid", "What of it is drawn from the grid.", "watt",
                  Query(f"sum by (site) ({grid})", "{{site}}"), stacked=True),
        over_time("On-site renewables", "Used: the facility's power less the grid's. Unused: available, but left.", "watt",
                  Query(f"sum by (site) ({facility}) - sum by (site) ({grid})", "{{site}}: used"),
                  Query(f"sum by (site) ({at_site('in_force_displaced_renewables_watts')})", "{{site}}: unused")),
    )  # fmt: skip


def _use() -> tuple[Panel, ...]:
    queries, cost = at_site("in_force_queries_per_hour"), money("in_force_cost_per_hour", 'site=~"$site"')
    return (
        over_time("Water, by scope", "On site: evaporated in cooling. Off site: behind the grid's electricity.", "litreh",
                  Query(f"sum by (site, scope) ({at_site('in_force_water_liters_per_hour')})", "{{site}} {{scope}}"),
                  stacked=True),
        over_time("Water, weighted by scarcity", "Litres times the site's scarcity factors.", "litreh",
                  Query(f"sum by (site) ({at_site('in_force_water_weighted_liters_per_hour')})", "{{site}}"),
                  stacked=True),
        over_time("Emissions, per hour", "CO2e of grid energy; empty where the policy counts marginal emissions.", "massg",
                  Query(f"sum by (site) ({at_site('in_force_emissions_grams_per_hour')})", "{{site}}"), stacked=True),
        over_time("Cost ($currency per hour)", "Net cost of grid energy.", "short",
                  Query(f"sum by (site) ({cost})", "{{site}}")),
        over_time("Queries per hour", "Served under the weights in force.", "short",
                  Query(f"sum by (site) ({queries})", "{{site}}")),
        over_time("Mean delay", "Of a query served here.", "s",
                  Query(f"sum by (site) ({at_site('in_force_delay_seconds')} * {queries}) / sum by (site) ({queries})",
                        "{{site}}")),
    )  # fmt: skip


def _slo() -> tuple[Panel, ...]:
    return (
        over_time("Capped by the SLO guard", "1 while a site may not carry what the plan would send it, for it has broken "
                  "its limits of delay or errors. Empty without guardrails.slo.", "none",
                  Query(f"max by (site, profile) ({at_site('slo_site_capped')})", "{{site}} {{profile}}")).span(12),
        rows("What measurements say", "The guard's verdict on each site and profile: Kept, Broken, Settling, Idle, Unknown.",
             Query(f"{at_site('slo_verdict')} == 1", "{{site}}"), ("policy", "site", "profile", "verdict")).span(12),
    )  # fmt: skip


def operator() -> dashboard.Dashboard:
    """Whether the planner does its work."""
    found = board("Operator", "Whether it plans, how long that takes, what it writes, and how its signals do.")
    found = add_row(found, "Health", *_health())
    found = add_row(found, "Plans and writes", *_plans())
    return add_row(found, "Signals", *_sources())


def _health() -> tuple[Panel, ...]:
    turned = of_process("greenllm_loop_turn_timestamp_seconds")
    return (
        number("Age of the loop's last turn", "The planning loop turns every few seconds, whether or not anything is due.",
               "s", Query(f"time() - max({turned})"), alarming_above=60),
        number("Age of the oldest plan", "Of the chosen policies.", "s",
               Query(f"time() - min({metric('plan_timestamp_seconds')})")),
        number("Time for which plans are good", "Until the first of the last plans expires; negative: it has.", "s",
               Query(f"min({metric('plan_valid_until_timestamp_seconds')}) - time()")),
        number("Degraded policies", "Whose plan is absent, out of time or breaks a limit.", "none",
               Query(f"sum({metric('plan_degraded')})"), alarming_above=1),
        number("Sites held", "Kept at their share for want of signals.", "none",
               Query(f"sum({metric('plan_held_sites')})"), alarming_above=1),
        number("Time not charged", "Of the chosen time, for want of signals: it is in no total.", "s",
               Query(increase(metric("ledger_uncharged_seconds_total"))), alarming_above=1),
    )  # fmt: skip


def _plans() -> tuple[Panel, ...]:
    def mean(name: str, label: str) -> str:
        total, count = (
            f"sum by ({label}) (rate({metric(f'{name}_{part}')}[$__rate_interval]))" for part in ("sum", "count")
        )
        return f"{total} / {count}"

    buckets = f"sum by (le, objective) (rate({metric('solve_phase_seconds_bucket')}[$__rate_interval]))"
    rises = "sum by ({}) (increase({}[$__rate_interval]))"
    return (
        over_time("Solve, by phase: mean", "Solver time of each objective of the lexicographic order.", "s",
                  Query(mean("solve_phase_seconds", "objective"), "{{objective}}", RARE), stacked=True),
        over_time("Solve, by phase: 95th percentile", "Upper bound by the histogram's buckets.", "s",
                  Query(f"histogram_quantile(0.95, {buckets})", "{{objective}}", RARE)),
        over_time("Interval, by step: mean", "Wall time of collecting signals, solving, writing.", "s",
                  Query(mean("interval_step_seconds", "step"), "{{step}}", RARE), stacked=True),
        over_time("Intervals, by how they ended", "optimal; infeasible: the least violation is in force; time_limit: the "
                  "plan is whole but not the best; none: no plan.", "short",
                  Query(rises.format("termination", metric("plans_total")), "{{termination}}", RARE)),
        over_time("Writes of routes, by result", "A failed write is tried again at the next interval.", "short",
                  Query(rises.format("result", metric("route_writes_total")), "{{result}}", RARE)),
        over_time("Resources left out, by reason", "Or whose traffic is fixed. Contended: somebody else keeps writing the "
                  "weights.", "none", Query(f"sum by (reason) ({metric('skipped_resources')})", "{{reason}}")),
        over_time("Limits broken, by kind", "By the plan where none keeps them all; by the weights in force while they "
                  "follow the plan.", "none",
                  Query(f"sum by (kind) ({metric('plan_broken_limits')})", "plan: {{kind}}"),
                  Query(f"sum by (kind) ({metric('in_force_broken_limits')})", "in force: {{kind}}")).span(16),
        over_time("Values of the objectives", "Over the horizon of the plan, each in its own unit.", "short",
                  Query(f"sum by (policy, objective, unit) ({metric('plan_objective_value')})",
                        "{{policy}} {{objective}} ({{unit}})")),
    )  # fmt: skip


def _sources() -> tuple[Panel, ...]:
    errors = of_process("greenllm_signal_source_errors_total")
    return (
        over_time("Place in the chain of the source in use", "0 is the first that the site names; more is a fall-back.",
                  "none", Query(f"max by (site, kind) ({metric('site_signal_rank')})", "{{site}} {{kind}}")),
        over_time("Sources without a usable value", "Times that a source of a chain had none, by site and kind.", "short",
                  Query(f"sum by (site, kind) (increase({metric('signal_problems_total')}[$__rate_interval]))",
                        "{{site}} {{kind}}", RARE)),
        over_time("Live sources: age of the last answer", "Beyond the source's staleAfterSeconds its values are not used.",
                  "s", Query(f"time() - max by (source) "
                             f"({of_process('greenllm_signal_source_last_success_timestamp_seconds')})", "{{source}}")),
        over_time("Live sources: requests that brought nothing", "By source and reason.", "short",
                  Query(f"sum by (source, reason) (increase({errors}[$__rate_interval]))", "{{source}}: {{reason}}", RARE)),
        over_time("Live sources: time of an answer", "How long the last answer took.", "s",
                  Query(f"max by (source) ({of_process('greenllm_signal_source_fetch_seconds')})", "{{source}}")),
        over_time("Errors of forecasts", "Of sources: at least half a day ahead, over two days. Of demands: a day ahead, "
                  "over a week, by back-test.", "percentunit",
                  Query(f"max by (source, kind) ({of_process('greenllm_signal_source_forecast_error_ratio')})",
                        "{{source}} {{kind}}"),
                  Query(f"max by (demand, area, class) ({metric('demand_forecast_error_ratio')})",
                        "{{demand}} {{area}} {{class}}")),
    )  # fmt: skip


BOARDS = {"overview": overview, "site": site, "operator": operator}
