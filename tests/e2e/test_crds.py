"""The CRDs on a real API server: what is right is taken, what is wrong is refused with a message that names the fix."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def example(kind: str) -> dict[str, Any]:
    for path in sorted((EXAMPLES / "three-sites").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == kind:
                return copy.deepcopy(document)
    raise KeyError(kind)


def changed(kind: str, path: str, value: Any) -> dict[str, Any]:
    document = example(kind)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    holder: Any = document["spec"]
    for step in steps:
        holder = holder.setdefault(step, {}) if isinstance(step, str) else holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return document


def test_the_examples_are_taken(plane: ControlPlane) -> None:
    for folder in ("three-sites", "us-nine-sites"):
        plane.kubectl("create", "namespace", "inference", check=False)
        for path in sorted((EXAMPLES / folder).rglob("*.yaml")):
            out = plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", path)
            assert "dry run" in out


def test_prometheus_is_taken_whole_and_refused_in_parts(plane: ControlPlane) -> None:
    document = example("SignalSource")
    own = {"queries": [{"measure": "demand", "query": 'sum(rate(arrivals{route="$route"}[$window]))'}]}
    for prometheus, base, words in (
        ({"template": "EnvoyGateway"}, "http://prometheus:9090", "created (server dry run)"),
        (own, "http://prometheus:9090", "created (server dry run)"),
        (own, None, "baseUrl: Prometheus needs it"),
        (own | {"template": "Istio"}, "http://prometheus:9090", "give template or queries, exactly one of the two"),
        ({"queries": own["queries"] * 2}, "http://prometheus:9090", "Duplicate value"),
        (None, "http://prometheus:9090", "prometheus: give it with provider Prometheus, and with no other"),
    ):
        spec = {"provider": "Prometheus", "baseUrl": base, "prometheus": prometheus}
        document["spec"] = {name: value for name, value in spec.items() if value is not None}
        out = plane.kubectl(
            "create", "--dry-run=server", "--validate=strict", "-f", "-", text=yaml.safe_dump(document), check=False
        )
        assert words in out


WRONG: list[tuple[str, str, Any, str]] = [
    ("InferenceSite", "power.renewables", [{"type": "Solar", "capacityKilowatts": 5, "certificates": "Sold"}], "residualGramsPerKWh: give it where certificates are Sold"),
    ("GreenPolicy", "mode", "Live", 'spec.mode: Unsupported value: "Live"'),
    ("GreenPolicy", "modus", "Active", 'unknown field "spec.modus"'),
    ("GreenPolicy", "periodSeconds", 1, "spec.periodSeconds"),
    ("GreenPolicy", "areas", None, "spec.areas: Required value"),
    ("GreenPolicy", "areas.1.name", "seattle", "spec.areas[1]: Duplicate value"),
    ("GreenPolicy", "horizon", {"slotSeconds": 3600, "slots": 200}, "together more than 7 days"),
    ("GreenPolicy", "horizon", {"slotSeconds": 1000, "slots": 2}, "must divide a day of 86400 s"),
    ("GreenPolicy", "currency", "dollar", "spec.currency"),
    ("GreenPolicy", "objectives", [], "spec.objectives"),
    ("GreenPolicy", "objectives", [{"name": "Cost"}, {"name": "Cost"}], "objectives: one is there more than once"),
    ("GreenPolicy", "objectives.0.tolerancePercent", "three", "spec.objectives[0].tolerancePercent"),
    ("GreenPolicy", "objectives.0.tolerancePercent", 3, "must be of type string"),
    ("GreenPolicy", "guardrails.maxShiftPercent", 0, "spec.guardrails.maxShiftPercent"),
    ("InferenceSite", "pue", "0.9", "pue: must be at least 1"),
    ("InferenceSite", "state", "Off", 'spec.state: Unsupported value: "Off"'),
    ("InferenceSite", "water.wueLitersPerKWh", None, "give it or signals.wue, exactly one of the two"),
    ("InferenceSite", "power.renewables", [{"type": "Solar", "capacityKilowatts": 5}], "Solar needs signals.solarOutput"),
    ("InferenceSite", "signals.carbonIntensity", [], "spec.signals.carbonIntensity"),
    ("InferenceSite", "performance.0.resourceSecondsPerThousandTokens", [{"name": "tpu", "amount": "1"}], "a resource is not in spec.capacity"),
    ("InferenceDemand", "classes.0.delayLimitMilliseconds", -5, "spec.classes[0].delayLimitMilliseconds"),
    ("InferenceDemand", "areas.0.demand.0.profile.queriesPerHour", [1] * 25, "must have 24 or 168 values"),
    ("InferenceDemand", "areas.0.demand.0.source", {"name": "x"}, "give profile or source, exactly one of the two"),
    ("InferenceDemand", "areas.0.demand.1.class", "chat", "Duplicate value"),
    ("InferenceDemand", "areas.0.demand.0.class", "chatt", "a demand entry names a class that is not in spec.classes"),
    ("InferenceDemand", "areas.0.routes.0.rules.0.class", "chatt", "a rule names a class that is not in spec.classes"),
    ("InferenceDemand", "areas.0.routes.0.targetRef.kind", "Ingress", "targetRef.kind: Unsupported value"),
    ("InferenceDemand", "backends.0.class", "code", "backends: a class is not in spec.classes"),
    ("SignalSource", "provider", "Oracle", 'spec.provider: Unsupported value: "Oracle"'),
    ("SignalSource", "static", {"value": "1", "unit": "g/kWh"}, "static: give it with provider Static, and with no other"),
    ("SignalSource", "csv", None, "csv: give it with provider Csv"),
    ("SignalSource", "csv.file", "../secret/{site}.csv", "must be a path below the directory"),
    ("SignalSource", "csv.configMapRef", {"name": "a", "key": "b"}, "exactly one of the two"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path", "value", "words"), WRONG, ids=[f"{w[0]}-{w[1]}-{n}" for n, w in enumerate(WRONG)]
)
def test_what_is_wrong_is_refused_with_the_fix(
    plane: ControlPlane, kind: str, path: str, value: Any, words: str
) -> None:
    plane.kubectl("create", "namespace", "inference", check=False)
    text = yaml.safe_dump(changed(kind, path, value))
    out = plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", text=text, check=False)
    assert words in out, out


@pytest.mark.parametrize(
    "field",
    [
        "inferencesite.spec.power.gridLimitKilowatts",
        "greenpolicy.spec.guardrails.holdSeconds",
        "idem.spec.classes.delayLimitMilliseconds",
    ],
)
def test_explain_gives_a_unit_and_a_meaning(plane: ControlPlane, field: str) -> None:
    out = plane.kubectl("explain", field)
    assert any(unit in out for unit in (", kW.", ", s.", ", ms;"))


def test_defaults_are_filled_in(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "inference", check=False)
    plane.apply(example("InferenceDemand"), example("SignalSource"))
    found = plane.get("idem", "assistant", "-n", "inference")["spec"]
    assert (found["mode"], found["suspend"], found["deletionPolicy"]) == ("Active", False, "Restore")
    assert found["areas"][0]["routes"][0]["management"] == "Adopt"
    out = plane.kubectl("get", "idem,isite,greenpol,sigsrc", "-A")
    assert "READY" in out
    plane.kubectl("delete", "idem,sigsrc", "--all", "-A")
