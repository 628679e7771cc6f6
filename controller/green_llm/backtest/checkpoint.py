"""Where a replay is, as one file: so that it goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

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
    """Keep a state, all or nothing.

    Raises:
        StoreError: it cannot be written.
    """
    weights = {str(key): [list(rule.weights.values()) for rule in route.rules] for key, route in routes.items()}
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                shares=state.shares,
                seconds=state.seconds,
                terminations=np.array(json.dumps(state.terminations)),
                ledger=np.array("" if ledger is None else ledger_file.dump(ledger)),
                weights=np.array(json.dumps(weights)),
            )
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: the state of the back-test cannot be kept: {error}") from error


def load(path: Path | None) -> State | None:
    """A state that was kept; None where there is none.

    Raises:
        StoreError: it is damaged.
    """
    if path is None or not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            ledger = str(file["ledger"])
            return State(
                shares=file["shares"],
                seconds=file["seconds"],
                terminations=json.loads(str(file["terminations"])),
                ledger=ledger_file.load(ledger, str(path)) if ledger else None,
                weights=json.loads(str(file["weights"])),
            )
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path}: the state of the back-test is damaged ({error}); delete it") from error
