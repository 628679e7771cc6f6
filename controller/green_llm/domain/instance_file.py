"""Problem instances in files: ``green-llm-instance/1``, one JSON object. Reading checks everything once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from green_llm.domain.instance import FloatArray, Instance, Pair
from green_llm.errors import InvalidInstanceError

FORMAT = "green-llm-instance/1"
_AXES = {"I": "areas", "J": "sites", "K": "classes", "R": "resources"}
_ITEM = {"I": "area", "J": "site", "K": "class", "R": "resource", "T": "slot"}
# field: (axes, lowest value, highest value)
_NUMBERS: dict[str, tuple[str, float, float]] = {
    "demand": ("IKT", 0.0, math.inf),
    "input_tokens": ("K", 0.0, math.inf),
    "output_tokens": ("K", 0.0, math.inf),
    "delay_penalty": ("K", 0.0, math.inf),
    "energy_per_input_token": ("JK", 0.0, math.inf),
    "energy_per_output_token": ("JK", 0.0, math.inf),
    "electricity_price": ("JT", -math.inf, math.inf),
    "carbon_intensity": ("JT", 0.0, math.inf),
    "carbon_price": ("J", 0.0, math.inf),
    "renewable_power": ("JT", 0.0, math.inf),
    "grid_limit": ("JT", 0.0, math.inf),
    "pue": ("J", 1.0, math.inf),
    "wue": ("JT", 0.0, math.inf),
    "ewif": ("JT", 0.0, math.inf),
    "resource_capacity": ("RJ", 0.0, math.inf),
    "resource_per_token": ("JKR", 0.0, math.inf),
    "token_size": ("IKT", 0.0, math.inf),
    "bandwidth": ("IJ", 0.0, math.inf),
    "network_delay": ("IJ", 0.0, math.inf),
    "processing_delay": ("JK", 0.0, math.inf),
    "delay_limit": ("IK", 0.0, math.inf),
    "headroom": ("J", 0.0, 1.0),
    "fixed_shares": ("IJK", 0.0, 1.0),
    "current_shares": ("IJK", 0.0, 1.0),
}
_PER_SITE = {"energy_per_input_token", "energy_per_output_token", "resource_per_token"}
"""A file may leave out the site axis: one kind of hardware everywhere."""
_NULL_MEANS = {"bandwidth": math.inf, "delay_limit": math.inf, "fixed_shares": math.nan, "current_shares": math.nan}
_OPTIONAL: dict[str, float] = {"headroom": 0.0, "fixed_shares": math.nan, "current_shares": math.nan}
_OTHER = {"format", "name", "slot_hours", "slots", *_AXES.values(), "water_cap", "allowed", "share_groups"}
_FIELDS = _OTHER | set(_NUMBERS) | {"offsite_water"}


def read(path: Path) -> Instance:
    """The instance in a file.

    Raises:
        InvalidInstanceError: the file cannot be read, or a field is missing, misshapen or impossible; one message
            names file, field, index by its names, fault and what is expected.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInstanceError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise InvalidInstanceError(f"{path}: is not JSON: {error}; write one JSON object in {FORMAT}") from error
    return parse(document, str(path))


def parse(document: object, source: str = "instance") -> Instance:
    """The instance in a parsed JSON object; ``source`` begins every message. Raises as ``read`` does."""
    return _Parser(document, source).parse()


def dump(instance: Instance) -> dict[str, Any]:
    """The instance as the JSON object that ``parse`` reads back unchanged."""
    document: dict[str, Any] = {"format": FORMAT, "name": instance.name, "slot_hours": instance.slot_hours}
    document |= {"slots": instance.slots, "water_cap": instance.water_cap, "offsite_water": instance.offsite_water}
    document |= {name: list(getattr(instance, name)) for name in _AXES.values()}
    document |= {name: _finite(getattr(instance, name)) for name in _NUMBERS}
    document["allowed"] = instance.allowed.tolist()
    document["share_groups"] = [
        [[instance.areas[i], instance.classes[k]] for i, k in group] for group in instance.share_groups
    ]
    return document


def _finite(array: FloatArray) -> Any:
    """Nested lists with null for what is not finite."""
    plain: Any = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()


