"""The quick start on a real node: requests follow the weights, and its Prometheus says what the plan says."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from support.cluster_objects import NS, condition
from support.control_plane import ControlPlane
from support.dashboards import Target, targets
from support.node import Node
from support.operator_process import NAMESPACE, until
from support.prometheus_server import asked
from support.quick_start import QuickStart
from support.release import Release

AREAS, CLASSES = ("seattle", "new-york"), ("chat", "summary")
PER_PAIR = 200
TARGETS = {(target.board, target.panel, target.ref): target for target in targets()}
STEADY = "35s"
"""Two scrapes, of which the first was a rule's interval ago: for so long a plan must have been the last, so that rules have seen it."""
UNSAID = ("__name__", "job", "instance", "basis")
Labels = frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def quick_start(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickStart]:
    found = QuickStart(node, tmp_path_factory.mktemp("quick-start"))
    try:
        said = found.up()
        assert "Green-LLM steers." in said
        yield found
    finally:
        found.down()


@pytest.fixture
def plane(quick_start: QuickStart, node: Node) -> ControlPlane:
    del quick_start
    return node.plane


def address(plane: ControlPlane, service: str, namespace: str) -> str:
    spec = plane.get("service", service, "-n", namespace)["spec"]
    return f"{spec['clusterIP']}:{spec['ports'][0]['port']}"


