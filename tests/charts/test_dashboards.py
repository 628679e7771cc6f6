"""The rules of Grafana's dashboard linter, and ours, on the committed dashboards."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.dashboards import BOARDS, Target, document, panels, selectors, targets
from support.tools import needed

ROOT = Path(__file__).parents[2]
UNITS = {"short", "none", "percentunit", "s", "massg", "litre", "litreh", "watt"}
"""Those of Grafana's units that the dashboards use; all are known to the linter."""
ALL_TARGETS = list(targets())
ALL_PANELS = [(board, panel) for board in BOARDS for panel in panels(board)]
WIDTH = 24


def named(values: list[Any]) -> list[str]:
    return [f"{v.board}/{v.panel}/{v.ref}" if isinstance(v, Target) else f"{v[0]}/{v[1]['title']}" for v in values]


def variables(board: str) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in document(board)["templating"]["list"]}


each_board = pytest.mark.parametrize("board", BOARDS)
each_panel = pytest.mark.parametrize(("board", "panel"), ALL_PANELS, ids=named(ALL_PANELS))
each_target = pytest.mark.parametrize("target", ALL_TARGETS, ids=named(ALL_TARGETS))


def test_they_are_what_the_script_builds() -> None:
    command = [sys.executable, "deploy/dashboards/build.py", "--check"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}; run `just dashboards`"


@each_board
def test_one_data_source_is_chosen(board: str) -> None:
    (found,) = [entry for entry in variables(board).values() if entry["type"] == "datasource"]
    assert (found["name"], found["label"], found["query"]) == ("datasource", "Data source", "prometheus")


@each_board
@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_are_chosen(board: str, name: str) -> None:
    found = variables(board)[name]
    assert found["type"] == "query"
    assert found["datasource"]["uid"] == "$datasource"
    assert found["label"] == name.title()
    assert found["multi"]
    assert found["allValue"] == ".+"


@each_board
def test_variables_follow_the_time_and_ask_prometheus(board: str) -> None:
    queries = [entry for entry in variables(board).values() if entry["type"] == "query"]
    for entry in queries:
        assert entry["refresh"] == 2, entry["name"]
        assert re.fullmatch(r"label_values\(greenllm_[a-z_]+(\{[^}]*\})?, \w+\)", entry["query"]), entry["query"]


@each_board
def test_no_variable_is_unused(board: str) -> None:
    text = " ".join(target.expr for target in ALL_TARGETS if target.board == board)
    for name, entry in variables(board).items():
        assert entry["type"] == "datasource" or f"${name}" in text, name


@each_board
def test_nobody_edits_it_in_place(board: str) -> None:
    found = document(board)
    assert found["editable"] is False
    assert found["uid"] == f"green-llm-{board}"
    assert found["refresh"]
    assert {"from", "to"} <= found["time"].keys()


@each_panel
def test_title_description_unit_data_source(board: str, panel: dict[str, Any]) -> None:
    assert panel["title"], board
    assert panel["description"].endswith("."), "a sentence that says what is shown"
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"]["uid"] == "$datasource"
    assert panel["targets"]


@each_board
def test_panels_are_whole_and_do_not_overlap(board: str) -> None:
    everything = document(board)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < WIDTH, panel["title"]
        taken |= cells


@each_target
def test_every_selector_names_job_and_instance(target: Target) -> None:
    found = selectors(target.expr)
    assert found
    for name, matchers in found:
        assert 'job=~"$job"' in matchers, name
        assert 'instance=~"$instance"' in matchers, name


@each_target
def test_ranges_and_counters(target: Target) -> None:
    for function, window in re.findall(r"(\w+)\([^()\[\]]*\[([^\]]+)\]", target.expr):
        expected = "$__rate_interval" if function in ("rate", "irate") else "($__rate_interval|$__range)"
        assert re.fullmatch(expected.replace("$", r"\$"), window), function
    for counter in re.findall(r"(\w+\()?greenllm_[a-z_]+_total\b", target.expr):
        assert counter in ("rate(", "irate(", "increase("), "a counter is shown as what it rises by"


@each_panel
def test_more_than_one_line_has_a_legend(board: str, panel: dict[str, Any]) -> None:
    if panel["type"] == "timeseries":
        assert all(entry.get("legendFormat") for entry in panel["targets"]), board


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    promtool = needed("promtool")
    rules = [{"record": f"panel:query:{n}", "expr": target.filled()} for n, target in enumerate(ALL_TARGETS)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    ran = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def documented() -> dict[str, set[str]]:
    """Labels by metric, as docs/metrics.md lists them."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for name, kind, labels in re.findall(r"^\| `(greenllm_\w+)` \| (\w+) \| ([a-z ]*) ?\|", text, re.MULTILINE):
        parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        for part in parts:
            found[name + part] = {*labels.split(), "job", "instance", *({"le"} if part == "_bucket" else ())}
    return found


def used() -> Iterator[tuple[str, str, str]]:
    """(where, metric, its matchers)."""
    for target in ALL_TARGETS:
        yield from ((f"{target.board}/{target.panel}", name, matchers) for name, matchers in selectors(target.expr))
    for board in BOARDS:
        for entry in variables(board).values():
            if entry["type"] == "query":
                yield from ((f"{board}/${entry['name']}", name, m) for name, m in selectors(entry["query"]))


def test_every_metric_and_label_exists() -> None:
    known = documented()
    for where, name, matchers in used():
        assert name in known, f"{where}: {name}"
        assert set(re.findall(r"(\w+)=~?", matchers)) <= known[name], f"{where}: {name}{matchers}"
