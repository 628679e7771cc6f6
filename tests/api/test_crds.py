"""The committed CRDs are what the models say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from green_llm.api import crds
from green_llm.domain.request import Kind

ROOT = Path(__file__).parents[2] / "crds"


def test_the_committed_files_are_up_to_date() -> None:
    made = crds.manifests()
    assert {path.name for path in ROOT.iterdir()} == set(made)
    for name, text in made.items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, "run `just crds`"


def walk(schema: Any, path: str) -> Any:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_field_is_described_and_bounded(kind: Kind) -> None:
    version = crds.definition(kind)["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for path, schema in walk(spec, "spec"):
        assert schema.get("type"), path
        if not path.endswith(("[]", "{}")):
            assert schema.get("description"), path
        if schema["type"] == "string":
            assert schema.keys() & {"maxLength", "enum", "pattern", "format"}, path
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        if schema["type"] == "integer":
            assert {"minimum", "maximum"} <= schema.keys() or "enum" in schema, path
        assert schema["type"] != "number", f"{path}: no floats in a spec"


def test_every_rule_belongs_to_a_model_that_is_there() -> None:
    text = "".join(crds.manifests().values())
    for rules in crds.RULES.values():
        for _, message in rules:
            assert message.split(";")[0][:40] in " ".join(text.split())


def test_the_files_parse() -> None:
    kinds = [yaml.safe_load(path.read_text())["kind"] for path in sorted(ROOT.iterdir())]
    assert sorted(kinds) == ["CustomResourceDefinition"] * len(Kind) + ["Kustomization"]
