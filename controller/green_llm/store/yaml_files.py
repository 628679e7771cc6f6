"""YAML files as users wrote them: documents with their lines, and edits that change a number and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from green_llm.errors import StoreError

Edit = tuple[Any, int]
"""(a back-end reference of a loaded document, its new weight)."""
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|[^,}\]\s#]+')
_STEP = re.compile(r"([A-Za-z][A-Za-z0-9]*)|\[(\d+)\]")


def load_documents(text: str, path: Path) -> list[Any]:
    """Every document of a YAML text, with line numbers on its maps and lists; empty ones left out.

    Raises:
        StoreError: names file, line, column and fault.
    """
    try:
        return [document for document in YAML(typ="rt").load_all(text) if document is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise StoreError(f"{where}: is not YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise StoreError(f"{path}: is not YAML: {error}") from error


def dump_documents(documents: Sequence[Mapping[str, Any]]) -> str:
    """Documents as one YAML text."""
    stream = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.dump_all(documents, stream)
    return stream.getvalue()


def line_of(document: Any, field: str) -> int:
    """The line (from 1) of a field such as ``spec.areas[1].name``: of the deepest part of the path that is there."""
    line = int(document.lc.line) + 1
    node = document
    for name, index in _STEP.findall(field):
        step: Any = name or int(index)
        try:
            line = int((node.lc.key(step) if name else node.lc.item(step))[0]) + 1
            node = node[step]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def with_weights(text: str, edits: Sequence[Edit], path: Path) -> str:
    """The text with other weights: numbers replaced where they stand, a missing weight added behind the name.

    Raises:
        StoreError: a weight is a YAML alias, or back-ends shared by an alias would need two weights.
    """
    lines = text.splitlines(keepends=True)
    changes: dict[tuple[int, int, int], str] = {}
    for reference, weight in edits:
        place, replacement = _edit(lines, reference, weight, path)
        if changes.setdefault(place, replacement) != replacement:
            raise StoreError(
                f"{path}:{place[0] + 1}: rules share back-ends by a YAML alias; write them out for each rule"
            )
    for (line, start, end), replacement in sorted(changes.items(), reverse=True):
        lines[line] = lines[line][:start] + replacement + lines[line][end:]
    return "".join(lines)


def _edit(lines: list[str], reference: Any, weight: int, path: Path) -> tuple[tuple[int, int, int], str]:
    """Where to write a weight (line, first and last column), and what."""
    if "weight" in reference:
        line, column = reference.lc.value("weight")
        token = _SCALAR.match(lines[line], column)
        if token is None or token[0].startswith(("*", "&")):
            raise StoreError(f"{path}:{line + 1}: the weight is a YAML anchor or alias; write a number")
        return (line, token.start(), token.end()), str(weight)
    line, column = reference.lc.value("name")
    token = _SCALAR.match(lines[line], column)
    if token is None:
        raise StoreError(f"{path}:{line + 1}: the back-end's name cannot be found")
    if reference.fa.flow_style():
        return (line, token.end(), token.end()), f", weight: {weight}"
    ending = "\r\n" if lines[line].endswith("\r\n") else "\n"
    indent = " " * reference.lc.key("name")[1]
    content = lines[line].rstrip("\r\n")
    return (line, len(content), len(lines[line])), f"{ending}{indent}weight: {weight}{ending}"
