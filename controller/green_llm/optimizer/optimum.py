"""What one phase is asked and what it answers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.optimizer.block_programme import Coupling
from green_llm.optimizer.limit_prices import Prices
from green_llm.optimizer.state import State
from green_llm.optimizer.units import Terms, Units


@dataclass(frozen=True, eq=False)
class Task:
    """What one optimum is asked of."""

    instance: Instance
    units: Units
    state: State
    rows: tuple[Coupling, ...]
    terms: Terms
    scale: float
    """Size of the objective, > 0."""
    deadline: float | None
    executor: Executor | None
    """Where HiGHS runs, several at a time; None: here, one after the other."""
    former: FloatArray = field(default_factory=lambda: np.empty(0))
    """Prices that the rows of the phase before had in it."""

    @property
    def unit(self) -> float:
        """The objective's mean term: what the solver's tolerance is relative to."""
        return self.scale / max(1, len(self.units.slots))

    def priced(self, multipliers: Iterable[float]) -> Terms:
        """The objective plus what is charged for the rows."""
        total = self.terms
        for price, row in zip(multipliers, self.rows, strict=True):
            total = total.plus(row.terms, float(price))
        return total


@dataclass(frozen=True, eq=False)
class Point:
    """Shares and grid energy of all slots."""

    shares: FloatArray
    """[U,J]."""
    grid: FloatArray
    """[J,T], kWh."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best point and the prices that prove it."""

    point: Point
    value: float
    bound: float
    prices: Prices
