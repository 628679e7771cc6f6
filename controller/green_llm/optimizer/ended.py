"""What a phase ended with, whichever way it was solved: the optimum, its bound, and the dual of every limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Tolerance

BINDS = 1e-6
"""A limit binds where less than this share of it is left."""


@dataclass(frozen=True, eq=False)
class LimitDuals:
    """Derivatives of an optimum by the limits, ≤ 0: objective units per unit of the limit."""

    water: float
    """Per L."""
    capacity: FloatArray
    """[R,J,T], per resource unit."""
    grid: FloatArray
    """[J,T], per kWh."""
    delay: FloatArray
    """[I,K,T], per s."""

    @classmethod
    def none(cls, instance: Instance) -> LimitDuals:
        """No limit has a price."""
        areas, sites, classes, slots = (len(instance.areas), len(instance.sites), len(instance.classes), instance.slots)
        return cls(
            0.0,
            np.zeros((len(instance.resources), sites, slots)),
            np.zeros((sites, slots)),
            np.zeros((areas, classes, slots)),
        )

    def plus(self, other: LimitDuals, times: float) -> LimitDuals:
        """These plus a multiple of others."""
        return LimitDuals(
            self.water + times * other.water,
            self.capacity + times * other.capacity,
            self.grid + times * other.grid,
            self.delay + times * other.delay,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PhaseEnd:
    """A phase that ended optimal."""

    name: str
    tolerance: Tolerance
    scale: float
    optimum: float
    first_slot: float
    """What slot 0 adds to it."""
    lower_bound: float
    seconds: float
    duals: LimitDuals
    """Of the phase alone."""
    budgets: tuple[float, ...]
    """Dual of the budget row of each earlier phase; 0 where that phase is kept by fixing."""

    @property
    def budget(self) -> float:
        """What later phases may use."""
        return self.tolerance.budget(self.optimum)

    @property
    def scale_or_1(self) -> float:
        """The scale; 1 where the objective is 0 everywhere."""
        return self.scale or 1.0
