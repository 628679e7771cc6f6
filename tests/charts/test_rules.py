"""Recording rules, alerts and their runbooks."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.dashboards import BOARDS, RULES, document, selectors
from support.tools import needed

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parent / "alerts.yaml"
DEMANDED = {
    "GreenLLMPlanStale", "GreenLLMSignalsStale", "GreenLLMWaterBudgetBurn", "GreenLLMDegraded", "GreenLLMContended",
    "GreenLLMWriteFailures", "GreenLLMSolverTimeLimit", "GreenLLMSiteCapped",
}  # fmt: skip


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def promtool(*arguments: str | Path) -> None:
    ran = subprocess.run([needed("promtool"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_accepts_them() -> None:
    promtool("check", "rules", "--lint-fatal", RULES)


def test_each_alert_fires_and_resolves() -> None:
    promtool("test", "rules", TESTS)


def test_the_tests_hold_every_alert_firing_and_quiet_again() -> None:
    fired: dict[tuple[str, str], bool] = {}
    for group in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]:
        for case in group["alert_rule_test"]:
            severities = [alert["exp_labels"]["severity"] for alert in case["exp_alerts"]]
            for severity in severities:
                fired.setdefault((case["alertname"], severity), False)
            for key in fired:
                if key[0] == case["alertname"] and key[1] not in severities:
                    fired[key] = True  # it fired before and is quiet now
    assert fired == {(rule["alert"], rule["labels"]["severity"]): True for rule in ALERTS}


def test_what_must_be_alerted_is() -> None:
    assert {rule["alert"] for rule in ALERTS} >= DEMANDED


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
    page = (ROOT / rule["annotations"]["runbook_url"]).read_text(encoding="utf-8")
    assert f"`{rule['alert']}`" in page
    for heading in ("## What it means", "## What to look at", "## What to do"):
        assert heading in page
    assert "$labels.policy" in str(rule["annotations"]) or "policy" not in rule["expr"], "an alert names its policy"


def test_every_runbook_is_in_the_index_and_has_an_alert() -> None:
    folder = ROOT / "docs" / "runbooks"
    pages = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert pages == {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS}
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert {name for name in pages if f"({name})" in index} == pages
    assert {rule["alert"] for rule in ALERTS} == set(re.findall(r"`(GreenLLM\w+)`", index))


def test_every_metric_exists() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`(greenllm_\w+)`", text)) | {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        for name, _ in selectors(rule["expr"]):
            assert name in known, rule.get("alert", rule.get("record"))
    for rule in rules():
        assert "record" not in rule or f"`{rule['record']}`" in text, "recording rules are documented"


def rendered(*options: str) -> list[dict[str, Any]]:
    ran = subprocess.run(
        [needed("helm"), "template", "green-llm", ROOT / "charts" / "green-llm", "--kube-version=1.36.0", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [body for body in yaml.safe_load_all(ran.stdout) if body]


def test_the_chart_gives_out_the_rules_and_dashboards_as_they_are() -> None:
    switches = ("metrics.prometheusRule.enabled=true", "metrics.dashboards.enabled=true")
    found = rendered(*(f"--set={switch}" for switch in switches))
    (rule,) = [body for body in found if body["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load(RULES.read_text(encoding="utf-8"))
    maps = {body["metadata"]["name"]: body for body in found if body["kind"] == "ConfigMap"}
    for board in BOARDS:
        body = maps[f"green-llm-dashboard-{board}"]
        assert body["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(body["data"][f"green-llm-{board}.json"]) == document(board)


def test_alerts_link_to_where_the_runbooks_are_published() -> None:
    url = "https://wiki.example.com/green-llm/"
    found = rendered("--set=metrics.prometheusRule.enabled=true", f"--set=metrics.prometheusRule.runbookBaseUrl={url}")
    (rule,) = [body for body in found if body["kind"] == "PrometheusRule"]
    links = {
        r["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for r in group["rules"] if "alert" in r
    }
    assert links == {url + Path(r["annotations"]["runbook_url"]).name for r in ALERTS}
