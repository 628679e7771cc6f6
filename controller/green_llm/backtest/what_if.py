"""Another world: the directory with some things changed, through the same parsing and admission as the real one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from green_llm.api.parse import GROUP
from green_llm.backtest.world import RECORDINGS, World, read_world
from green_llm.domain.request import Kind
from green_llm.errors import InvalidInputError
from green_llm.signals.recordings import Recordings
from green_llm.store.directory import STATE, STATUS_SUFFIX

KINDS = {"policy": Kind.POLICY, "site": Kind.SITE, "demand": Kind.DEMAND, "source": Kind.SOURCE}
MOST_SCENARIOS = 500


@dataclass(frozen=True)
class Setting:
    """One thing that is different."""

    path: str
    """``demand``, ``order``, ``tolerance.OBJECTIVE``, ``add``, ``site/NAME``, ``KIND/NAME:FIELD``, a field of the policy."""
    value: Any

    def __str__(self) -> str:
        """As the user writes it."""
        return f"{self.path}={self.value}"


def setting_of(text: str) -> Setting:
    """``PATH=VALUE``; the value is YAML.

    Raises:
        InvalidInputError: it is no setting.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InvalidInputError(f'--set: "{text}" must be PATH=VALUE, such as demand=2 or water.budgetLiters=100000')
    try:
        return Setting(path.strip(), yaml.safe_load(value))
    except yaml.YAMLError:
        raise InvalidInputError(f'--set: "{text}": what is after the = must be YAML; put texts in quotes') from None


def scenarios_of(text: str, source: str) -> list[tuple[Setting, ...]]:
    """Every combination of a sweep file: parameter → values.

    Raises:
        InvalidInputError: the file is none, or has too many combinations.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{source}: is no YAML: {error}") from error
    if not isinstance(found, Mapping) or not all(isinstance(values, list) and values for values in found.values()):
        raise InvalidInputError(f"{source}: must be a mapping of parameters to lists of values, such as demand: [1, 2]")
    settings = [[Setting(str(path), value) for value in values] for path, values in found.items()]
    combined = list(product(*settings))
    if len(combined) > MOST_SCENARIOS:
        raise InvalidInputError(f"{source}: has {len(combined)} combinations; give at most {MOST_SCENARIOS}")
    return combined


def name_of(settings: Sequence[Setting]) -> str:
    """A scenario's name."""
    return ", ".join(map(str, settings)) or "as it is"


def changed(root: Path, policy: str, settings: Sequence[Setting]) -> World:
    """The directory's world with some settings.

    Raises:
        InvalidInputError: a setting names nothing, or what it makes is refused; the message begins with the scenario.
    """
    name = name_of(settings)
    with _copy(root) as copy:
        documents = _documents(copy)
        factor = 1.0
        for setting in settings:
            if setting.path == "demand":
                factor *= _factor(setting)
            elif setting.path == "add":
                documents += _read(Path(str(setting.value)))
            else:
                documents = _apply(documents, policy, setting)
        (copy / "resources.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
        world = read_world(copy, Recordings(root / RECORDINGS))
    faults = [f"{problem.key}: {problem.field}: {problem.message}" for problem in world.resources.problems]
    if faults:
        raise InvalidInputError(f"{name}: {faults[0]}")
    return replace(world, name=str(root), digest=f"{world.digest} {name}", demand_factor=factor)


@contextmanager
def _copy(root: Path) -> Iterator[Path]:
    """The directory's files elsewhere, without what runs have written."""
    with tempfile.TemporaryDirectory(prefix="green-llm-") as place:
        copy = Path(place) / "world"
        ignored = shutil.ignore_patterns(STATE, f"*{STATUS_SUFFIX}", RECORDINGS, ".*")
        shutil.copytree(root, copy, ignore=ignored)
        yield copy


def _documents(copy: Path) -> list[Any]:
    """Every document of a copy, whose files are removed: they are written anew, as one."""
    found: list[Any] = []
    for path in sorted(path for path in copy.rglob("*.y*ml") if path.suffix in (".yaml", ".yml")):
        found += _read(path)
        path.unlink()
    return found


def _read(path: Path) -> list[Any]:
    try:
        return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path}: cannot be read: {error}") from error


