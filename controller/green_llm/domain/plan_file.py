"""Plans in files: ``green-llm-plan/1``, one JSON object with the decisions and nothing else."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Plan
from green_llm.errors import InvalidInputError

FORMAT = "green-llm-plan/1"


def dump(plan: Plan) -> dict[str, Any]:
    """The plan as a JSON object: shares [I][J][K][T], grid_energy_kwh [J][T], unserved [I][K][T]."""
    return {
        "format": FORMAT,
        "shares": plan.shares.tolist(),
        "grid_energy_kwh": plan.grid_energy_kwh.tolist(),
        "unserved": plan.unserved.tolist(),
    }


def parse(document: object, instance: Instance, source: str = "plan") -> Plan:
    """The plan in a parsed JSON object, of the instance's shape.

    Raises:
        InvalidInputError: names the field that is missing or misshapen.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise InvalidInputError(f'{source}: format: must be "{FORMAT}"; write plans with `green-llm solve --plan`')
    areas, sites, classes = len(instance.areas), len(instance.sites), len(instance.classes)
    return Plan(
        shares=_array(document, "shares", (areas, sites, classes, instance.slots), source),
        grid_energy_kwh=_array(document, "grid_energy_kwh", (sites, instance.slots), source),
        unserved=_array(document, "unserved", (areas, classes, instance.slots), source),
    )


def read(path: Path, instance: Instance) -> Plan:
    """The plan in a file. Raises as ``parse``, and where the file is not readable JSON."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise InvalidInputError(f"{path}: is not JSON: {error}") from error
    return parse(document, instance, str(path))


def write(path: Path, plan: Plan) -> None:
    """Write a plan to a file, whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            json.dump(dump(plan), file)
        os.replace(file.name, path)  # noqa: PTH105 - the one atomic rename
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written: {error.strerror}; check the path") from error


def _array(document: Mapping[str, Any], field: str, shape: tuple[int, ...], source: str) -> FloatArray:
    try:
        array = np.array(document.get(field), dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.shape != shape or not np.isfinite(array).all():
        raise InvalidInputError(
            f"{source}: {field}: must be finite numbers of shape {list(shape)}, not {list(array.shape)}"
        )
    return array
