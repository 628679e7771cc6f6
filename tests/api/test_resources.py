"""Resources as users write them: what is right parses, what is wrong is named by field, fault and fix."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from green_llm.api.parse import parse
from green_llm.domain.plan import Objective
from green_llm.domain.request import Demand, Mode, Policy, Problem, Source
from green_llm.domain.series import SignalKind
from green_llm.domain.topology import Site

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS = [
    pytest.param(document, id=f"{path.parent.name}/{path.name}:{document['metadata']['name']}")
    for path in sorted(EXAMPLES.rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if str(document["apiVersion"]).startswith("greenllm.dev/")
]


def example(kind: str, name: str | None = None) -> dict[str, Any]:
    for path in sorted((EXAMPLES / "three-sites").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == kind and name in (None, document["metadata"]["name"]):
                return copy.deepcopy(document)
    raise KeyError(kind)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The document with one field set; None removes it."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    holder: Any = document["spec"]
    for step in steps:
        holder = holder.setdefault(step, {}) if isinstance(step, str) else holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return document


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples_parse(document: dict[str, Any]) -> None:
    assert isinstance(parse(document), Policy | Site | Demand | Source)


WRONG: list[tuple[str, str, Any, str, str]] = [
    ("GreenPolicy", "mode", "Live", "spec.mode", "must be 'Shadow' or 'Active', not \"Live\""),
    ("GreenPolicy", "modus", "Active", "spec.modus", "is no field of this kind; did you mean mode?"),
    ("GreenPolicy", "periodSeconds", 1, "spec.periodSeconds", "greater than or equal to 10"),
    ("GreenPolicy", "guardrails", {"slo": {}}, "spec.guardrails.slo.profiles", "is missing; give it"),
    ("GreenPolicy", "guardrails", {"slo": {"profiles": [{"profile": "a", "source": "s"}] * 2}},
     "spec.guardrails.slo.profiles", '"a" is there more than once; name it once'),
    ("GreenPolicy", "guardrails", {"slo": {"profiles": [{"profile": "a", "source": "s"}], "maxErrorPercent": "101"}},
     "spec.guardrails.slo.maxErrorPercent", "101 is more than 100; write per cent"),
    ("GreenPolicy", "guardrails", {"slo": {"profiles": [{"profile": "a", "source": "s", "query": "up"}]}},
     "spec.guardrails.slo.profiles[0].query", "is no field of this kind"),
    ("GreenPolicy", "areas", None, "spec.areas", "is missing; give it"),
    ("GreenPolicy", "areas.0.timeZone", "America/Springfield", "spec.areas[0].timeZone", "is no IANA time zone"),
    ("GreenPolicy", "areas.1.name", "seattle", "spec.areas", '"seattle" is there more than once'),
    ("GreenPolicy", "horizon", {"slotSeconds": 3600, "slots": 200}, "spec.horizon.slots", "more than 7 days"),
    ("GreenPolicy", "horizon", {"slotSeconds": 1000, "slots": 2}, "spec.horizon.slotSeconds", "does not divide a day"),
    ("GreenPolicy", "currency", "dollar", "spec.currency", "pattern"),
    ("GreenPolicy", "objectives", [], "spec.objectives", "at least 1 item"),
    ("GreenPolicy", "objectives", [{"name": "Cost"}, {"name": "Cost"}], "spec.objectives", '"Cost" is there more than once'),
    ("GreenPolicy", "objectives.0.tolerancePercent", 3, "spec.objectives[0].tolerancePercent", 'must be a decimal string: write "3" in quotes'),
    ("GreenPolicy", "guardrails.maxShiftPercent", 0, "spec.guardrails.maxShiftPercent", "greater than or equal to 1"),
    ("GreenPolicy", "water.budgetLiters", -1, "spec.water.budgetLiters", "greater than or equal to 0"),
    ("InferenceSite", "pue", 1.1, "spec.pue", "must be a decimal string"),
    ("InferenceSite", "pue", "0.9", "spec.pue", "must be at least 1, not 0.9"),
    ("InferenceSite", "state", "Off", "spec.state", "must be 'Active' or 'Draining'"),
    ("InferenceSite", "water.wueLitersPerKWh", None, "spec.water.wueLitersPerKWh", "exactly one of the two"),
    ("InferenceSite", "power.renewables", [{"type": "Solar", "capacityKilowatts": 5}], "spec.power.renewables[0]", "Solar needs signals.solarOutput"),
    ("InferenceSite", "signals.carbonIntensity", [], "spec.signals.carbonIntensity", "at least 1 item"),
    ("InferenceSite", "performance.0.resourceSecondsPerThousandTokens", [{"name": "tpu", "amount": "1"}], "spec.performance[llama-70b].resourceSecondsPerThousandTokens", '"tpu" is no resource of spec.capacity (known: gpu)'),
    ("InferenceDemand", "classes.0.delayLimitMilliseconds", -5, "spec.classes[0].delayLimitMilliseconds", "greater than or equal to 0"),
    ("InferenceDemand", "areas.0.demand.0.profile.queriesPerHour", [1] * 25, "spec.areas[0].demand[0].profile.queriesPerHour", "24 or 168 values, not 25"),
    ("InferenceDemand", "areas.0.demand.0.source", {"name": "x"}, "spec.areas[0].demand[0]", "profile or source, exactly one of the two"),
    ("InferenceDemand", "areas.0.demand.1.class", "chat", "spec.areas[0].demand", '"chat" is there more than once'),
    ("InferenceDemand", "areas.0.demand.0.class", "chatt", "spec.areas[0].demand[0].class", '"chatt" is no class of spec.classes (known: chat, summary)'),
    ("InferenceDemand", "areas.0.routes.0.targetRef.kind", "Ingress", "spec.areas[0].routes[0].targetRef.kind", "must be 'HTTPRoute', 'GRPCRoute', 'VirtualService' or 'ConfigMap'"),
    ("InferenceDemand", "backends.0.class", "code", "spec.backends[0].class", '"code" is no class'),
    ("SignalSource", "provider", "Oracle", "spec.provider", "must be 'Static', 'Tariff', 'Csv', 'Persistence', 'ElectricityMaps'"),
    ("SignalSource", "static", {"value": "1", "unit": "g/kWh"}, "spec.static", "belongs to the provider Static, not Csv; remove it"),
    ("SignalSource", "prometheus", {"template": "Istio"}, "spec.prometheus", "belongs to the provider Prometheus, not Csv; remove it"),
    ("SignalSource", "prometheus", {}, "spec.prometheus", "give template or queries, exactly one of the two"),
    ("SignalSource", "prometheus", {"queries": [{"measure": "cpu", "query": "up"}]}, "spec.prometheus.queries[0].measure", "demand"),
    ("SignalSource", "csv", None, "spec.csv", "is missing; the provider Csv needs it"),
    ("SignalSource", "csv.file", "../secret/{site}.csv", "spec.csv.file", "below the directory"),
    ("SignalSource", "params", [], "spec.csv.file", 'the parameter "site" is not declared'),
    ("SignalSource", "params.0.pattern", "[", "spec.params[0].pattern", "is no regular expression"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path", "value", "field", "words"), WRONG, ids=[f"{w[0]}-{w[1]}-{n}" for n, w in enumerate(WRONG)]
)
def test_what_is_wrong_is_named(kind: str, path: str, value: Any, field: str, words: str) -> None:
    found = parse(changed(example(kind), path, value))
    assert isinstance(found, list), "it parsed"
    assert all(isinstance(problem, Problem) for problem in found)
    assert (field, True) in [(p.field, words in p.message) for p in found], [(p.field, p.message) for p in found]


def test_every_problem_is_told_at_once() -> None:
    document = changed(changed(example("InferenceSite"), "pue", 1), "state", "Off")
    assert {problem.field for problem in parse(document)} == {"spec.pue", "spec.state"}


@pytest.mark.parametrize(
    ("change", "field"),
    [({"metadata": {}}, "metadata.name"), ({"apiVersion": "greenllm.dev/v9"}, "apiVersion"), ({"spec": "x"}, "spec")],
)
def test_manifests_that_are_none(change: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in parse(example("GreenPolicy") | change)] == [field]


def test_a_newer_resource_is_read_by_an_older_operator() -> None:
    document = changed(example("GreenPolicy"), "novelty", 1)
    document["spec"]["horizon"]["novelty"] = 2
    assert isinstance(parse(document), list)
    assert isinstance(parse(document, strict=False), Policy)


def test_units_reach_the_domain_converted() -> None:
    site = parse(changed(example("InferenceSite"), "power.carbonPricePerTonne", "50"))
    assert isinstance(site, Site)
    assert site.carbon_price_per_kg == pytest.approx(0.05)
    performance = site.performance["llama-70b"]
    # 1,100 mJ are 1.1 / 3.6e6 kWh; 0.9 GPU-seconds per 1,000 tokens.
    assert performance.kwh_per_output_token == pytest.approx(1.1 / 3.6e6)
    assert performance.resource_seconds_per_token == {"gpu": pytest.approx(0.0009)}
    assert site.capacity[0].headroom == pytest.approx(0.1)
    assert [ref.source for ref in site.signals[SignalKind.ELECTRICITY_PRICE]][1:] == [
        "same-hour-yesterday",
        "flat-tariff",
    ]
    policy = parse(example("GreenPolicy"))
    assert isinstance(policy, Policy)
    assert policy.order.objectives == (Objective.COST, Objective.EMISSIONS, Objective.DELAY)
    assert [t.relative for t in policy.order.tolerances] == pytest.approx([0.30, 0.01, 0.001])
    assert policy.mode is Mode.ACTIVE
    demand = parse(example("InferenceDemand"))
    assert isinstance(demand, Demand)
    assert demand.classes["chat"].delay_limit_s == pytest.approx(1.5)
    assert demand.key == "inference/assistant"