def _factor(setting: Setting) -> float:
    if isinstance(setting.value, int | float) and setting.value is not True and 0.0 < setting.value < 1e6:
        return float(setting.value)
    raise InvalidInputError(f"{setting}: must be a number above 0; 2 is twice the demand")


def _apply(documents: list[Any], policy: str, setting: Setting) -> list[Any]:
    """The documents with one setting."""
    target, colon, path = setting.path.partition(":")
    if not colon and "/" not in target:
        target, path = f"policy/{policy}", target
    kind, _, name = target.partition("/")
    if kind not in KINDS:
        raise InvalidInputError(f'{setting}: "{kind}" is no kind (known: {", ".join(KINDS)})')
    found = [document for document in documents if _is(document, KINDS[kind], name)]
    if not found:
        known = ", ".join(sorted(_name(d) for d in documents if _is_kind(d, KINDS[kind]))) or "none"
        raise InvalidInputError(f'{setting}: there is no {kind} "{name}" (known: {known})')
    if not path:
        if setting.value is not None:
            raise InvalidInputError(f"{setting}: give a field after a colon, or =null to leave the {kind} out")
        return [document for document in documents if document not in found]
    for document in found:
        _set(document["spec"], path, setting)
    return documents


def _is_kind(document: Any, kind: Kind) -> bool:
    ours = isinstance(document, dict) and str(document.get("apiVersion", "")).startswith(f"{GROUP}/")
    return ours and document.get("kind") == kind.value


def _is(document: Any, kind: Kind, name: str) -> bool:
    return _is_kind(document, kind) and name in (_name(document), _name(document).rpartition("/")[2])


def _name(document: Any) -> str:
    metadata = document.get("metadata") or {"name": ""}
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata.get("name", ""))


def _set(spec: dict[str, Any], path: str, setting: Setting) -> None:
    """Change a field; its type follows what is there, since decimals are texts in resources."""
    if path == "order":
        spec["objectives"] = _order(setting)
        return
    head, _, objective = path.partition(".")
    if head == "tolerance":
        entries = [entry for entry in spec.get("objectives", []) if entry["name"] == objective]
        if not entries:
            known = ", ".join(entry["name"] for entry in spec.get("objectives", []))
            raise InvalidInputError(f'{setting}: the order has no "{objective}" (known: {known})')
        entries[0]["tolerancePercent"] = str(setting.value)
        return
    *parents, last = path.split(".")
    place: Any = spec
    for parent in parents:
        place = place[_number(place, parent, setting)] if isinstance(place, list) else place.setdefault(parent, {})
        if not isinstance(place, dict | list):
            raise InvalidInputError(f'{setting}: "{parent}" has no fields')
    key: Any = _number(place, last, setting) if isinstance(place, list) else last
    before = place[key] if isinstance(place, list) else place.get(key)
    place[key] = str(setting.value) if isinstance(before, str) and setting.value is not None else setting.value


def _number(entries: list[Any], text: str, setting: Setting) -> int:
    """The place of an entry of a list."""
    if not text.isdecimal() or int(text) >= len(entries):
        raise InvalidInputError(f'{setting}: "{text}" is no entry; the list has {len(entries)}, numbered from 0')
    return int(text)


def _order(setting: Setting) -> list[dict[str, str]]:
    """``Cost:3,Emissions:1,Delay``."""
    found = []
    for entry in str(setting.value).split(","):
        name, colon, tolerance = entry.strip().partition(":")
        found.append({"name": name} | ({"tolerancePercent": tolerance} if colon else {}))
    return found
