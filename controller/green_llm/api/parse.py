"""From a manifest to the domain, or to every problem it has."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from green_llm.api.v1alpha1 import DemandSpec, PolicySpec, SiteSpec, SourceSpec
from green_llm.domain.request import Demand, Kind, ObjectKey, Policy, Problem, Source
from green_llm.domain.topology import Site

GROUP, VERSION = "greenllm.dev", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
Parsed = Policy | Site | Demand | Source
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Age of an object without a creation time: order then falls to names."""
_SPECS: dict[Kind, type[BaseModel]] = {
    Kind.DEMAND: DemandSpec,
    Kind.SITE: SiteSpec,
    Kind.POLICY: PolicySpec,
    Kind.SOURCE: SourceSpec,
}
_PATH = re.compile(r"^((?:[a-z][A-Za-z]*(?:\[[^\]]+\])*)(?:\.[a-z][A-Za-z]*(?:\[[^\]]+\])*)*): (.+)$", re.DOTALL)
"""A message of ours that begins with the field it is about, relative to the model that raised it."""


def key_of(document: Mapping[str, Any]) -> ObjectKey:
    """Which resource a manifest of our group is; demands without a namespace are in ``default``."""
    kind = Kind(document["kind"])
    metadata = document.get("metadata") or {}
    namespace = str(metadata.get("namespace") or "default") if kind is Kind.DEMAND else ""
    return ObjectKey(kind, namespace, str(metadata.get("name") or ""))


def parse(document: Mapping[str, Any], *, strict: bool = True) -> Parsed | list[Problem]:
    """The object of a manifest with ``kind`` of ours, or every problem with it.

    ``strict`` refuses unknown fields (files); in a cluster they are ignored, so that an older operator reads newer
    resources.
    """
    key = key_of(document)
    metadata = document.get("metadata") or {}
    if not key.name:
        return [Problem(key, "metadata.name", "is missing; name the object")]
    if document.get("apiVersion") != API_VERSION:
        return [Problem(key, "apiVersion", f'must be "{API_VERSION}", not {json.dumps(document.get("apiVersion"))}')]
    spec: Any = document.get("spec")
    if not isinstance(spec, Mapping):
        return [Problem(key, "spec", "is missing or no mapping")]
    model = _SPECS[key.kind]
    try:
        parsed: Any = model.model_validate(spec if strict else _known(spec, model))
    except ValidationError as error:
        return [_problem(key, entry, model) for entry in error.errors(include_url=False)]
    created = metadata.get("creationTimestamp")
    moment = datetime.fromisoformat(str(created)) if created else EARLIEST
    age = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    generation = int(metadata.get("generation") or 0)
    if isinstance(parsed, DemandSpec):
        return parsed.to_domain(key.namespace, key.name, age, generation)
    result: Parsed = parsed.to_domain(key.name, age, metadata.get("labels") or {}, generation)
    return result


def _known(spec: Mapping[str, Any], model: type[BaseModel]) -> Mapping[str, Any]:
    """The spec without the fields this version does not know."""
    pruned = copy.deepcopy(dict(spec))
    try:
        model.model_validate(pruned)
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            if entry["type"] == "extra_forbidden":
                holder: Any = pruned
                for step in entry["loc"][:-1]:
                    holder = holder[step]
                del holder[entry["loc"][-1]]
    return pruned


def _problem(key: ObjectKey, error: Any, model: type[BaseModel]) -> Problem:
    """One fault of pydantic in our words, at the path the user wrote."""
    path = "spec" + _path(error["loc"])
    message = error["msg"]
    match error["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(error["loc"][-1]), _fields(model), n=1)
            message = "is no field of this kind; " + (f"did you mean {close[0]}?" if close else "remove it")
        case "missing":
            message = "is missing; give it"
        case "literal_error":
            message = f"must be {error['ctx']['expected']}, not {json.dumps(error['input'], default=str)}"
        case "value_error":
            message = str(error["ctx"]["error"])
            inner = _PATH.match(message)
            if inner:
                path, message = f"{path}.{inner[1]}", inner[2]
        case _:
            shown = json.dumps(error["input"], default=str)
            message = message[0].lower() + message[1:] + f" (it is {shown[:60]})"
    return Problem(key, path, message)


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location if step != "[key]")


def _fields(model: type[BaseModel]) -> list[str]:
    """Every field name of a model and the models inside it."""
    schema = model.model_json_schema(by_alias=True)
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({name for part in parts for name in part.get("properties", {})})
