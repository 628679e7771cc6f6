"""What every query of the dashboards must say, computed from the planner's own JSON.

``EXPECTED[board, panel, query](moment)`` gives the value of each series by its labels; a pair is a range, where the
JSON is written a moment before or after what is scraped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from green_llm.domain.plan import Objective, Termination
from green_llm.observability.counts import SOLVE_BUCKETS

Document = dict[str, Any]
Labels = frozenset[tuple[str, str]]
Value = float | tuple[float, float]
Series = Mapping[Labels, Value]
KWH = 1000.0
GRAMS = 1000.0
NOTHING: Labels = frozenset()
POLICY = "default"


def labels(**found: str) -> Labels:
    return frozenset(found.items())


@dataclass(frozen=True)
class Moment:
    """A scrape, and everything that was said until then and at once after."""

    at: float
    """When it was scraped, s since 1970."""
    window: float
    """The range of rates and increases, s."""
    scrapes: tuple[tuple[float, int], ...]
    """Scrapes in the window: when, and which document was held."""
    documents: tuple[Document, ...]
    """All until one interval after the scrape."""
    read: tuple[float, ...]
    """When each was read."""

    @property
    def held(self) -> int:
        """Which document the scrape shows."""
        return self.scrapes[-1][1]

    @property
    def plan(self) -> Document:
        """What the policy's interval came to."""
        return policy_of(self.documents[self.held])

    def rise(self, values: Callable[[int], Mapping[Labels, float]]) -> dict[Labels, float]:
        """increase() of counters over the window; ``values`` gives them after an interval, by its number."""
        points: dict[Labels, list[tuple[float, float]]] = {}
        for when, number in self.scrapes:
            for key, value in values(number).items():
                points.setdefault(key, []).append((when, value))
        begin = self.at - self.window
        return {key: extrapolated(found, begin, self.at) for key, found in points.items() if len(found) > 1}

    def counted(self, events: Callable[[Document], Mapping[Labels, float]]) -> dict[Labels, float]:
        """The same of what each interval adds."""

        def so_far(number: int) -> dict[Labels, float]:
            sums: dict[Labels, float] = {}
            for document in self.documents[: number + 1]:
                for key, value in events(policy_of(document)).items():
                    sums[key] = sums.get(key, 0.0) + value
            return sums

        return self.rise(so_far)


def policy_of(document: Document) -> Document:
    found: Document = document["policies"][POLICY]
    return found


def extrapolated(points: list[tuple[float, float]], begin: float, end: float) -> float:
    """What Prometheus's increase() makes of samples of a counter that is never reset (promql/functions.go, 2.42)."""
    (first, low), (last, high) = points[0], points[-1]
    spacing = (last - first) / (len(points) - 1)
    before, after = first - begin, end - last
    if high > low:
        before = min(before, (last - first) * low / (high - low))
    reach = last - first
    reach += before if before < spacing * 1.1 else spacing / 2
    reach += after if after < spacing * 1.1 else spacing / 2
    return (high - low) * reach / (last - first)


def cost(amounts: Document) -> float:
    return float(amounts["cost_paid"] - amounts["cost_earned"])


def grams(amounts: Document) -> float:
    return GRAMS * float(amounts["emissions_kg"])


def water(amounts: Document) -> float:
    return float(amounts["water_on_site_l"] + amounts["water_off_site_l"])


def total(moment: Moment, state: str, read: Callable[[Document], float]) -> float:
    return sum(read(amounts) for amounts in moment.plan[f"{state}_per_hour"].values())


def summed(state: str, read: Callable[[Document], float]) -> Callable[[Moment], Series]:
    return lambda moment: {NOTHING: total(moment, state, read)}


def mean_delay(state: str) -> Callable[[Moment], Series]:
    return lambda moment: {
        NOTHING: total(moment, state, lambda a: a["query_delay_s"]) / total(moment, state, lambda a: a["queries"])
    }


def by_site(read: Callable[[Document], float]) -> Callable[[Moment], Series]:
    return lambda moment: {
        labels(site=site): read(amounts) for site, amounts in moment.plan["in_force_per_hour"].items()
    }


