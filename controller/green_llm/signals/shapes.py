"""The shape of answers: which keys a service's payload has, against the one its provider was written for.

``python -m green_llm.signals.shapes DIR`` makes ``shapes.json`` from stored payloads, one folder a service.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from green_llm.domain.services import SERVICES

SHAPES = "shapes.json"


def keys_of(body: bytes) -> frozenset[str]:
    """Key paths of JSON (``data[].value``), element names of XML, or columns of CSV; of a zip those of its first file."""
    if body[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return keys_of(archive.read(archive.namelist()[0]))
    text = body.decode("utf-8-sig", "replace").lstrip()
    try:
        if text[:1] in ("{", "["):
            return frozenset(_paths(json.loads(text), ""))
        if text[:1] == "<" and "<!DOCTYPE" not in text[:2000] and "<!ENTITY" not in text:
            return frozenset(element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter())  # noqa: S314
    except (ValueError, ET.ParseError):
        return frozenset()
    return frozenset(next(csv.reader(io.StringIO(text)), []))


def missing_keys(service: str, body: bytes) -> list[str]:
    """Keys that the payload should have and has not; those below an empty list or a null are not missed."""
    found = keys_of(body)
    known = recorded_shapes().get(service, ())
    if not body or not known:
        return []
    expected = max(known, key=lambda shape: len(shape & found) / len(shape | found))
    lacking = {path for path in expected - found if not path.endswith("[]")}
    return sorted(path for path in lacking if _parent(path) in found or not _parent(path))


@cache
def recorded_shapes() -> Mapping[str, tuple[frozenset[str], ...]]:
    """By service, the shape of each kind of answer."""
    stored = json.loads((files("green_llm.signals") / SHAPES).read_text(encoding="utf-8"))
    return {service: tuple(frozenset(shape) for shape in shapes) for service, shapes in stored.items()}


def document(root: Path) -> str:
    """The shapes of all stored payloads that are no errors, as JSON."""
    folders = {re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name).lower(): name for name in SERVICES}
    shapes: dict[str, list[list[str]]] = {}
    for path in sorted(root.glob("*/*")):
        if path.parent.name in folders and not re.match("error|ack|login", path.name):
            shapes.setdefault(folders[path.parent.name], []).append(sorted(keys_of(path.read_bytes())))
    return json.dumps(shapes, indent=1) + "\n"


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            yield here
            yield from _paths(inner, here)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                yield f"{path}[]"
                yield from _paths(inner, f"{path}[]")


def _parent(path: str) -> str:
    """Of ``data[].value`` ``data[]``; of a top key nothing."""
    return path[:-2] if path.endswith("[]") else path.rpartition(".")[0]


if __name__ == "__main__":
    (Path(__file__).parent / SHAPES).write_text(document(Path(sys.argv[1])), encoding="utf-8")
