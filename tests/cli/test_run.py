"""``run`` and ``validate`` on directories, as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
START = "2026-10-29T18:10Z"
Cli = Callable[..., Any]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A copy of the small example."""
    return Path(shutil.copytree(EXAMPLES / "three-sites", tmp_path / "three"))


@pytest.fixture
def nine(tmp_path: Path) -> Path:
    """A copy of the large example."""
    return Path(shutil.copytree(EXAMPLES / "us-nine-sites", tmp_path / "nine"))


def weights_of(path: Path) -> list[int]:
    return [int(found) for found in re.findall(r"weight: (\d+)", path.read_text())]


def test_once_plans_writes_and_reports(cli: Cli, three: Path) -> None:
    before = (three / "routes.yaml").read_text()
    ran = cli("run", three, "--once", "--start", START, "--json")
    assert ran.status == 0
    (policy,) = ran.json["policies"].values()
    assert policy["termination"] == "optimal"
    assert {"demand", "area", "class", "route", "rule", "site", "weight"} <= set(policy["weights"][0])
    assert policy["skipped"] == []
    assert len(policy["weights"]) == 2 * 2 * 3
    after = (three / "routes.yaml").read_text()
    assert re.sub(r"weight: \d+", "weight: N", after) == re.sub(r"weight: \d+", "weight: N", before)
    reported = {(w["route"], w["rule"], w["site"]): w["weight"] for w in policy["weights"]}
    in_file = weights_of(three / "routes.yaml")
    assert [
        reported[route, rule, site]
        for route in ("seattle", "new-york")
        for rule in ("chat", "summary")
        for site in ("oregon", "iowa", "virginia")
    ] == in_file
    assert all(sum(in_file[n : n + 3]) == 1000 for n in range(0, 12, 3))
    assert sorted(path.name for path in three.glob("*.status.yaml")) == [
        "demand.status.yaml", "policy.status.yaml", "sites.status.yaml"
    ]  # fmt: skip
    assert (three / "state" / "ledger-default.json").exists()


def test_once_for_people(cli: Cli, three: Path) -> None:
    ran = cli("run", three, "--once", "--start", START)
    assert ran.status == 0
    assert "inference/assistant" in ran.out
    assert "in force vs nearest" in ran.out


def test_the_second_time_nothing_is_written_that_is_there(cli: Cli, three: Path) -> None:
    for _ in range(8):  # the ramp ends
        cli("run", three, "--once", "--start", START)
    stamp = (three / "routes.yaml").stat().st_mtime_ns
    ran = cli("run", three, "--once", "--start", START, "--json")
    assert (three / "routes.yaml").stat().st_mtime_ns == stamp
    (policy,) = ran.json["policies"].values()
    assert not any(row["written"] for row in policy["weights"])


def test_now_outside_the_recording_falls_back_and_says_so(cli: Cli, three: Path) -> None:
    ran = cli("run", three, "--once", "--json", "--start", "2027-03-01T12:00Z")
    assert ran.status == 0
    (policy,) = ran.json["policies"].values()
    assert any("has a value to repeat" in message for message in policy["signal_problems"])


def test_nine_sites(cli: Cli, nine: Path) -> None:
    ran = cli("run", nine, "--once", "--start", START, "--json")
    assert ran.status == 0
    (policy,) = ran.json["policies"].values()
    assert len(policy["weights"]) == 9 * 5 * 9
    assert policy["termination"] == "optimal"


def test_infeasible_is_status_3_and_still_written(cli: Cli, three: Path) -> None:
    policy = three / "policy.yaml"
    policy.write_text(policy.read_text().replace("budgetLiters: 50000", "budgetLiters: 5000"))
    ran = cli("run", three, "--once", "--start", START, "--json")
    assert ran.status == 3
    (found,) = ran.json["policies"].values()
    assert re.match(r"water cap [\d.]+ L is [\d.]+ L short", found["diagnosis"][0])
    assert any(row["written"] for row in found["weights"])
    assert "Infeasible" in (three / "policy.status.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--once", "--replay", "10"], "exclude each other"),
        (["--once", "--start", "noon"], '"noon" is not an ISO 8601 time'),
    ],
)
def test_wrong_options(cli: Cli, three: Path, options: list[str], words: str) -> None:
    ran = cli("run", three, *options)
    assert ran.status == 2
    assert words in ran.err