def site_delays(moment: Moment) -> Series:
    return {
        labels(site=site): a["query_delay_s"] / a["queries"] if a["queries"] else math.nan
        for site, a in moment.plan["in_force_per_hour"].items()
    }


def totals(moment: Moment, state: str, *names: str) -> float:
    """Sum over sites of what counters of the ledger have risen by."""

    def values(number: int) -> dict[Labels, float]:
        found = policy_of(moment.documents[number])["totals"][state]
        return {labels(site=site, name=name): amounts[name] for site, amounts in found.items() for name in names}

    return sum(moment.rise(values).values())


def cost_saved(moment: Moment) -> Series:
    paid = totals(moment, "nearest", "cost_paid") - totals(moment, "in_force", "cost_paid")
    return {NOTHING: paid - totals(moment, "nearest", "cost_earned") + totals(moment, "in_force", "cost_earned")}


def water_saved(moment: Moment) -> Series:
    names = ("water_on_site_l", "water_off_site_l")
    return {NOTHING: totals(moment, "nearest", *names) - totals(moment, "in_force", *names)}


def emissions_avoided(moment: Moment) -> Series:
    """delta() of a gauge: extrapolated like a counter, save that it may begin below zero."""

    def avoided(number: int) -> float:
        found = policy_of(moment.documents[number])["totals"]
        theirs, ours = (sum(grams(a) for a in found[state].values()) for state in ("nearest", "in_force"))
        return theirs - ours

    points = [(when, avoided(number)) for when, number in moment.scrapes]
    (first, low), (last, high) = points[0], points[-1]
    spacing = (last - first) / (len(points) - 1)
    before, after = first - (moment.at - moment.window), moment.at - last
    reach = last - first
    reach += before if before < spacing * 1.1 else spacing / 2
    reach += after if after < spacing * 1.1 else spacing / 2
    return {NOTHING: (high - low) * reach / (last - first)}


def share(state: str, read: Callable[[Document], float]) -> Callable[[Moment], Series]:
    return lambda moment: {NOTHING: 1 - total(moment, state, read) / total(moment, "nearest", read)}


def weights(moment: Moment) -> Series:
    rules: dict[tuple[str, ...], dict[str, float]] = {}
    for row in moment.plan["weights"]:
        rule = rules.setdefault(tuple(row[k] for k in ("demand", "area", "class", "route", "rule")), {})
        rule[row["site"]] = row["weight"]
    sums: dict[str, float] = {}
    for rule in rules.values():
        for site, weight in rule.items():
            sums[site] = sums.get(site, 0.0) + weight / sum(rule.values())
    return {labels(site=site): value / len(rules) for site, value in sums.items()}


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def water_even(moment: Moment) -> Series:
    found = moment.plan["water"]
    start, end, now = (stamp(text) for text in (found["period_start"], found["period_end"], moment.plan["at"]))
    return {labels(policy=POLICY): found["budget_liters"] * (end - now) / (end - start)}


def signals(read: Callable[[Document], float | None], kind: str = "", **more: str) -> Callable[[Moment], Series]:
    """Of each site's signal (of one kind), with labels from the row (or fixed ones)."""

    def found(moment: Moment) -> Series:
        rows = [row for row in moment.plan["signals"] if not kind or row["kind"] == kind]
        series: dict[Labels, Value] = {}
        for row in rows:
            value = read(row)
            if value is not None:
                own = {"policy": POLICY, "site": row["site"]} | ({} if kind else {"kind": row["kind"]})
                own |= {name: text or row[name] or "" for name, text in more.items()}
                series[labels(**{name: text for name, text in own.items() if text})] = value
        return series

    return found


def age(moment: Moment) -> Callable[[Document], float | None]:
    now = stamp(moment.plan["at"])
    return lambda row: now - stamp(row["issued_at"]) if row["issued_at"] else None


def events_by(name: str, key: str) -> Callable[[Moment], Series]:
    """Number of rows of a list by one of their fields."""

    def found(moment: Moment) -> Series:
        values = [row[key] for row in moment.plan[name]]
        return {labels(**{key: value}): values.count(value) for value in values}

    return found


