"""The parts that every dashboard is made of: variables, selectors, panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, gauge, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
ANYTHING = ".+"
PANEL_HEIGHT, STAT_HEIGHT = 8, 4
RARE = "15m"
"""Smallest step of queries about intervals: a policy is planned every five minutes, not at every scrape."""
Panel = stat.Panel | timeseries.Panel | table.Panel | gauge.Panel


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    expr: str
    legend: str = ""
    step: str | None = None
    """Smallest step, where it is not the scrape interval's."""


def of_process(name: str, *more: str) -> str:
    """A metric of the chosen processes."""
    matchers = ", ".join(('job=~"$job"', 'instance=~"$instance"', *more))
    return f"{name}{{{matchers}}}"


def metric(name: str, *more: str) -> str:
    """A metric of the chosen policies."""
    return of_process(f"greenllm_{name}", 'policy=~"$policy"', *more)


def money(name: str, *more: str) -> str:
    """A metric in the chosen currency: sums never mix two."""
    return metric(name, 'currency=~"$currency"', *more)


def at_site(name: str, *more: str) -> str:
    """A metric of the chosen sites."""
    return metric(name, 'site=~"$site"', *more)


def increase(selector: str, window: str = "$__range") -> str:
    """Sum of what counters have risen by."""
    return f"sum(increase({selector}[{window}]))"


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    found = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
    if query.legend:
        found = found.legend_format(query.legend)
    return found.interval(query.step) if query.step else found


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [_target(query, chr(ord("A") + n)) for n, query in enumerate(queries)]


def over_time(title: str, text: str, unit: str, *queries: Query, stacked: bool = False) -> timeseries.Panel:
    """Lines over time, or a stacked area; a third of the width."""
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    panel = (
        timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
        .targets([target.range() for target in _targets(queries)])
        .height(PANEL_HEIGHT).span(8).line_width(1).fill_opacity(10)
        .legend(legend.show_legend(True).calcs(["lastNotNull", "mean"]))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.OFF))
    )  # fmt: skip
    return panel.fill_opacity(60).stacking(common.StackingConfig().mode(StackingMode.NORMAL)) if stacked else panel


def number(title: str, text: str, unit: str, query: Query, *, alarming_above: float | None = None) -> stat.Panel:
    """One number, now; red above a limit where there is one."""
    steps = [Threshold(color="green", value=None)]
    if alarming_above is not None:
        steps.append(Threshold(color="red", value=alarming_above))
    return (
        stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
        .targets([target.instant() for target in _targets([query])])
        .height(STAT_HEIGHT).span(4).graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )  # fmt: skip


def rows(title: str, text: str, query: Query, columns: Sequence[str]) -> table.Panel:
    """A table of a metric's labels; the value, always 1, is left out."""
    shown = {name: n for n, name in enumerate(columns)}
    hidden = {"Time": True, "Value": True, "__name__": True, "job": True, "instance": True}
    target = _target(query, "A").instant().format(PromQueryFormat.TABLE)
    organize = {"excludeByName": hidden, "indexByName": shown, "renameByName": {}}
    return (
        table.Panel().title(title).description(text).datasource(SOURCE).unit("none").targets([target])
        .height(PANEL_HEIGHT).span(8)
        .with_transformation(DataTransformerConfig(id_val="organize", options=organize))
    )  # fmt: skip


def _variable(name: str, label: str, query: str, *, multi: bool = True) -> dashboard.QueryVariable:
    found = (
        dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC).multi(multi)
    )  # fmt: skip
    if not multi:
        return found
    return found.include_all(True).all_value(ANYTHING).current(VariableOption(text="All", value="$__all"))


PROCESS = (
    _variable("job", "Job", "label_values(greenllm_loop_turn_timestamp_seconds, job)"),
    _variable("instance", "Instance", 'label_values(greenllm_loop_turn_timestamp_seconds{job=~"$job"}, instance)'),
)
POLICY = _variable("policy", "Policy", f"label_values({of_process('greenllm_plan_degraded')}, policy)")
CURRENCY = _variable("currency", "Currency", f"label_values({metric('in_force_cost_per_hour')}, currency)", multi=False)
SITE = _variable("site", "Site", f"label_values({metric('in_force_queries_per_hour')}, site)")
DEMAND = _variable("demand", "Demand", f"label_values({metric('demand_queries_per_hour')}, demand)")


def board(name: str, text: str, *variables: dashboard.QueryVariable) -> dashboard.Dashboard:
    """An empty dashboard that cannot be edited where it is shown, linked to the others."""
    link = dashboard.DashboardLink("Green-LLM").type(DashboardLinkType.DASHBOARDS).tags(["green-llm"])
    return (
        dashboard.Dashboard(f"Green-LLM / {name}").uid(f"green-llm-{name.lower()}").description(text)
        .tags(["green-llm"]).readonly().tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-24h", "now").refresh("1m").timezone("browser")
        .link(link.as_dropdown(False).include_vars(True).keep_time(True))
        .variables([
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
            *PROCESS, POLICY, *variables,
        ])
    )  # fmt: skip


def add_row(found: dashboard.Dashboard, title: str, *panels: Panel) -> dashboard.Dashboard:
    """Panels below a heading."""
    found = found.with_row(dashboard.Row(title))
    for panel in panels:
        found = found.with_panel(panel)
    return found
