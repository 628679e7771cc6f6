"""A real Prometheus scrapes the real process; every panel and rule says what the planner's own JSON says.

Two processes: one replays recorded days, the other plans for now with live sources, one of which is refused, and demand
measured by the same Prometheus.
"""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster_objects import FLEET, NS, demand, ours, route
from support.control_plane import free_port
from support.dashboards import RULES, targets
from support.expectations import EXPECTED, RECORDS, Labels, Moment, Value, labels, policy_of, stamp, water
from support.planner_process import PlannerProcess
from support.prometheus_server import asked, prometheus_server
from support.replay_server import electricity_maps, in_thread
from support.tools import needed

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "s3cret-key-of-nobody"
WINDOW = 12.5
INTERVAL = 4.0
NAMESPACE = {
    "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS, "labels": {"greenllm.dev/inference": "true"}}
}  # fmt: skip
TARGETS = {(target.board, target.panel, target.ref): target for target in targets()}
UNSEEN = {("operator", "Errors of forecasts", "A")}
"""Takes two days of forecasts and what was measured; test_forecast_errors.py beside this has it."""
BURNS = {"policy:greenllm_water_budget_burn:ratio" + window for window in ("30m", "2h", "6h", "1d")}


@dataclass(frozen=True)
class Scene:
    """A moment of one of the processes, with what it takes to ask about it."""

    host: str
    job: str
    moment: Moment

    def ask(self, expr: str) -> dict[Labels, float]:
        """The result by labels, without those that Prometheus adds."""
        found = {}
        for series in asked(self.host, expr, self.moment.at):
            own = {k: v for k, v in series["metric"].items() if k not in ("__name__", "job", "instance")}
            found[labels(**own)] = float(series["value"][1])
        return found


def write_all(path: Path, documents: list[dict[str, Any]]) -> None:
    path.write_text("---\n".join(yaml.safe_dump(body) for body in documents))