def endings(plan: Document) -> dict[Labels, float]:
    return {
        labels(termination=name): float(plan["termination"] == name)
        for name in [*(e.value for e in Termination), "none"]
    }


def writes(plan: Document) -> dict[Labels, float]:
    written = {(row["demand"].partition("/")[0], row["route"]) for row in plan["weights"] if row["written"]}
    return {labels(result="written"): len(written), labels(result="failed"): len(plan["writes_failed"])}


def unusable(plan: Document) -> dict[Labels, float]:
    found: dict[Labels, float] = {}
    for row in plan["unusable_sources"]:
        key = labels(site=row["site"], kind=row["kind"])
        found[key] = found.get(key, 0.0) + 1.0
    return found


def means(moment: Moment, timed: Callable[[Document], Mapping[Labels, float]]) -> Series:
    """rate(sum) / rate(count) of what each interval timed."""
    sums, counts = moment.counted(timed), moment.counted(lambda plan: dict.fromkeys(timed(plan), 1.0))
    return {key: value / counts[key] if counts[key] else math.nan for key, value in sums.items()}


def phases(plan: Document) -> dict[Labels, float]:
    return {labels(objective=phase["objective"]): phase["seconds"] for phase in plan["phases"]}


def quantiles(moment: Moment) -> Series:
    """The 95th percentile by linear interpolation in the histogram's buckets."""
    bounds = (*SOLVE_BUCKETS, math.inf)
    found: dict[Labels, Value] = {}
    rises = [
        moment.counted(lambda plan, bound=bound: {k: float(s <= bound) for k, s in phases(plan).items()})  # type: ignore[misc]
        for bound in bounds
    ]
    for key in rises[-1]:
        counts = [rise[key] for rise in rises]
        rank = 0.95 * counts[-1]
        n = next(n for n, count in enumerate(counts) if count >= rank)
        low, below = (bounds[n - 1], counts[n - 1]) if n else (0.0, 0.0)
        if not counts[-1]:
            found[key] = math.nan
        else:
            found[key] = (
                low if math.isinf(bounds[n]) else low + (bounds[n] - low) * (rank - below) / (counts[n] - below)
            )
    return found


def objectives(moment: Moment) -> Series:
    return {
        labels(policy=POLICY, objective=o.value, unit=o.unit.replace("$", "USD")): moment.plan["values"][o.value]
        for o in Objective
    }


def sources(moment: Moment, read: Callable[[Document], Mapping[Labels, float]]) -> Series:
    """How live sources do: they are asked while intervals rest, so between what the documents around the scrape say."""
    around = [read(moment.documents[n]["sources"]) for n in (moment.held, moment.held + 1)]
    keys = around[0].keys() & around[1].keys()
    return {key: (min(a[key] for a in around), max(a[key] for a in around)) for key in keys}


def errors(moment: Moment) -> Series:
    def values(shift: int) -> Callable[[int], Mapping[Labels, float]]:
        return lambda number: {
            labels(source=name, reason=reason): float(count)
            for name, health in moment.documents[number + shift]["sources"].items()
            for reason, count in health["errors"].items()
        }

    found = [moment.rise(values(0)), moment.rise(values(1))]
    # A source may be asked once more between the document and the scrape.
    return {key: (min(f[key] for f in found) - 1e-9, max(f[key] for f in found) + 1.5) for key in found[0]}


def turned(moment: Moment) -> Series:
    """The loop has turned after the document before was read, and before the scrape ended (its time is its begin)."""
    return {NOTHING: (-1.0, moment.at - moment.read[moment.held - 1] + 0.5)}


def arrivals(moment: Moment) -> Series:
    return {
        labels(demand=row["demand"], area=row["area"], **{"class": row["class"]}): row["forecast_error_ratio"]
        for row in moment.plan["arrivals"]
        if row["forecast_error_ratio"] is not None
    }


