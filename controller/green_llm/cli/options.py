"""Options that are small languages: orders, tolerances, weights, splits."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from green_llm.domain.plan import Objective, Order, Tolerance
from green_llm.errors import InvalidInputError, StoreError

DEFAULT_ORDER = "cost,carbon,delay"
_AMOUNT = re.compile(r"(?P<number>[0-9.eE+-]+)\s*(?P<unit>%|\$|kgCO2|kg|L)?")


def order_of(objectives: str, tolerance: str | None) -> Order:
    """``cost,carbon`` and ``0.001`` or ``cost=3%,carbon=5$`` as an order.

    Raises:
        InvalidInputError: an unknown or repeated objective, or a tolerance that cannot be read.
    """
    names = [_objective(name, "--objectives") for name in objectives.split(",")]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInputError(f"--objectives: {twice.value} is there more than once; name each objective once")
    if tolerance is None:
        return Order(tuple(names))
    if "=" not in tolerance:
        return Order(tuple(names), (_tolerance(tolerance, None),) * len(names))
    given: dict[Objective, Tolerance] = {}
    for entry in tolerance.split(","):
        name, _, amount = entry.partition("=")
        objective = _objective(name, "--tolerance")
        if objective not in names:
            raise InvalidInputError(f"--tolerance: {objective.value} is not among --objectives {objectives}")
        given[objective] = _tolerance(amount, objective)
    return Order(tuple(names), tuple(given.get(name, Tolerance()) for name in names))


def check_writable(path: Path | None, option: str) -> None:
    """A file that is written once the work is done: that it can be is tried before.

    Raises:
        InvalidInputError: it cannot be written, or its folder does not exist.
    """
    if path is None:
        return
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InvalidInputError(
            f"{option}: {path}: cannot be written: {error.strerror}; nothing was run, name a file in a folder that exists"
        ) from error


def write_page(path: Path, text: str) -> None:
    """Write a report.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"--report: {path}: cannot be written: {error.strerror}; what was run is kept: the same command writes it at once"
        ) from error


def weights_of(text: str, option: str = "--weighted") -> dict[Objective, float]:
    """``cost=1,carbon=2`` as weights on raw units.

    Raises:
        InvalidInputError: an unknown objective, or a weight that is no number or below 0.
    """
    return {_objective(name, option): value for name, value in numbers_of(text, option).items()}


def numbers_of(text: str, option: str) -> dict[str, float]:
    """``name=number,…`` as a mapping.

    Raises:
        InvalidInputError: something is not ``name=number`` with a number of at least 0.
    """
    found: dict[str, float] = {}
    for entry in text.split(","):
        name, equals, number = entry.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not equals or not 0 <= value < float("inf"):
            raise InvalidInputError(f'{option}: "{entry}" must be NAME=NUMBER with a number of at least 0')
        found[name.strip()] = value
    return found


def _objective(name: str, option: str) -> Objective:
    try:
        return Objective(name.strip())
    except ValueError:
        known = ", ".join(Objective)
        raise InvalidInputError(f'{option}: "{name}" is no objective (known: {known})') from None


def _tolerance(text: str, objective: Objective | None) -> Tolerance:
    """A share (``0.001``), per cent (``3%``) or an amount in the objective's unit (``5$``)."""
    match = _AMOUNT.fullmatch(text.strip())
    try:
        number = float(match["number"]) if match else -1.0
    except ValueError:
        number = -1.0
    if match is None or not 0 <= number < float("inf"):
        raise InvalidInputError(
            f'--tolerance: "{text}" must be a share (0.001), per cent (3%) or an amount (5$, 2kg, 10L)'
        )
    unit = match["unit"]
    if unit in (None, "%"):
        return Tolerance(relative=number / 100.0 if unit else number)
    if objective is None:
        raise InvalidInputError(f'--tolerance: the amount "{text}" needs an objective, such as cost={text}')
    if unit.removesuffix("CO2") != objective.unit.removesuffix("CO2"):
        raise InvalidInputError(f"--tolerance: {objective.value} is counted in {objective.unit}, not {unit}")
    return Tolerance(absolute=number)