def test_no_directory_and_no_policy(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", tmp_path / "nope", "--once").status == 2
    ran = cli("run", tmp_path, "--once")
    assert ran.status == 2
    assert "there is no GreenPolicy that parses" in ran.err


def test_a_wrong_resource_stops_nothing_else(cli: Cli, three: Path) -> None:
    (three / "second.yaml").write_text(
        "apiVersion: greenllm.dev/v1alpha1\nkind: InferenceDemand\nmetadata: {name: broken, namespace: inference}\n"
        "spec:\n  policyRef: {name: default}\n  classes: []\n  areas: []\n  typo: 1\n"
    )
    ran = cli("run", three, "--once", "--start", START, "--json")
    assert ran.status == 0
    assert "second.yaml:8: InferenceDemand inference/broken: spec.typo" in ran.err
    (policy,) = ran.json["policies"].values()
    assert {entry["object"] for entry in policy["skipped"]} == {"InferenceDemand inference/broken"}
    assert "Ready" in (three / "second.status.yaml").read_text()


def test_validate(cli: Cli, three: Path) -> None:
    ran = cli("validate", three)
    assert (ran.status, ran.out.strip()) == (0, "12 resources and 2 routes are valid")
    sites = three / "sites.yaml"
    sites.write_text(
        sites.read_text()
        .replace('pue: "1.12"', 'pue: "0.9"')
        .replace("{source: flat-tariff,", "{source: flat,", 1)
        .replace("params: {site: iowa}, basis: DayAhead", "params: {site: iowa}", 1)
    )
    routes = three / "routes.yaml"
    routes.write_text(routes.read_text().replace("- name: summary", "- name: summaries", 1))
    recorded = three / "signals" / "carbonIntensity" / "iowa.csv"
    recorded.write_text(recorded.read_text().replace(",g/kWh,", ",", 1))
    ran = cli("validate", three)
    assert ran.status == 2
    line = next(n for n, text in enumerate(sites.read_text().splitlines(), 1) if 'pue: "0.9"' in text)
    assert f"sites.yaml:{line}: InferenceSite oregon: spec.pue: must be at least 1, not 0.9" in ran.out
    line = next(n for n, text in enumerate(sites.read_text().splitlines(), 1) if "params: {site: iowa}}" in text)
    said = f"sites.yaml:{line}: InferenceSite iowa: spec.signals.electricityPrice[0].basis: it names no basis, and SignalSource"
    assert said in ran.out
    assert 'has no rule called "summary" (named rules: chat, summaries)' in ran.out
    assert "iowa.csv: line 2: must have 6 columns" in ran.out
    assert cli("validate", three, "--json").json["valid"] is False


def recorded_files(root: Path) -> list[Path]:
    return sorted((root / "signals").rglob("*.csv"))


def hide_the_future(root: Path, now: datetime, lags: dict[str, float]) -> int:
    """Alter every value that is not visible at ``now``; gives how many."""
    altered = 0
    for path in recorded_files(root):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            end = datetime.fromisoformat(row["end"])
            visible = datetime.fromisoformat(row["issued_at"]) if row["issued_at"] else end + timedelta(
                seconds=lags[path.parent.name]
            )  # fmt: skip
            if visible > now:
                row["value"] = str(float(row["value"]) * 3 + 7)
                altered += 1
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    return altered


LAGS = {"electricityPrice": 0.0, "carbonIntensity": 1800.0}


@pytest.mark.parametrize("now", [START, "2026-10-31T05:59Z", "2026-11-01T06:00Z"])
def test_values_not_yet_visible_change_no_decision(cli: Cli, three: Path, tmp_path: Path, now: str) -> None:
    other = Path(shutil.copytree(three, tmp_path / "other"))
    assert hide_the_future(other, datetime.fromisoformat(now), LAGS) > 500
    reports = []
    for root in (three, other):
        (report,) = cli("run", root, "--once", "--start", now, "--json").json["policies"].values()
        reports.append({key: report[key] for key in ("values", "weights", "in_force_per_hour", "signal_problems")})
    assert reports[0] == reports[1]


def test_a_replay_makes_the_same_decisions_when_the_future_changes(three: Path, tmp_path: Path) -> None:
    # Replay half a day; what becomes visible only after its end is altered. Every line it prints is the same.
    other = Path(shutil.copytree(three, tmp_path / "other"))
    until = "2026-10-30T06:00Z"
    assert hide_the_future(other, datetime.fromisoformat(until), LAGS) > 500
    outputs = [replay(root, "2026-10-29T18:00Z", until) for root in (three, other)]
    assert len(outputs[0].splitlines()) > 12
    assert outputs[0] == outputs[1]
    assert weights_of(three / "routes.yaml") == weights_of(other / "routes.yaml")


def replay(root: Path, start: str, until: str) -> str:
    command = [sys.executable, "-m", "green_llm", "run", str(root), "--replay", "1000000", "--interval", "3600",
               "--start", start, "--until", until, "--metrics-port", "0"]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_replay_keeps_its_ledger_to_itself(three: Path) -> None:
    out = replay(three, "2026-10-29T18:00Z", "2026-10-29T20:00Z")
    assert "totals" in out
    assert not list((three / "state").glob("ledger-*"))


@pytest.mark.parametrize(
    ("name", "how"),
    [("state", ("--once",)), ("state", ("--replay", "1000000")), ("state", ()), ("audit", ("--once",)), ("audit", ())],
)
def test_what_cannot_be_kept_is_one_error_before_anything_is_planned(
    cli: Cli, three: Path, name: str, how: tuple[str, ...]
) -> None:
    (three / name).write_text("a file is in the way")
    before = (three / "routes.yaml").read_text()
    ran = cli("run", three, *how)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"green-llm: {three / name}: cannot be written: a file is in the way; move it\n"
    assert (three / "routes.yaml").read_text() == before
    assert not list(three.glob("*.status.yaml"))


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_directory_that_one_may_not_write_is_said_at_once(three: Path) -> None:
    for path in (three, *three.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in (three, *three.parents)[:-1]:
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    command = [*nobody, sys.executable, "-m", "green_llm", "run", str(three), "--once"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"green-llm: {three / 'state'}: cannot be written: Permission denied; give this user the right to write there, "
        "or free the disk\n"
    )


def test_a_verdict_does_not_need_a_plan(three: Path) -> None:
    path = three / "policy.yaml"
    path.write_text(path.read_text().replace("mode: Active", "mode: Actve"))
    running = Running(three)
    try:
        running.until((three / "policy.status.yaml").exists)
        assert 'not "Actve"' in (three / "policy.status.yaml").read_text()
    finally:
        assert running.stop()[0] == 0


def test_troubles_are_said_when_they_begin(three: Path) -> None:
    shutil.rmtree(three / "signals")
    sites = (three / "sites.yaml").read_text()
    (three / "sites.yaml").write_text(re.sub(r"\n *- \{source: (?!recorded)[^}]*\}.*", "", sites))
    running = Running(three, "--interval", "0.2")
    running.until(lambda: json.loads(running.ask("/api/v1/history"))["intervals"] > 2 if running.planned() else False)
    status, out, err = running.stop()
    assert status == 0
    assert out.count("no plan") > 2
    assert err.count("default: oregon keeps its share: no value for electricityPrice, carbonIntensity") == 1, err


class Running:
    """A planner in its own process."""

    def __init__(self, root: Path, *options: str) -> None:
        command = [sys.executable, "-m", "green_llm", "run", str(root), "--metrics-port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline() if self.process.stderr else ""
        self.url = line.split()[-1]

    def until(self, done: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, "not in time"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def ask(self, path: str) -> str:
        with urlopen(self.url.removesuffix("/metrics") + path) as answer:  # noqa: S310 - our own server
            return str(answer.read().decode())

    def planned(self) -> bool:
        """Whether it has planned anything."""
        return bool(json.loads(self.ask("/api/v1"))["policies"])

    def metrics(self) -> str:
        return self.ask("/metrics")

    def stop(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


def test_edits_take_effect_while_it_runs_and_ctrl_c_ends_it(three: Path) -> None:
    running = Running(three)
    try:
        running.until((three / "policy.status.yaml").exists)
        assert "greenllm_plans_total" in running.metrics()
        running.until(lambda: '"resources": [{' in running.ask("/api/v1/now"))
        assert "<h1>default</h1>" in running.ask("/")
        assert json.loads(running.ask("/api/v1/history"))["intervals"] >= 1
        assert (three / "state" / "history.sqlite3").exists()
        # The owner takes a site out: within two seconds nothing goes there, ramp or not.
        sites = (three / "sites.yaml").read_text()
        begun = time.monotonic()
        place = 'spec:\n  location: {latitude: "39.11"'
        (three / "sites.yaml").write_text(sites.replace(place, place.replace("spec:", "spec:\n  state: Draining")))

        def drained() -> bool:
            found = weights_of(three / "routes.yaml")
            return len(found) == 12 and not any(found[2::3])

        running.until(drained, 10.0)
        assert time.monotonic() - begun < 2.0
        # A file that no longer parses changes nothing.
        before = (three / "routes.yaml").read_text()
        (three / "policy.yaml").write_text("kind: [\n")
        time.sleep(1.0)
        assert (three / "routes.yaml").read_text() == before
    finally:
        status, _, err = running.stop()
    assert status == 0
    assert "Traceback" not in err
    assert "policy.yaml:2:1: is not YAML" in err


def test_two_runs_count_the_same_water_once(three: Path) -> None:
    for _ in range(2):
        running = Running(three, "--interval", "0.2")
        running.until((three / "state" / "ledger-default.json").exists)
        time.sleep(1.5)
        assert running.stop()[0] == 0
    found = json.loads((three / "state" / "ledger-default.json").read_text())
    charged = datetime.fromisoformat(found["charged_until"])
    assert found["uncharged_seconds"] == 0
    assert found["used_liters"] > 0
    assert datetime.now(charged.tzinfo) - charged < timedelta(seconds=30)


def test_a_taken_port_is_one_message(three: Path) -> None:
    running = Running(three)
    port = running.url.rsplit(":", 1)[1].split("/")[0]
    command = [sys.executable, "-m", "green_llm", "run", str(three), "--metrics-port", port]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    running.stop()
    assert ran.returncode == 2
    assert f"--metrics-port {port}: cannot be served" in ran.stderr


def test_an_operator_without_a_cluster_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    ran = cli("operator")
    assert ran.status == 1
    assert "no cluster to log in to" in ran.err
    assert "run in a pod or set KUBECONFIG" in ran.err


def test_json_is_a_line_per_interval_and_says_what_the_metrics_say(cli: Cli, three: Path) -> None:
    options = ["--replay", "1000000", "--interval", "3600", "--metrics-port", "0", "--json"]
    ran = cli("run", three, *options, "--start", "2026-10-29T18:00Z", "--until", "2026-10-29T20:00Z")
    first, second = (json.loads(line)["policies"]["default"] for line in ran.out.splitlines())
    assert [first["at"], second["at"]] == ["2026-10-29T18:00:00+00:00", "2026-10-29T19:00:00+00:00"]
    # An hour at the first interval's rates is what the second one's totals say.
    for state in ("in_force", "nearest"):
        for site, rate in first[f"{state}_per_hour"].items():
            assert second["totals"][state][site]["cost_paid"] == pytest.approx(rate["cost_paid"])
    assert second["water"]["used_liters"] == pytest.approx(
        sum(rate["water_on_site_l"] + rate["water_off_site_l"] for rate in first["in_force_per_hour"].values())
    )
    assert {entry["kind"] for entry in first["signals"]} == {"electricityPrice", "carbonIntensity"}