class _Parser:
    """Reads one document; every fault is raised with the source's name before it."""

    def __init__(self, document: object, source: str) -> None:
        self._source = source
        if not isinstance(document, Mapping):
            raise InvalidInstanceError(f"{source}: must be one JSON object in {FORMAT}")
        self._document = document
        self._names: dict[str, tuple[str, ...]] = {}

    def parse(self) -> Instance:
        unknown = sorted(set(self._document) - _FIELDS)
        if self._document.get("format") != FORMAT:
            raise self._fault("format", f'must be "{FORMAT}", not {json.dumps(self._document.get("format"))}')
        if unknown:
            raise self._fault(unknown[0], f"is not a field of {FORMAT} (known: {', '.join(sorted(_FIELDS))})")
        slots = self._scalar("slots", lambda value: isinstance(value, int) and value > 0, "a whole number above 0")
        slot_hours = self._scalar("slot_hours", lambda value: value > 0, "a number of hours above 0")
        self._names = {axis: self._name_list(name) for axis, name in _AXES.items()}
        self._names["T"] = tuple(str(t) for t in range(slots))
        numbers = {name: self._numbers(name) for name in _NUMBERS}
        if (numbers["bandwidth"] <= 0).any():
            raise self._at(
                "bandwidth", np.argwhere(numbers["bandwidth"] <= 0)[0], "must be above 0, or null for no limit"
            )
        instance = Instance(
            name=str(self._document.get("name", "")),
            slot_hours=float(slot_hours),
            slots=int(slots),
            areas=self._names["I"],
            sites=self._names["J"],
            classes=self._names["K"],
            resources=self._names["R"],
            water_cap=self._water_cap(),
            allowed=self._allowed(),
            share_groups=self._share_groups(),
            offsite_water=self._offsite_water(),
            **numbers,
        )
        self._check_pairs(instance)
        return instance

    def _fault(self, field: str, message: str) -> InvalidInstanceError:
        return InvalidInstanceError(f"{self._source}: {field}: {message}")

    def _at(self, field: str, index: Sequence[int], message: str, axes: str | None = None) -> InvalidInstanceError:
        """A fault at an index, named by its names: ``electricity_price: site "us-west1", slot 3: …``."""
        axes = axes or _NUMBERS[field][0]
        parts = [
            f"slot {n}" if axis == "T" else f'{_ITEM[axis]} "{self._names[axis][n]}"'
            for axis, n in zip(axes, index, strict=False)
        ]
        return self._fault(field, ", ".join(parts) + f": {message}")

    def _scalar(self, field: str, accepts: Callable[[Any], bool], expected: str) -> Any:
        if field not in self._document:
            raise self._fault(field, f"is missing; give {expected}")
        value = self._document[field]
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not accepts(value):
            raise self._fault(field, f"must be {expected}, not {json.dumps(value)}")
        return value

    def _name_list(self, field: str) -> tuple[str, ...]:
        names = self._document.get(field)
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise self._fault(field, "must be a list of names")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise self._fault(field, f'"{twice[0]}" is there more than once; names must differ')
        if not names and field != "resources":
            raise self._fault(field, "must name at least one")
        return tuple(names)

    def _numbers(self, field: str) -> FloatArray:
        axes, low, high = _NUMBERS[field]
        shape = tuple(len(self._names[axis]) for axis in axes)
        if self._document.get(field) is None:
            if field not in _OPTIONAL:
                raise self._fault(field, f"is missing; give numbers of shape {self._shape(axes)}")
            return np.full(shape, _OPTIONAL[field])
        value = self._document[field]
        if field in _PER_SITE and _depth(value) == len(axes) - 1:
            array = self._array(field, value, axes[1:])
            array = np.repeat(array[None], shape[0], axis=0)
        else:
            array = self._array(field, value, axes)
        possible = (array >= low) & (array <= high)
        if field in _OPTIONAL:
            possible |= np.isnan(array)
        if not possible.all():
            index = np.argwhere(~possible)[0]
            bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise self._at(field, index, f"must be {bounds}, not {array[tuple(index)]:g}")
        return array

    def _array(self, field: str, value: object, axes: str) -> FloatArray:
        """Nested lists as an array; on any fault a slower walk finds the index to name."""
        shape = tuple(len(self._names[axis]) for axis in axes)
        try:
            array = np.array(value, dtype=object if field in _NULL_MEANS else None)
        except ValueError:
            array = np.array(None)
        plain = array.shape == shape and (array.dtype.kind in "if" or field in _NULL_MEANS)
        if not plain or 0 in shape:
            self._walk(field, value, axes, ())
        if field in _NULL_MEANS:
            self._walk(field, value, axes, ())
            array = np.array([_NULL_MEANS[field] if entry is None else entry for entry in array.flat])
        numbers = array.reshape(shape).astype(np.float64)
        if field not in _NULL_MEANS and not np.isfinite(numbers).all():
            raise self._at(field, np.argwhere(~np.isfinite(numbers))[0], "must be a finite number", axes)
        return numbers

    def _walk(self, field: str, value: object, axes: str, index: tuple[int, ...]) -> None:
        """Raise at the first place that is not what the axes ask for."""
        if len(index) == len(axes):
            null = value is None and field in _NULL_MEANS
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number and not null:
                wish = "a finite number or null" if field in _NULL_MEANS else "a finite number"
                raise self._at(field, index, f"must be {wish}, not {json.dumps(value, default=str)}", axes)
            return
        axis = axes[len(index)]
        size = len(self._names[axis])
        if not isinstance(value, list) or len(value) != size:
            found = f"{len(value)} entries" if isinstance(value, list) else json.dumps(value, default=str)[:40]
            message = f"must be a list of {size} (one per {_ITEM[axis]}; shape {self._shape(axes)}), not {found}"
            raise self._at(field, index, message, axes) if index else self._fault(field, message)
        for n, entry in enumerate(value):
            self._walk(field, entry, axes, (*index, n))

    def _shape(self, axes: str) -> str:
        return "".join(f"[{len(self._names[axis])} {_ITEM[axis]}{'s' if axis != 'K' else 'es'}]" for axis in axes)

    def _water_cap(self) -> float | None:
        if "water_cap" not in self._document:
            raise self._fault("water_cap", "is missing; give litres, or null for no cap")
        if self._document["water_cap"] is None:
            return None
        return float(self._scalar("water_cap", lambda value: value >= 0, "litres, at least 0, or null for no cap"))

    def _allowed(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        shape = tuple(len(self._names[axis]) for axis in "IJK")
        value = self._document.get("allowed")
        if value is None:
            return np.ones(shape, dtype=bool)
        try:
            array = np.array(value)
        except ValueError:
            array = np.array(None)
        if array.dtype != bool or array.shape != shape:
            raise self._fault("allowed", f"must be true or false in the shape {self._shape('IJK')}")
        return array

    def _share_groups(self) -> tuple[tuple[Pair, ...], ...]:
        groups = self._document.get("share_groups") or []
        found: list[tuple[Pair, ...]] = []
        seen: set[Pair] = set()
        for n, group in enumerate(groups):
            pairs = []
            for entry in group:
                if not isinstance(entry, list) or len(entry) != 2:
                    raise self._fault("share_groups", f"group {n} must list pairs [area, class]")
                pair = (self._index("share_groups", "I", entry[0]), self._index("share_groups", "K", entry[1]))
                if pair in seen:
                    raise self._fault("share_groups", f"the pair {entry} is there more than once; join its groups")
                seen.add(pair)
                pairs.append(pair)
            found.append(tuple(pairs))
        return tuple(found)

    def _index(self, field: str, axis: str, name: object) -> int:
        if name not in self._names[axis]:
            known = ", ".join(self._names[axis])
            raise self._fault(field, f"{json.dumps(name)} is not one of the {_AXES[axis]} ({known})")
        return self._names[axis].index(str(name))

    def _offsite_water(self) -> Any:
        value = self._document.get("offsite_water", "facility")
        if value not in ("facility", "grid"):
            raise self._fault("offsite_water", f'must be "facility" or "grid", not {json.dumps(value)}')
        return value

    def _check_pairs(self, instance: Instance) -> None:
        """A pair's given shares are all null or sum to 1 (the weights in force may sum to less)."""
        for field, exact in (("fixed_shares", True), ("current_shares", False)):
            shares: FloatArray = getattr(instance, field)
            partly = np.isnan(shares).any(axis=1) & ~np.isnan(shares).all(axis=1)
            if partly.any():
                i, k = np.argwhere(partly)[0]
                raise self._at(field, (i, k), "give a number for every site, or null for every site", "IK")
            sums = shares.sum(axis=1)
            wrong = ~np.isnan(sums) & ((np.abs(sums - 1.0) > 1e-6) if exact else (sums > 1.0 + 1e-6))
            if wrong.any():
                i, k = np.argwhere(wrong)[0]
                raise self._at(field, (i, k), f"the shares sum to {sums[i, k]:g}; they must sum to 1", "IK")


def _depth(value: object) -> int:
    depth = 0
    while isinstance(value, list) and value:
        value, depth = value[0], depth + 1
    return depth
