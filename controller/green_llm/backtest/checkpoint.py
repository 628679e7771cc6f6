"""Where a replay is, in two files: so that it goes on after an interruption.

What has been kept is not written again: keeping takes as long in the last month of a year as in the first.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from green_llm.domain import ledger_file
from green_llm.domain.amounts import Ledger
from green_llm.domain.instance import FloatArray
from green_llm.domain.routes import Route, RouteKey
from green_llm.errors import StoreError


@dataclass
class State:
    """A replay on its way."""

    shares: FloatArray
    """[N, pairs, sites]; NaN beyond what is done."""
    seconds: FloatArray
    """[N]."""
    terminations: list[str] = field(default_factory=list)
    ledger: Ledger | None = None
    weights: Mapping[str, list[list[int]]] = field(default_factory=dict)
    """By route, by rule, in the order of its back-ends."""
    kept: int = 0
    """Intervals that are in the file."""

    @property
    def done(self) -> int:
        """Intervals that are decided."""
        return len(self.terminations)

    def note(self, number: int, termination: str, seconds: float) -> None:
        """Keep how an interval ended."""
        self.terminations.append(termination)
        self.seconds[number] = seconds

    def routes_on(self, routes: Mapping[RouteKey, Route]) -> dict[RouteKey, Route]:
        """The routes with the weights they had."""
        return {key: _with(route, self.weights.get(str(key))) for key, route in routes.items()}


def _with(route: Route, weights: list[list[int]] | None) -> Route:
    if weights is None:
        return route
    rules = [
        replace(rule, weights=dict(zip(rule.weights, found, strict=True)))
        for rule, found in zip(route.rules, weights, strict=True)
    ]
    return replace(route, rules=tuple(rules))


def begin(intervals: int, pairs: int, sites: int) -> State:
    """Nothing decided yet."""
    return State(np.full((intervals, pairs, sites), np.nan), np.zeros(intervals))


def save(path: Path, state: State, ledger: Ledger | None, routes: Mapping[RouteKey, Route]) -> None:
    """Keep a state: shares are added to a file beside ``path``, which is replaced whole and says how many of them count.

    Raises:
        StoreError: it cannot be written.
    """
    weights = {str(key): [list(rule.weights.values()) for rule in route.rules] for key, route in routes.items()}
    document = {
        "terminations": state.terminations,
        "seconds": state.seconds[: state.done].tolist(),
        "ledger": None if ledger is None else ledger_file.dump(ledger),
        "weights": weights,
    }
    try:
        with _shares_of(path).open("r+b" if state.kept else "wb") as file:
            # What another try at the same work has added meanwhile is the same: decisions repeat themselves.
            file.seek(state.kept * state.shares[:1].nbytes)
            file.write(state.shares[state.kept : state.done].tobytes())
    except OSError as error:
        raise _not_kept(path, error) from error
    write(path, document)
    state.kept = state.done


def write(path: Path, document: Any) -> None:
    """Keep a document, all or nothing.

    Raises:
        StoreError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise _not_kept(path, error) from error


def read(path: Path) -> Any:
    """A document that was kept; None where there is none.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def prepare(folder: Path) -> None:
    """Make the folder for states.

    Raises:
        StoreError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"{folder}: the state of the back-test cannot be kept: {error.strerror}; copy the directory to where one can write"
        ) from error


def load(path: Path, intervals: int, pairs: int, sites: int) -> State:
    """A state that was kept; one with nothing decided where there is none.

    Raises:
        StoreError: it is damaged.
    """
    state, document = begin(intervals, pairs, sites), read(path)
    if document is None:
        return state
    try:
        done = len(document["terminations"])
        state.shares[:done] = np.fromfile(_shares_of(path), count=done * pairs * sites).reshape(done, pairs, sites)
        state.seconds[:done] = document["seconds"]
        state.terminations, state.weights, state.kept = document["terminations"], document["weights"], done
        state.ledger = None if document["ledger"] is None else ledger_file.load(document["ledger"], str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    return state


def remove(path: Path) -> None:
    """Forget a state."""
    for file in (path, _shares_of(path)):
        file.unlink(missing_ok=True)


def _shares_of(path: Path) -> Path:
    return path.with_suffix(".shares")


def _not_kept(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: the state of the back-test cannot be kept: {error.strerror}; what is there stays for another try"
    )


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path}: the state of the back-test is damaged ({error}); delete it")