def site_that_answers(gateway: str, area: str, query_class: str) -> str:
    body = {"model": "llama-70b", "max_tokens": 4, "messages": [{"role": "user", "content": "word"}]}
    headers = {
        "host": f"{area}.llm.example.com", "x-area": area, "x-class": query_class, "content-type": "application/json",
    }  # fmt: skip
    request = urllib.request.Request(f"http://{gateway}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return str(answer.headers["x-site"])
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return type(error).__name__


def all_weights(plane: ControlPlane) -> dict[tuple[str, str], dict[str, int]]:
    """By area and class, of each site."""
    return {
        (area, rule["name"]): {ref["name"].removeprefix("llm-"): ref["weight"] for ref in rule["backendRefs"]}
        for area in AREAS
        for rule in plane.get("httproute", area, "-n", NS)["spec"]["rules"]
    }


def test_requests_follow_the_weights(plane: ControlPlane) -> None:
    gateway = address(plane, "inference-gateway", "envoy-gateway-system")
    until(lambda: site_that_answers(gateway, "seattle", "chat") in ("oregon", "iowa", "virginia"), 120, "an answer")
    pairs = [(area, query_class) for area in AREAS for query_class in CLASSES]
    for _ in range(4):
        before = all_weights(plane)
        with ThreadPoolExecutor(8) as pool:
            found = {
                pair: Counter(pool.map(lambda _, pair=pair: site_that_answers(gateway, *pair), range(PER_PAIR)))  # type: ignore[misc]
                for pair in pairs
            }
        if all_weights(plane) == before:
            break
        time.sleep(5)  # the ramp went on meanwhile, and the gateway needs a moment
    else:
        pytest.fail("the weights changed all the time")
    for pair, counted in found.items():
        shares = {site: weight / sum(before[pair].values()) for site, weight in before[pair].items()}
        assert set(counted) <= {site for site, share in shares.items() if share}, (pair, before[pair], counted)
        for site, share in shares.items():
            # Six standard deviations of a binomial.
            assert abs(counted[site] - PER_PAIR * share) <= 6 * math.sqrt(PER_PAIR * share * (1 - share)) + 1, (
                pair,
                counted,
            )


def shown(host: str, target: Target, at: float) -> dict[Labels, float]:
    return values(host, target.filled(job="green-llm", rate_interval="2m", whole_range="5m"), at)


def values(host: str, expr: str, at: float) -> dict[Labels, float]:
    """By labels, without those that Prometheus adds or the page does not say."""
    return {
        frozenset((k, v) for k, v in series["metric"].items() if k not in UNSAID): float(series["value"][1])
        for series in asked(host, expr, at)
    }


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def of_pod(plane: ControlPlane) -> dict[str, Any]:
    """The interval that the operator's page says is in force."""
    pod = Release(plane).pod()["status"]["podIP"]
    with urllib.request.urlopen(f"http://{pod}:9464/api/v1/now", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def steady(plane: ControlPlane, host: str) -> tuple[dict[str, Any], float]:
    """An interval and a moment at which Prometheus has seen it, and nothing else for a while."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        plan, now = of_pod(plane), time.time()
        seen = [
            value for word in ("min", "max")
            for value in values(host, f"{word}_over_time(greenllm_plan_timestamp_seconds[{STEADY}])", now).values()
        ]  # fmt: skip
        scraped = values(host, f"count_over_time(greenllm_plan_timestamp_seconds[{STEADY}])", now).values()
        if len(seen) == 2 and max(scraped) >= 2 and all(abs(value - stamp(plan["at"])) < 1e-3 for value in seen):
            return plan, now
        time.sleep(2)
    raise AssertionError(f"Prometheus does not have the plan of {plan['at']}: {seen}")


def by(label: str, found: Mapping[str, float]) -> dict[Labels, float]:
    return {frozenset({(label, name)}): value for name, value in found.items()}


def signal_labels(row: Mapping[str, str], *more: str) -> Labels:
    return frozenset({("policy", "default"), *((key, row[key]) for key in ("site", "kind", *more))})


AGE = ("operator", "Age of the oldest plan", "A")
SUMMED = {
    ("site", "Cost ($currency per hour)", "A"): ("cost", 1.0),
    ("site", "Emissions, per hour", "A"): ("emissions", 1e3),
    ("site", "Water, by scope", "A"): ("water", 1.0),
    ("site", "Power", "A"): ("power", 1e3),
    ("site", "Power from the grid", "A"): ("power", 1e3),
}
"""Panels whose sites the page's JSON holds as one: the rate, and how many of the panel's unit are one of the rate's.

The fleet has no renewables, so that all of its power is from the grid."""


def expected(plan: Mapping[str, Any], at: float) -> dict[tuple[str, str, str], dict[Labels, float]]:
    """What panels must show of an interval."""
    rates = {row["name"]: row for row in plan["rates"]}
    alone: Labels = frozenset()
    default: Labels = frozenset({("policy", "default")})
    water, factors = plan["water"], {"cost": 1.0, "emissions": 1e3, "water": 1.0, "delay": 1e-3}
    names = {
        "cost": "Cost ($currency per hour)",
        "emissions": "Emissions, per hour",
        "water": "Water",
        "delay": "Mean delay",
    }
    now = {
        "cost": "Cost now ($currency per hour)",
        "emissions": "Emissions now, per hour",
        "water": "Water now",
        "delay": "Mean delay now",
    }
    found = {
        ("overview", names[name], ref): {alone: rates[name][state] * factor}
        for name, factor in factors.items()
        for ref, state in (("A", "in_force"), ("B", "planned"), ("C", "nearest"))
    }
    found |= {
        ("overview", now[name], "A"): {alone: rates[name]["in_force"] * factor} for name, factor in factors.items()
    }
    found |= {
        ("overview", "Saved now, of what the nearest site would take", ref): {
            alone: 1 - rates[name]["in_force"] / rates[name]["nearest"]
        }
        for ref, name in (("A", "cost"), ("B", "emissions"), ("C", "water"))
    }
    queries = dict.fromkeys(plan["sites"], 0.0)
    for pair in plan["pairs"]:
        for site, cell in pair["shares"].items():
            queries[site] += pair["queries_per_hour"] * cell["in_force"]
    shares: Counter[str] = Counter()
    for pair in plan["pairs"]:
        shares.update({site: cell["in_force"] / len(plan["pairs"]) for site, cell in pair["shares"].items()})
    prices, carbon = (
        {
            frozenset({("policy", "default"), ("site", row["site"]), *more}): row["value"] / divisor
            for row in plan["signals"] if row["kind"] == kind
        }
        for kind, divisor, more in (
            ("electricityPrice", 1e3, [("currency", plan["currency"])]), ("carbonIntensity", 1.0, []),
        )
    )  # fmt: skip
    return found | {
        ("overview", "Queries per hour now", "A"): {alone: sum(pair["queries_per_hour"] for pair in plan["pairs"])},
        ("overview", "Queries per hour, by site", "A"): by("site", queries),
        ("site", "Queries per hour", "A"): by("site", queries),
        ("site", "Sources in use, and their quality", "A"): {
            signal_labels(row, "source", "quality"): 1.0 for row in plan["signals"]
        },
        ("site", "Age of the value in use", "A"): {
            signal_labels(row): row["age_seconds"] for row in plan["signals"] if row["age_seconds"] is not None
        },
        ("site", "On-site renewables", "A"): dict.fromkeys(by("site", queries), 0.0),
        ("operator", "Sites held", "A"): {alone: 0.0},
        ("overview", "Demands in trouble", "A"): {alone: 0.0},
        ("overview", "Weights in force, by site", "A"): by("site", {name: shares[name] for name in plan["sites"]}),
        ("overview", "Water budget left", "A"): {default: water["remaining_liters"]},
        ("overview", "Water budget used", "A"): {default: water["used_liters"] / water["budget_liters"]},
        ("site", "Electricity price ($currency per kWh)", "A"): prices,
        ("site", "Carbon intensity, per kWh", "A"): carbon,
        AGE: {alone: at - stamp(plan["at"])},
        ("operator", "Degraded policies", "A"): {alone: 0.0},
    }


def test_its_prometheus_says_what_the_plan_says(plane: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    host = address(plane, "prometheus", NAMESPACE)
    until(lambda: values(host, "min(up) == 1 and count(up) == 4", time.time()), 120, "all are scraped")
    plan, at = steady(plane, host)
    for key, wanted in expected(plan, at).items():
        small = 2e-3 if key == AGE else 1e-6  # queries have their time in milliseconds
        assert shown(host, TARGETS[key], at) == pytest.approx(wanted, rel=1e-6, abs=small), key
    for key, (name, factor) in SUMMED.items():
        (rate,) = (row["in_force"] for row in plan["rates"] if row["name"] == name)
        assert sum(shown(host, TARGETS[key], at).values()) == pytest.approx(rate * factor, rel=1e-6), key
    empty = sorted(" / ".join(key) for key, target in TARGETS.items() if not shown(host, target, at))
    rates, default = {row["name"]: row for row in plan["rates"]}, frozenset({("policy", "default")})
    cost = default | {("currency", plan["currency"])}
    hours = (stamp(plan["water"]["period_end"]) - stamp(plan["at"])) / 3600
    for record, wanted in {
        "policy:greenllm_in_force_cost_per_hour:sum": {cost: rates["cost"]["in_force"]},
        "policy:greenllm_nearest_cost_per_hour:sum": {cost: rates["cost"]["nearest"]},
        "policy:greenllm_in_force_water_liters_per_hour:sum": {default: rates["water"]["in_force"]},
        "policy:greenllm_water_budget_left_liters:sum": {default: plan["water"]["remaining_liters"]},
        "policy:greenllm_water_budget_left_hours:sum": {default: hours},
    }.items():
        assert values(host, record, at) == pytest.approx(wanted, rel=1e-6), record
    with urllib.request.urlopen(f"http://{host}/api/v1/rules", timeout=10) as answer:
        rules = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    served = "sum by (site) (increase(vllm:request_success_total[2m])) > 0"
    until(lambda: values(host, served, time.time()), 120, "the load is served through the gateway")
    with capsys.disabled():
        print(f"\nquick start: {len(TARGETS)} queries, without a series: {'; '.join(empty)}")


def overwrite(plane: ControlPlane, area: str) -> dict[str, int]:
    """Another writer, who wants everything elsewhere; what it has written to the first rule."""
    refs = plane.get("httproute", area, "-n", NS)["spec"]["rules"][0]["backendRefs"]
    least = min(range(len(refs)), key=lambda n: refs[n]["weight"])
    written = [1000 if n == least else 0 for n in range(len(refs))]
    patch = [
        {"op": "replace", "path": f"/spec/rules/0/backendRefs/{n}/weight", "value": weight}
        for n, weight in enumerate(written)
    ]
    plane.kubectl("patch", "httproute", area, "-n", NS, "--type=json", "-p", json.dumps(patch))
    return {ref["name"].removeprefix("llm-"): weight for ref, weight in zip(refs, written, strict=True)}


def test_failed_writes_and_a_fight_show_on_the_dashboard(plane: ControlPlane) -> None:
    host = address(plane, "prometheus", NAMESPACE)
    writes, left_out = (
        TARGETS["operator", panel, "A"] for panel in ("Writes of routes, by result", "Resources left out, by reason")
    )
    binding = plane.get("clusterrolebinding", "green-llm-enforce")
    plane.kubectl("delete", "clusterrolebinding", "green-llm-enforce")
    try:
        overwrite(plane, "new-york")
        failed = frozenset({("result", "failed")})
        until(lambda: shown(host, writes, time.time()).get(failed, 0.0) > 0, 150, "failed writes")
    finally:
        binding["metadata"] = {key: binding["metadata"][key] for key in ("name", "labels", "annotations")}
        plane.apply(binding)
    pair = ("seattle", CLASSES[0])
    end = time.monotonic() + 240
    while condition(plane, "idem", "assistant", "Contended", "-n", NS) != ("True", "Overwritten"):
        assert time.monotonic() < end, "not contended"
        written = overwrite(plane, "seattle")
        until(
            lambda was=written: all_weights(plane)[pair] != was  # type: ignore[misc]
            or condition(plane, "idem", "assistant", "Contended", "-n", NS) == ("True", "Overwritten"),
            90, f"an answer to {written}",
        )  # fmt: skip
    contended = frozenset({("reason", "Contended")})
    until(lambda: shown(host, left_out, time.time()).get(contended, 0.0) > 0, 90, "contended")
