"""YAML files as users wrote them: documents with their lines, and edits that change a number and nothing else.

A text is composed into nodes that know where they stand, so an edit replaces the characters of one scalar: comments,
order and formatting cannot change, because nothing else is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from green_llm.domain.routes import WeightEdit
from green_llm.errors import StoreError

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser takes a twentieth of the time; every wheel has it."""
Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
BOM = "\ufeff"
_STEP = re.compile(r"([A-Za-z][A-Za-z0-9]*)|\[(\d+)\]")


@dataclass(frozen=True, eq=False)
class Document:
    """One document of a file: its value, and the nodes that say where each part stands."""

    value: Any
    node: Any

    def line_of(self, field: str) -> int:
        """The line (from 1) of a field such as ``spec.areas[1].name``: of the deepest part of the path that is there."""
        line, node = self.node.start_mark.line, self.node
        for name, index in _STEP.findall(field):
            entry = _child(node, name or int(index))
            if entry is None:
                break
            line, node = entry[0].start_mark.line, entry[1]
        return int(line) + 1


def load_documents(text: str, path: Path) -> list[Document]:
    """Every document of a YAML text; empty ones left out.

    Raises:
        StoreError: names file, line, column and fault.
    """
    found = []
    try:
        loader = Loader(text.removeprefix(BOM))
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node)
            if value is not None:
                found.append(Document(value, node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise StoreError(f"{where}: is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise StoreError(f"{path}: is not YAML: {error}") from error
    return found


def repeated_keys(document: Document) -> list[tuple[int, str]]:
    """(line, key) of every key that is in one mapping twice: the parser would keep the last without a word."""
    found: list[tuple[int, str]] = []
    seen: set[int] = set()
    stack = [document.node]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            known: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in known:
                    found.append((key.start_mark.line + 1, key.value))
                known.add(str(key.value))
                stack.append(value)
        elif isinstance(node, yaml.SequenceNode):
            stack += node.value
    return sorted(found)


def dump_documents(documents: Sequence[Mapping[str, Any]]) -> str:
    """Documents as one YAML text."""
    text: str = yaml.dump_all(
        documents, Dumper=Dumper, default_flow_style=False, sort_keys=False, width=120, allow_unicode=True
    )
    return text


def with_weights(text: str, document: Document, edits: Sequence[WeightEdit], path: Path) -> str:
    """The text with other weights: numbers replaced where they stand, a missing weight added behind the name.

    The caller reads the result back before it is written: where rules share a number by a YAML alias, one edit changes
    both, and only the result shows it.

    Raises:
        StoreError: a back-end has no name to put its weight behind.
    """
    offset = len(text) - len(text.removeprefix(BOM))
    changes = sorted({_change(text, offset, document, edit, path) for edit in edits}, reverse=True)
    for start, end, replacement in changes:
        text = text[:start] + replacement + text[end:]
    return text


def _change(text: str, offset: int, document: Document, edit: WeightEdit, path: Path) -> tuple[int, int, str]:
    """Which characters to replace by what."""
    node = document.node
    for step in edit.path:
        entry = _child(node, step)
        if entry is None:
            raise StoreError(f"{path}: {edit.path} is not there any more; it is planned anew")
        node = entry[1]
    weight = _child(node, "weight")
    if weight is not None:
        start, end = weight[1].start_mark.index + offset, weight[1].end_mark.index + offset
        return start, end, str(edit.weight) if end > start else f" {edit.weight}"
    name = _child(node, "name")
    if name is None:
        raise StoreError(f"{path}:{node.start_mark.line + 1}: a back-end has no name; give it one")
    end = name[1].end_mark.index + offset
    if node.flow_style:
        return end, end, f", weight: {edit.weight}"
    line_end = len(text) if (at := text.find("\n", end)) < 0 else at
    ending = "\r\n" if "\r\n" in text else "\n"
    place = line_end - 1 if text[:line_end].endswith("\r") else line_end
    return place, place, f"{ending}{' ' * name[0].start_mark.column}weight: {edit.weight}"


def _child(node: Any, step: str | int) -> tuple[Any, Any] | None:
    """(where it begins, the node) of a key or an index."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None