Key = tuple[str, str, str]
EXPECTED: dict[Key, Callable[[Moment], Series]] = {
    ("overview", "Cost now ($currency per hour)", "A"): summed("in_force", cost),
    ("overview", "Emissions now, per hour", "A"): summed("in_force", grams),
    ("overview", "Water now", "A"): summed("in_force", water),
    ("overview", "Mean delay now", "A"): mean_delay("in_force"),
    ("overview", "Queries per hour now", "A"): summed("in_force", lambda a: a["queries"]),
    ("overview", "Demands in trouble", "A"): lambda m: {
        NOTHING: float(len({row["demand"] for row in m.plan["troubled_demands"]}))
    },
    ("overview", "Cost saved ($currency)", "A"): cost_saved,
    ("overview", "Emissions avoided", "A"): emissions_avoided,
    ("overview", "Water saved", "A"): water_saved,
    ("overview", "Saved now, of what the nearest site would take", "A"): share("in_force", cost),
    ("overview", "Saved now, of what the nearest site would take", "B"): share("in_force", grams),
    ("overview", "Saved now, of what the nearest site would take", "C"): share("in_force", water),
    ("overview", "Weights in force, by site", "A"): weights,
    ("overview", "Queries per hour, by site", "A"): by_site(lambda a: a["queries"]),
    ("overview", "Water budget left", "A"): lambda m: {labels(policy=POLICY): m.plan["water"]["remaining_liters"]},
    ("overview", "Water budget left", "B"): water_even,
    ("overview", "Water budget used", "A"): lambda m: {
        labels(policy=POLICY): m.plan["water"]["used_liters"] / m.plan["water"]["budget_liters"]
    },
    ("overview", "Demands in trouble, and why", "A"): lambda m: {
        labels(policy=POLICY, **row): 1.0 for row in m.plan["troubled_demands"]
    },
    ("site", "Electricity price ($currency per kWh)", "A"): signals(
        lambda row: row["value"] / 1000.0, "electricityPrice", currency="USD"
    ),
    ("site", "Carbon intensity, per kWh", "A"): signals(lambda row: row["value"], "carbonIntensity"),
    ("site", "Renewable output, of capacity", "A"): signals(lambda row: row["value"], "solarOutput"),
    ("site", "Renewable output, of capacity", "B"): signals(lambda row: row["value"], "windOutput"),
    ("site", "Sources in use, and their quality", "A"): signals(lambda _: 1.0, source="", quality="", basis=""),
    ("site", "Age of the value in use", "A"): lambda m: signals(age(m))(m),
    ("site", "Known ahead", "A"): lambda m: {
        labels(policy=POLICY, site=row["site"], kind=row["kind"]): row["seconds"] for row in m.plan["known_ahead"]
    },
    ("site", "Power", "A"): by_site(lambda a: KWH * a["energy_kwh"]),
    ("site", "Power from the grid", "A"): by_site(lambda a: KWH * a["grid_energy_kwh"]),
    ("site", "On-site renewables", "A"): by_site(lambda a: KWH * (a["energy_kwh"] - a["grid_energy_kwh"])),
    ("site", "On-site renewables", "B"): by_site(lambda a: KWH * a["displaced_renewables_kwh"]),
    ("site", "Water, by scope", "A"): lambda m: {
        labels(site=site, scope=scope): amounts[f"water_{scope}_l"]
        for site, amounts in m.plan["in_force_per_hour"].items()
        for scope in ("on_site", "off_site")
    },
    ("site", "Water, weighted by scarcity", "A"): by_site(lambda a: a["water_weighted_l"]),
    ("site", "Emissions, per hour", "A"): by_site(grams),
    ("site", "Cost ($currency per hour)", "A"): by_site(cost),
    ("site", "Queries per hour", "A"): by_site(lambda a: a["queries"]),
    ("site", "Mean delay", "A"): site_delays,
    ("site", "Capped by the SLO guard", "A"): lambda m: {
        labels(site=row["site"], profile=row["profile"]): float("capTokensPerSecond" in row) for row in m.plan["slo"]
    },
    ("site", "What measurements say", "A"): lambda m: {
        labels(policy=POLICY, **{key: row[key] for key in ("site", "profile", "verdict")}): 1.0 for row in m.plan["slo"]
    },
    ("operator", "Age of the loop's last turn", "A"): turned,
    ("operator", "Age of the oldest plan", "A"): lambda m: {NOTHING: m.at - stamp(m.plan["at"])},
    ("operator", "Time for which plans are good", "A"): lambda m: {NOTHING: stamp(m.plan["valid_until"]) - m.at},
    ("operator", "Degraded policies", "A"): lambda m: {NOTHING: float(m.plan["termination"] != "optimal")},
    ("operator", "Sites held", "A"): lambda m: {NOTHING: float(len(m.plan["held_sites"]))},
    ("operator", "Time not charged", "A"): lambda m: {
        NOTHING: sum(
            m.rise(lambda n: {NOTHING: policy_of(m.documents[n])["totals"]["uncharged_seconds"]}).values()
        )
    },
    ("operator", "Solve, by phase: mean", "A"): lambda m: means(m, phases),
    ("operator", "Solve, by phase: 95th percentile", "A"): quantiles,
    ("operator", "Interval, by step: mean", "A"): lambda m: means(
        m, lambda plan: {labels(step=step): seconds for step, seconds in plan["seconds"].items()}
    ),
    ("operator", "Intervals, by how they ended", "A"): lambda m: m.counted(endings),
    ("operator", "Writes of routes, by result", "A"): lambda m: m.counted(writes),
    ("operator", "Resources left out, by reason", "A"): events_by("skipped", "reason"),
    ("operator", "Limits broken, by kind", "A"): lambda m: {
        labels(kind=kind): m.plan["broken_kinds"]["plan"].count(kind) for kind in m.plan["broken_kinds"]["plan"]
    },
    ("operator", "Limits broken, by kind", "B"): lambda m: {
        labels(kind=kind): m.plan["broken_kinds"]["in_force"].count(kind) for kind in m.plan["broken_kinds"]["in_force"]
    },
    ("operator", "Values of the objectives", "A"): objectives,
    ("operator", "Place in the chain of the source in use", "A"): lambda m: {
        labels(site=row["site"], kind=row["kind"]): row["rank"] for row in m.plan["signals"]
    },
    ("operator", "Sources without a usable value", "A"): lambda m: m.counted(unusable),
    ("operator", "Live sources: age of the last answer", "A"): lambda m: sources(
        m, lambda found: {labels(source=n): m.at - stamp(h["last_success"]) for n, h in found.items() if h["last_success"]}
    ),
    ("operator", "Live sources: requests that brought nothing", "A"): errors,
    ("operator", "Live sources: time of an answer", "A"): lambda m: sources(
        m, lambda found: {labels(source=n): h["fetch_seconds"] for n, h in found.items() if h["fetch_seconds"]}
    ),
    ("operator", "Errors of forecasts", "A"): lambda m: sources(
        m,
        lambda found: {
            labels(source=n, kind=kind): ratio for n, h in found.items() for kind, ratio in h["forecast_errors"].items()
        },
    ),
    ("operator", "Errors of forecasts", "B"): arrivals,
} | {
    ("overview", panel, ref): found(state)
    for ref, state in (("A", "in_force"), ("B", "planned"), ("C", "nearest"))
    for panel, found in (
        ("Cost ($currency per hour)", lambda state: summed(state, cost)),
        ("Emissions, per hour", lambda state: summed(state, grams)),
        ("Water", lambda state: summed(state, water)),
        ("Mean delay", mean_delay),
    )
}  # fmt: skip

RECORDS: dict[str, Callable[[Moment], Series]] = {
    "policy:greenllm_in_force_cost_per_hour:sum": lambda m: {
        labels(policy=POLICY, currency="USD"): total(m, "in_force", cost)
    },
    "policy:greenllm_nearest_cost_per_hour:sum": lambda m: {
        labels(policy=POLICY, currency="USD"): total(m, "nearest", cost)
    },
    "policy:greenllm_in_force_water_liters_per_hour:sum": lambda m: {
        labels(policy=POLICY): total(m, "in_force", water)
    },
    "policy:greenllm_water_budget_left_liters:sum": lambda m: {
        labels(policy=POLICY): m.plan["water"]["remaining_liters"]
    },
    "policy:greenllm_water_budget_left_hours:sum": lambda m: {
        labels(policy=POLICY): (stamp(m.plan["water"]["period_end"]) - stamp(m.plan["at"])) / 3600
    },
}
"""Recording rules of the moment; those of burn rates are means over windows and come beside them in the test."""
