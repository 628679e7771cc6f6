"""What an optimisation gives back: the plan, what it is worth, what limits it and how it ended."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from green_llm.domain.instance import FloatArray


class Objective(StrEnum):
    """What a phase minimises; unit and formula as in the model."""

    COST = "cost"
    CARBON = "carbon"
    DELAY = "delay"
    EMISSIONS = "emissions"
    WATER = "water"

    @property
    def unit(self) -> str:
        """Unit of the objective's value."""
        return {"emissions": "kgCO2", "water": "L"}.get(self.value, "$")


@dataclass(frozen=True)
class Spent:
    """What executed slots have given up of one objective, in its unit."""

    optimum: float = 0.0
    """M = Σ |value of an executed slot in the phase's own optimum|."""
    excess: float = 0.0
    """E = Σ (value of the executed slot − that)."""


@dataclass(frozen=True)
class Tolerance:
    """How much of one objective may be given up for those after it."""

    relative: float = 0.001
    """Share of the optimum's absolute value."""
    absolute: float | None = None
    """In the objective's unit; counts instead of ``relative`` where given."""
    spent: Spent | None = None
    """What earlier solves have used: ``relative`` then holds over all of them, not afresh for each."""

    def budget(self, optimum: float) -> float:
        """The most this objective may be in later phases: o* + what may be given up."""
        if self.absolute is not None:
            return optimum + self.absolute
        fresh = self.relative * abs(optimum)
        return optimum + (fresh if self.spent is None else min(2.0 * fresh, max(0.0, self._left(optimum))))

    def follows(self, optimum: float) -> float:
        """D budget / d optimum."""
        if self.absolute is not None:
            return 1.0
        slope = math.copysign(self.relative, optimum) if optimum else 0.0
        if self.spent is None:
            return 1.0 + slope
        left = self._left(optimum)
        if left <= 0.0:
            return 1.0
        return 1.0 + (2.0 * slope if 2.0 * self.relative * abs(optimum) < left else slope)

    def _left(self, optimum: float) -> float:
        """Tol·(M + |o*|) − E."""
        spent = self.spent or Spent()
        return self.relative * (spent.optimum + abs(optimum)) - spent.excess


DEFAULT_TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Order:
    """A lexicographic order: objectives, each with its tolerance."""

    objectives: tuple[Objective, ...] = (Objective.COST, Objective.CARBON, Objective.DELAY)
    tolerances: tuple[Tolerance, ...] = ()

    def __post_init__(self) -> None:
        """Fill the tolerances that were left out with the default."""
        missing = len(self.objectives) - len(self.tolerances)
        object.__setattr__(self, "tolerances", self.tolerances + (DEFAULT_TOLERANCE,) * missing)


class Termination(StrEnum):
    """How an optimisation ended. Nothing else is ever read as success."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    """No plan keeps every limit; the plan is the least violation and the diagnosis says what clashes."""
    TIME_LIMIT = "time_limit"
    """The solver ran out of time; the plan is a whole, verified one, but not the optimum of every phase."""


class LimitKind(StrEnum):
    """The limits of the model, and the one reason for having no site at all."""

    WATER_CAP = "water_cap"
    CAPACITY = "capacity"
    GRID_LIMIT = "grid_limit"
    DELAY_LIMIT = "delay_limit"
    NO_ALLOWED_SITE = "no_allowed_site"


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which limit of its kind: names of the indices it has, None for those it has not."""

    site: str | None = None
    area: str | None = None
    query_class: str | None = None
    slot: int | None = None
    resource: str | None = None


@dataclass(frozen=True)
class ShadowPrice:
    """Total derivative of a phase's optimum by the limit: objective units per unit of the limit."""

    objective: Objective
    value: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A limit that binds in the finished plan or was priced in a phase."""

    limit: LimitKind
    where: Where
    used: float
    cap: float
    unit: str
    prices: tuple[ShadowPrice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A limit that no plan (or this plan) keeps, with numbers and in the user's words."""

    kind: LimitKind
    where: Where
    required: float
    available: float
    shortfall: float
    unit: str
    message: str


@dataclass(frozen=True)
class Phase:
    """One lexicographic phase."""

    objective: Objective
    optimum: float
    budget: float | None
    """None for the last phase."""
    lower_bound: float | None
    """None where none is known."""
    gap: float | None
    """(optimum − lower_bound) / max(|optimum|, scale·1e-9); None where no bound is known."""
    first_slot: float
    """The objective's value in slot 0 of this phase's own optimum."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Values:
    """What a plan is worth; computed from the plan without a solver."""

    cost: float
    """$, grid energy only."""
    carbon: float
    """$, carbon price times emissions."""
    delay: float
    """$, delay penalty."""
    emissions: float
    """kgCO2."""
    water: float
    """L."""
    energy: float
    """kWh of facility energy."""
    displaced_renewables_kwh: float
    """kWh of on-site renewables left unused because grid energy was cheaper than free."""

    def of(self, objective: Objective) -> float:
        """The value of one objective."""
        return float(getattr(self, objective.value))


@dataclass(frozen=True, eq=False)
class Plan:
    """Decisions only: whoever has it and the instance can recompute everything without a solver."""

    shares: FloatArray
    """x [I,J,K,T]; sums to 1 − unserved over the sites for every pair with demand."""
    grid_energy_kwh: FloatArray
    """P^g [J,T]."""
    unserved: FloatArray
    """u [I,K,T], share of the demand for which no site has room; 0 unless least violation."""

    def __post_init__(self) -> None:
        """Make every array read-only."""
        for array in (self.shares, self.grid_energy_kwh, self.unserved):
            array.flags.writeable = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """A plan with everything there is to say about it."""

    termination: Termination
    method: str
    """``decomposition`` (the fast path) or ``lexicographic`` (the whole programme), both exact; ``weighted``,
    ``least-violation`` or the baseline's name; the simple plan's name after a time limit in phase 1."""
    fallback_reason: str | None = None
    """Why the whole programme was solved instead of its decomposition; None where it was not."""
    plan: Plan
    values: Values
    phases: tuple[Phase, ...] = ()
    phases_not_reached: tuple[Objective, ...] = ()
    binding: tuple[Binding, ...] = ()
    diagnosis: tuple[Diagnosis, ...] = ()
    overload: tuple[Diagnosis, ...] = ()
    """What the routed weights x/(1−u) of a least-violation plan put on a site beyond its capacity or grid limit."""
    seconds: float = 0.0
    """From the parsed instance to the verified plan."""
    finishing_seconds: float = field(default=0.0)
    """Part of ``seconds`` spent on removing ties after the last phase."""
