"""The CustomResourceDefinitions, made from the Pydantic models: structural, bounded, with CEL rules that say the fix.

``python -m green_llm.api.crds DIR`` writes them; a test compares them with ``crds/``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from green_llm.api.parse import GROUP, VERSION
from green_llm.api.status_schema import STATUS
from green_llm.api.v1alpha1 import DemandSpec, PolicySpec, SiteSpec, SourceSpec
from green_llm.domain.request import Kind
from green_llm.domain.services import SERVICES

Schema = dict[str, Any]
HEADER = "# Made from green_llm.api by `just crds`; do not edit.\n"


@dataclass(frozen=True)
class Definition:
    """What a CRD says beside its schema."""

    spec: type[BaseModel]
    plural: str
    short: str
    scope: str
    columns: tuple[tuple[str, str, str], ...]
    """Name, type and JSON path of the columns of `kubectl get`."""


READY = ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status')
REASON = ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason')
AGE = ("Age", "date", ".metadata.creationTimestamp")
RATES = (
    ("Cost/h", "string", ".status.perHour.cost"),
    ("kgCO2e/h", "string", ".status.perHour.emissionsKilograms"),
    ("Liters/h", "string", ".status.perHour.waterLiters"),
    ("Delay-ms", "integer", ".status.perHour.meanDelayMilliseconds"),
)
DEFINITIONS = {
    Kind.DEMAND: Definition(
        DemandSpec, "inferencedemands", "idem", "Namespaced",
        (READY, REASON, ("Mode", "string", ".status.mode"), ("Policy", "string", ".spec.policyRef.name"),
         ("Routed", "string", '.status.conditions[?(@.type=="Routed")].reason'), *RATES, AGE),
    ),
    Kind.SITE: Definition(
        SiteSpec, "inferencesites", "isite", "Cluster",
        (READY, REASON, ("State", "string", ".spec.state"), ("Policy", "string", ".status.claimedBy"), AGE),
    ),
    Kind.POLICY: Definition(
        PolicySpec, "greenpolicies", "greenpol", "Cluster",
        (READY, ("Degraded", "string", '.status.conditions[?(@.type=="Degraded")].reason'),
         ("Mode", "string", ".spec.mode"), *RATES, ("Planned", "date", ".status.plan.solvedTime"), AGE),
    ),
    Kind.SOURCE: Definition(
        SourceSpec, "signalsources", "sigsrc", "Cluster",
        (READY, REASON, ("Provider", "string", ".spec.provider"), AGE),
    ),
}  # fmt: skip
LIST_KEYS = {
    ("PolicySpec", "areas"): ["name"], ("AreaSpec", "network"): ["site"], ("PolicySpec", "exchangeRates"): ["from"],
    ("SiteSpec", "capacity"): ["name"], ("SiteSpec", "performance"): ["profile"],
    ("PerformanceSpec", "resourceSecondsPerThousandTokens"): ["name"],
    ("DemandSpec", "classes"): ["name"], ("DemandSpec", "areas"): ["name"], ("AreaDemand", "demand"): ["class"],
    ("RouteSpec", "rules"): ["class"], ("SourceSpec", "params"): ["name"], ("PrometheusSpec", "queries"): ["measure"],
    ("SloSpec", "profiles"): ["profile"],
}  # fmt: skip
"""Lists of named things: the API server refuses a name that is there twice. All other lists are atomic."""
_KNOWN_CLASSES = "self.areas.all(a, a.demand.all(d, self.classes.exists(c, c.name == d.class)))"
_KNOWN_RULES = (
    "self.areas.all(a, !has(a.routes) || a.routes.all(r, r.rules.all(m, self.classes.exists(c, c.name == m.class))))"
)
_NEEDS_SIGNAL = (
    "!has(self.power.renewables) || !self.power.renewables.exists(r, r.type == '{type}') || "
    "(has(self.signals.{signal}) && size(self.signals.{signal}) > 0)"
)
_KNOWN_RESOURCES = (
    "self.performance.all(p, !has(p.resourceSecondsPerThousandTokens) || p.resourceSecondsPerThousandTokens.all(r, "
    "has(self.capacity) && self.capacity.exists(c, c.name == r.name)))"
)
_LOCAL = ["Static", "Tariff", "Csv", "Persistence"]
_KEYED = sorted(service.name for service in SERVICES.values() if service.needs and not service.works_without)
_KNOWN_GROUP = (
    "self.group == (self.kind == 'VirtualService' ? 'networking.istio.io' : self.kind == 'ConfigMap' ? '' : "
    "'gateway.networking.k8s.io')"
)
_GROUP_FAULT = (
    "group: must be networking.istio.io for VirtualService, empty for ConfigMap, else gateway.networking.k8s.io"
)
RULES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "PolicySpec": (
        ("self.objectives.all(o, self.objectives.exists_one(p, p.name == o.name))",
         "objectives: one is there more than once; name each once"),
    ),
    "Horizon": (
        ("86400 % self.slotSeconds == 0", "slotSeconds: must divide a day of 86400 s; take 900 or 3600"),
        ("self.slotSeconds * self.slots <= 604800", "slots: together more than 7 days; take fewer"),
    ),
    "SiteSpec": (
        ("double(self.pue) >= 1.0", "pue: must be at least 1"),
        ("has(self.water.wueLitersPerKWh) != (has(self.signals.wue) && size(self.signals.wue) > 0)",
         "water.wueLitersPerKWh: give it or signals.wue, exactly one of the two"),
        ("has(self.water.ewifLitersPerKWh) != (has(self.signals.ewif) && size(self.signals.ewif) > 0)",
         "water.ewifLitersPerKWh: give it or signals.ewif, exactly one of the two"),
        (_NEEDS_SIGNAL.format(type="Solar", signal="solarOutput"), "power.renewables: Solar needs signals.solarOutput"),
        (_NEEDS_SIGNAL.format(type="Wind", signal="windOutput"), "power.renewables: Wind needs signals.windOutput"),
        (_KNOWN_RESOURCES, "performance: a resource is not in spec.capacity; add it there or correct the name"),
    ),
    "RenewableSpec": (
        ("(self.certificates == 'Sold') == has(self.residualGramsPerKWh)",
         "residualGramsPerKWh: give it where certificates are Sold, and only there"),
    ),
    "DemandSpec": (
        (_KNOWN_CLASSES, "areas: a demand entry names a class that is not in spec.classes; correct it or add the class"),
        (_KNOWN_RULES, "areas: a rule names a class that is not in spec.classes; correct it or add the class"),
        ("!has(self.backends) || self.backends.all(b, !has(b.class) || self.classes.exists(c, c.name == b.class))",
         "backends: a class is not in spec.classes; correct it or add the class"),
    ),
    "TargetRef": (
        (_KNOWN_GROUP, _GROUP_FAULT),
        ("self.kind != 'ConfigMap' || self.name == 'green-llm-weights'",
         "name: a ConfigMap must be called green-llm-weights, the only one that the operator may touch"),
    ),
    "RouteSpec": (
        ("has(self.template) == (self.management == 'Managed')",
         "template: give it with management Managed, and only then"),
        ("self.management != 'Managed' || self.targetRef.group == 'gateway.networking.k8s.io'",
         "management: only HTTPRoute and GRPCRoute can be Managed; use Adopt"),
    ),
    "DemandSpecEntry": (("has(self.profile) != has(self.source)", "give profile or source, exactly one of the two"),),
    "Profile": (
        ("size(self.queriesPerHour) == 24 || size(self.queriesPerHour) == 168",
         "queriesPerHour: must have 24 or 168 values"),
    ),
    "SourceSpec": (
        *((f"has(self.{name.lower()}) == (self.provider == '{name}')" if name != "Persistence" else
           "!has(self.persistence) || self.provider == 'Persistence'",
           f"{name.lower()}: give it with provider {name}, and with no other") for name in _LOCAL),
        (f"!(self.provider in {_LOCAL}) || !(has(self.secretRef) || has(self.baseUrl) || has(self.pollPeriodSeconds))",
         "secretRef, baseUrl, pollPeriodSeconds: are for live services; remove them"),
        ("has(self.prometheus) == (self.provider == 'Prometheus')",
         "prometheus: give it with provider Prometheus, and with no other"),
        ("!has(self.pollPeriodSeconds) || self.pollPeriodSeconds >= 10 || self.provider == 'Prometheus'",
         "pollPeriodSeconds: this service may be asked every 10 s at the most; take 10 or more"),
        ("self.provider != 'Prometheus' || has(self.baseUrl)", "baseUrl: Prometheus needs it"),
        (f"!(self.provider in {_KEYED}) || has(self.secretRef)",
         "secretRef: this service needs a key; name the Secret that holds it"),
    ),
    "SloSpec": (
        ("!has(self.maxErrorPercent) || double(self.maxErrorPercent) <= 100.0",
         "maxErrorPercent: must be at most 100; write per cent"),
    ),
    "PrometheusSpec": (
        ("has(self.template) != (has(self.queries) && size(self.queries) > 0)",
         "give template or queries, exactly one of the two"),
    ),
    "CsvSpec": (
        ("has(self.file) != has(self.configMapRef)", "give file or configMapRef, exactly one of the two"),
        ("!has(self.file) || !(self.file.startsWith('/') || self.file.contains('..'))",
         "file: must be a path below the directory of the resources"),
    ),
}  # fmt: skip
_DROPPED = ("title", "additionalProperties", "propertyNames", "patternProperties", "$defs", "const", "exclusiveMinimum")


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    entry = DEFINITIONS[kind]
    document = entry.spec.model_json_schema(by_alias=True)
    spec = _structural(document, document.get("$defs", {}), entry.spec.__name__)
    doc = (entry.spec.__doc__ or "").strip().splitlines()[0]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{entry.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": entry.scope,
            "names": {
                "kind": kind.value,
                "listKind": f"{kind.value}List",
                "plural": entry.plural,
                "singular": kind.value.lower(),
                "shortNames": [entry.short],
                "categories": ["green-llm"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind_, "jsonPath": path} for name, kind_, path in entry.columns
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": doc,
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": STATUS[kind],
                            },
                        }
                    },
                }
            ],
        },
    }


def manifests() -> dict[str, str]:
    """Every CRD as YAML text, by file name, and what makes the directory one for ``kubectl apply -k``."""
    found = {f"{entry.plural}.yaml": definition(kind) for kind, entry in DEFINITIONS.items()}
    together = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(found)}
    return {
        name: HEADER + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
        for name, document in (found | {"kustomization.yaml": together}).items()
    }


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any], owner: str) -> Schema:
    """A Pydantic schema as Kubernetes wants it: references inlined, no null, no unions, list types said."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return _structural(definitions[name] | {k: v for k, v in schema.items() if k != "$ref"}, definitions, name)
    if "anyOf" in schema:
        (given,) = [option for option in schema["anyOf"] if option.get("type") != "null"]
        rest = {k: v for k, v in schema.items() if k not in ("anyOf", "default") or (k == "default" and v is not None)}
        return _structural(given | rest, definitions, owner)
    found = {k: v for k, v in schema.items() if k not in _DROPPED}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "properties" in schema:
        found["properties"] = {
            name: _listed(_structural(part, definitions, owner), (owner, name))
            for name, part in schema["properties"].items()
        }
        if owner in RULES:
            found["x-kubernetes-validations"] = [{"rule": rule, "message": text} for rule, text in RULES[owner]]
    elif isinstance(values := schema.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _structural(values, definitions, owner)
    elif "patternProperties" in schema:  # a map whose keys have a pattern: the operator checks it
        (values,) = schema["patternProperties"].values()
        found["additionalProperties"] = _structural(values, definitions, owner)
    if "items" in schema:
        found["items"] = _structural(schema["items"], definitions, owner)
        found["x-kubernetes-list-type"] = "atomic"
    return found


def _listed(schema: Schema, place: tuple[str, str]) -> Schema:
    """The schema of a property, a list map where its entries have names."""
    if place not in LIST_KEYS:
        return schema
    return schema | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": LIST_KEYS[place]}


def main() -> None:
    """Write the manifests into a directory."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, text in manifests().items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
