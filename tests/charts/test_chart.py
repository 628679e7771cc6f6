"""The chart: what it is made from is as committed, it is well-formed, and a real API server takes all it can make."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from green_llm.settings import Settings
from support.cluster_fixtures import ROOT
from support.control_plane import ControlPlane, module_folder
from support.helm import CHART, helm, program, rendered, template

sys.path += [str(Path(__file__).parent), str(ROOT / "charts")]
import readme
from variants import VARIANTS, WRONG

PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
EVERY_SETTING: dict[str, Any] = {
    "signals": {"recording": {"enabled": True}},
    "audit": {"enabled": True},
    "metrics": {"existingTokenSecret": "token"},
}
FIXED = {"metrics_port", "health_port"}
"""Settings that the chart gives no value for: inside a pod nothing else has these ports."""
OF_DIRECTORIES = {"poll_seconds"}
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_its_definitions_are_those_of_the_project() -> None:
    made = {
        path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml") if path.name != "kustomization.yaml"
    }
    assert {path.name: path.read_bytes() for path in (CHART / "crd-bases").iterdir()} == made, "run `just crds`"


def test_its_readme_is_that_of_its_values() -> None:
    assert (CHART / "README.md").read_text(encoding="utf-8") == readme.readme(), "run `just chart`"


def test_a_value_that_says_nothing_is_refused() -> None:
    text = "# -- what it is\na: 1\nb: 2\n"
    with pytest.raises(ValueError, match="b: a line '# -- meaning'"):
        list(readme.rows(yaml.compose(text), text.splitlines()))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from schemas(resolved(part), f"{path}.{name}")


def test_values_and_schema_have_the_same_keys() -> None:
    for path, schema in schemas(SCHEMA):
        values = VALUES
        for name in path.split(".")[1:]:
            values = values.get(name, {})
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path
            assert set(schema["properties"]) - {"global", "enabled"} == set(values) - {"enabled"}, path
            assert ("enabled" in schema["properties"]) == ("enabled" in values or not path), path


def test_every_setting_of_the_operator_is_a_value_with_the_same_default() -> None:
    given: dict[str, str] = {}
    for values in (VARIANTS["default"], EVERY_SETTING):
        deployment = next(
            document for document in yaml.safe_load_all(rendered(values)) if document["kind"] == "Deployment"
        )
        for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
            given.setdefault(entry["name"].removeprefix("GREEN_LLM_").lower(), entry.get("value", ""))
    assert set(given) == set(Settings.model_fields) - FIXED - OF_DIRECTORIES
    own = {
        "namespace",
        "metrics_address",
        "decision_log",
        "record_directory",
        "audit_directory",
        "history_file",
        "token_file",
    }
    for name in set(given) - own:
        default = Settings.model_fields[name].default
        assert type(default)(json.loads(given[name]) if given[name] else "") == default, name


def rights(text: str) -> set[tuple[str, str, str, str]]:
    """(kind of role, group, resource, verb) that the operator's account has."""
    found = set()
    for document in yaml.safe_load_all(text):
        if document["kind"] in ("Role", "ClusterRole") and "aggregat" not in str(document["metadata"]):
            for rule in document["rules"]:
                found |= {
                    (document["kind"], g, r, v)
                    for g in rule["apiGroups"]
                    for r in rule["resources"]
                    for v in rule["verbs"]
                }
    return found


def test_its_roles_are_those_that_are_compared_with_what_is_used() -> None:
    plain = rights((ROOT / "deploy" / "base" / "rbac.yaml").read_text())
    values = {"rbac": {"enforce": True}, "signals": {"existingSecrets": ["key"]}}
    assert rights(rendered(values, "-s", "templates/rbac.yaml")) == plain
    observing = rights(rendered({"signals": {"existingSecrets": ["key"]}}, "-s", "templates/rbac.yaml"))
    writes = {"patch", "create", "delete", "update"}
    assert {(g, r) for kind, g, r, v in observing if kind == "ClusterRole" and v in writes} == {
        ("", "events"), *(("greenllm.dev", f"{r}/status") for r in ("greenpolicies", "inferencedemands", "inferencesites", "signalsources")),
    }  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_well_formed(name: str) -> None:
    ran = helm("lint", "--strict", CHART, values=VARIANTS[name])
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_unit_tests() -> None:
    command = [program("helm-unittest"), "--strict", "-f", "../../tests/charts/unit/*_test.yaml", CHART]
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    suites = len(list((Path(__file__).parent / "unit").glob("*_test.yaml")))
    assert re.search(rf"Test Suites:\s+{suites} passed, {suites} total", ran.stdout), ran.stdout


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_by_name(name: str) -> None:
    values, said = WRONG[name]
    ran = template(CHART, values=values)
    assert ran.returncode
    told = ran.stderr.replace("/", ".")
    assert all(word in told for word in said), ran.stderr


@pytest.mark.parametrize("enabled", [True, False])
def test_it_can_be_part_of_another_chart(tmp_path: Path, *, enabled: bool) -> None:
    shutil.copytree(CHART, tmp_path / "charts" / "green-llm")
    chart = {
        "apiVersion": "v2", "name": "platform", "version": "1.0.0",
        "dependencies": [{"name": "green-llm", "version": "0.1.0", "condition": "green-llm.enabled"}],
    }  # fmt: skip
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    values = {"global": {"region": "x"}, "green-llm": {"enabled": enabled, "rbac": {"enforce": True}}}
    ran = template(tmp_path, values=values)
    assert ran.returncode == 0, ran.stderr
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(ran.stdout) if document]
    assert ("green-llm-enforce" in names) == enabled
    assert bool(names) == enabled
    wrong = values | {"green-llm": {"enabled": True, "replica": 1}}
    assert "replica" in template(tmp_path, values=wrong).stderr


@pytest.fixture(scope="module")
def server(plane: ControlPlane) -> ControlPlane:
    """The API server, with the kinds of the Prometheus operator and the namespaces that manifests name."""
    crds = module_folder(PROMETHEUS_OPERATOR) / "example" / "prometheus-operator-crd"
    kinds = [
        f"--filename={crds / f'monitoring.coreos.com_{kind}.yaml'}"
        for kind in ("podmonitors", "prometheusrules", "servicemonitors")
    ]
    plane.kubectl("apply", "--server-side", *kinds)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    for name in ("green-llm-system", "inference"):
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return plane


@pytest.mark.parametrize("name", VARIANTS)
def test_an_api_server_takes_all_of_it(server: ControlPlane, name: str) -> None:
    text = rendered(VARIANTS[name])
    said = server.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts", "-f", "-", text=text
    )
    assert len(said.splitlines()) == len(list(yaml.safe_load_all(text)))


def test_an_api_server_takes_its_examples_and_the_policy_of_its_notes(server: ControlPlane) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    text = chart["annotations"]["artifacthub.io/crdsExamples"]
    server.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", text=yaml.safe_dump_all(yaml.safe_load(text))
    )
    ran = helm(
        "install",
        "green-llm",
        CHART,
        "-n",
        "green-llm-system",
        "--dry-run=client",
        "--kubeconfig",
        server.kubeconfig,
        "--set=crds.enabled=false",
    )
    assert ran.returncode == 0, ran.stderr
    policy = re.search(r"<<EOF\n(.*?)\nEOF", ran.stdout[ran.stdout.index("NOTES:") :], re.DOTALL)
    assert policy
    assert "greenpolicy.greenllm.dev/default" in server.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", text=policy[1]
    )  # fmt: skip