@pytest.fixture(scope="module")
def replay_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The large example in small: two hours a plan, so that an interval takes no time."""
    root = Path(shutil.copytree(EXAMPLES / "us-nine-sites", tmp_path_factory.mktemp("replay") / "fleet"))
    policy = root / "policy.yaml"
    text = policy.read_text()
    assert "slots: 24" in text
    policy.write_text(text.replace("slots: 24", "slots: 2"))
    return root


@pytest.fixture(scope="module")
def live_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("live") / "fleet"
    root.mkdir()
    return root


def live_fleet(root: Path, service: str, prometheus: str) -> None:
    """Carbon of one site from a live service, of the other as a fall-back from it; demand from Prometheus."""
    documents = copy.deepcopy([body for body in FLEET if body["metadata"]["name"] != "carbon"])
    spec = {"provider": "ElectricityMaps", "baseUrl": f"http://{service}", "pollPeriodSeconds": 300}
    good, bad = ({"source": name, "params": {"zone": "DE"}} for name in ("carbon", "refused"))
    for body in documents:
        if body["kind"] == "InferenceSite":
            body["spec"]["signals"]["carbonIntensity"] = [bad, good] if body["metadata"]["name"] == "near" else [good]
    gateway = {
        "provider": "Prometheus", "baseUrl": f"http://{prometheus}", "prometheus": {"template": "EnvoyGateway"},
        "allowedNamespaces": {}, "pollPeriodSeconds": 300,
    }  # fmt: skip
    asking = demand()
    asking["spec"]["areas"][0]["demand"] = [
        {"class": "chat", "source": {"name": "gateway", "params": {"route": "iowa", "rule": "0"}}}
    ]
    # What it measures is not there yet: the guard says so of both sites.
    guarded = {"profiles": [{"profile": "large", "source": "servers", "params": {"model": "nobody"}}]}
    servers = gateway | {"prometheus": {"template": "Vllm"}, "pollPeriodSeconds": 15}
    for body in documents:
        if body["kind"] == "GreenPolicy":
            body["spec"]["guardrails"] = body["spec"].get("guardrails", {}) | {"slo": guarded}
    documents += [
        ours("SignalSource", "servers", servers),
        ours("SignalSource", "carbon", spec | {"secretRef": {"name": "good"}}),
        ours("SignalSource", "refused", spec | {"secretRef": {"name": "bad"}}),
        ours("SignalSource", "gateway", gateway),
        NAMESPACE, asking, route(),
    ]  # fmt: skip
    write_all(root / "fleet.yaml", documents)


def make_trouble(root: Path, busiest: str) -> None:
    """Less water than any plan needs, a site that suddenly has no power, one whose carbon nobody knows, a stranger."""
    crowded = root / "sites" / f"{busiest}.yaml"
    crowded.write_text(re.sub(r"gridLimitKilowatts: \d+", "gridLimitKilowatts: 1", crowded.read_text()))
    policy = root / "policy.yaml"
    text = policy.read_text()
    budget = next(line for line in text.splitlines() if "budgetLiters" in line)
    policy.write_text(text.replace(budget, "  water: {budgetLiters: 100, periodDays: 30}"))
    site = root / "sites" / ("iowa.yaml" if busiest == "ohio" else "ohio.yaml")
    body = yaml.safe_load(site.read_text())
    body["spec"]["signals"]["carbonIntensity"] = [{"source": "carbon", "params": {"site": "nowhere"}}]
    site.write_text(yaml.safe_dump(body))
    (root / "stranger.yaml").write_text(yaml.safe_dump(demand("stranger", "elsewhere")))


def moment_of(host: str, job: str, process: PlannerProcess, at_least: int) -> Moment:
    """The second scrape of a document, and everything around it."""
    process.wait_for(at_least)
    deadline = time.monotonic() + 200
    while True:
        assert time.monotonic() < deadline, f"{job} is not scraped"
        time.sleep(0.2)
        now = time.time()
        found = asked(host, f'greenllm_plan_timestamp_seconds{{job="{job}"}}[{int(WINDOW * 1000)}ms]', now)
        if not found:
            continue
        values = [(float(when), float(value)) for when, value in found[0]["values"]]
        numbers = {stamp(policy_of(document)["at"]): n for n, (_, document) in enumerate(process.documents)}
        if len(values) < 5 or any(value not in numbers for _, value in values):
            continue
        if values[-1][1] == values[-2][1] and numbers[values[-1][1]] >= at_least - 1:
            break
    at = values[-1][0]
    values = [(float(w), float(v)) for w, v in asked(
        host, f'greenllm_plan_timestamp_seconds{{job="{job}"}}[{int(WINDOW * 1000)}ms]', at)[0]["values"]]  # fmt: skip
    held = numbers[values[-1][1]]
    process.wait_for(held + 2)
    read, documents = zip(*process.documents[: held + 2], strict=True)
    return Moment(at, WINDOW, tuple((when, numbers[value]) for when, value in values), documents, read)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, replay_root: Path, live_root: Path) -> Iterator[dict[str, Scene]]:
    """Before trouble and in it, and of the process that plans for now."""
    needed("prometheus")
    ports = {"replay": free_port(), "live": free_port()}
    jobs = {job: f"127.0.0.1:{port}" for job, port in ports.items()}
    with ExitStack() as stack:
        service = stack.enter_context(in_thread(electricity_maps(KEY, lambda: 300.0)))
        host = stack.enter_context(prometheus_server(tmp_path_factory.mktemp("prometheus"), jobs, RULES))
        live_fleet(live_root, service.host, host)
        options = ["--replay", str(3600 / INTERVAL), "--interval", "3600", "--start", "2026-10-29T18:00Z"]
        replay = stack.enter_context(PlannerProcess(replay_root, ports["replay"], options))
        environment = {
            "GREEN_LLM_SIGNAL_HOSTS": f"{service.host},{host}", "GREEN_LLM_SECRET_GOOD_TOKEN": KEY,
            "GREEN_LLM_SECRET_BAD_TOKEN": "wrong",
        }  # fmt: skip
        live = stack.enter_context(PlannerProcess(live_root, ports["live"], ["--interval", str(INTERVAL)], environment))
        found = {"well": Scene(host, "replay", moment_of(host, "replay", replay, 5))}
        energy = {site: a["energy_kwh"] for site, a in found["well"].moment.plan["in_force_per_hour"].items()}
        make_trouble(replay_root, max(energy, key=energy.__getitem__))
        troubled = len(replay.documents) + 3
        found["live"] = Scene(host, "live", moment_of(host, "live", live, 5))
        found["trouble"] = Scene(host, "replay", moment_of(host, "replay", replay, troubled))
        yield found


def agrees(found: float, expected: Value) -> bool:
    if isinstance(expected, tuple):
        return expected[0] - 1e-6 <= found <= expected[1] + 1e-6
    return found == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)


def difference(found: dict[Labels, float], expected: dict[Labels, Value]) -> str:
    """Empty where every series is there with its value."""
    if found.keys() != expected.keys():
        return f"series {sorted(map(sorted, found))}, expected {sorted(map(sorted, expected))}"
    wrong = [
        f"{sorted(key)}: {found[key]} is not {expected[key]}" for key in found if not agrees(found[key], expected[key])
    ]
    return "; ".join(wrong)


def answer(scene: Scene, key: tuple[str, str, str]) -> dict[Labels, float]:
    window = f"{int(WINDOW * 1000)}ms"
    return scene.ask(TARGETS[key].filled(window, window, job=scene.job))


def test_every_query_has_an_expectation() -> None:
    assert EXPECTED.keys() == TARGETS.keys()


@pytest.mark.parametrize("key", TARGETS, ids="/".join)
def test_a_panel_says_what_the_plan_says(scenes: dict[str, Scene], key: tuple[str, str, str]) -> None:
    shown = {}
    for name, scene in scenes.items():
        shown[name] = answer(scene, key)
        expected = dict(EXPECTED[key](scene.moment))
        assert not difference(shown[name], expected), f"{name}: {TARGETS[key].expr}"
    assert any(shown.values()) or key in UNSEEN, "it is shown in none of the scenes"


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_says_what_the_plan_says(scenes: dict[str, Scene], record: str) -> None:
    for name, scene in scenes.items():
        # Rules are evaluated once a second: what they say of this scrape is there one second later.
        (series,) = asked(scene.host, f'{record}{{job="{scene.job}"}}[2s]', scene.moment.at + 1.5)
        values = [float(value) for when, value in series["values"] if float(when) >= scene.moment.at]
        ((_, expected),) = RECORDS[record](scene.moment).items()
        assert values, name
        assert any(agrees(value, expected) for value in values), f"{name}: {values}, expected {expected}"


@pytest.mark.parametrize("record", sorted(BURNS))
def test_a_burn_rate_is_the_mean_use_against_what_is_left(scenes: dict[str, Scene], record: str) -> None:
    scene = scenes["well"]
    job = f'{{job="{scene.job}"}}'
    (series,) = asked(scene.host, f"{record}{job}[3s]", scene.moment.at + 1.5)
    when, burn = (float(part) for part in series["values"][-1])
    base = "policy:greenllm_in_force_water_liters_per_hour:sum"
    (used,) = asked(scene.host, f"{base}{job}[1h]", when)
    uses = [float(value) for _, value in used["values"]]
    plans = [policy_of(document) for document in scene.moment.documents]
    known = [sum(water(a) for a in plan["in_force_per_hour"].values()) for plan in plans]
    for use in uses:
        assert any(use == pytest.approx(value) for value in known), "the samples are those of the plans"
    left = [
        (stamp(plan["water"]["period_end"]) - stamp(plan["at"])) / 3600 / plan["water"]["remaining_liters"]
        for plan in plans
    ]
    expected = [math.fsum(uses) / len(uses) * entry for entry in left[scene.moment.held : scene.moment.held + 2]]
    assert any(burn == pytest.approx(value, rel=1e-6) for value in expected), f"{burn}, expected {expected}"


def test_no_rule_fails_and_trouble_is_pending(scenes: dict[str, Scene]) -> None:
    """Alerts wait for minutes; that they fire and resolve is in tests/charts/alerts.yaml."""
    scene = scenes["trouble"]
    with urllib.request.urlopen(f"http://{scene.host}/api/v1/rules", timeout=10) as answered:
        rules = [rule for group in json.load(answered)["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert waiting(scene) >= {"GreenLLMDegraded", "GreenLLMSignalsMissing", "GreenLLMWaterBudgetBurn"}
    assert "GreenLLMSignalsStale" in waiting(scenes["live"]), "the refused source has a fall-back"
    never = {"GreenLLMPlannerDown", "GreenLLMWriteFailures", "GreenLLMSolverTimeLimit", "GreenLLMSourceSilent"}
    for name, found in scenes.items():
        assert not waiting(found) & never, name


def waiting(scene: Scene) -> set[str]:
    """Alerts that wait to fire, or fire."""
    query = f'count by (alertname) (max_over_time(ALERTS{{job="{scene.job}"}}[4s]))'
    return {series["metric"]["alertname"] for series in asked(scene.host, query, scene.moment.at + 2)}
