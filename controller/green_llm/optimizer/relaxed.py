"""The least violation on the fast path: an instance with one more site, *nowhere*, for what is not served.

A query there takes no energy, no resource and no time but its own limit, so Σ_j x + u = 1 and D + Δ u ≤ Δ + e are rows
like all others. The energy of nowhere stands for queries, so Σ λ u is an objective like water. What is minimised first
is in ``diagnosis``; each is kept by its face.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective
from green_llm.optimizer.block_programme import Coupling
from green_llm.optimizer.coefficients import facility_energy_kwh, has_demand, is_fixed
from green_llm.optimizer.diagnosis import SHORTEST_LIMIT_S
from green_llm.optimizer.ended import LimitDuals
from green_llm.optimizer.lexicographic import EXACT
from green_llm.optimizer.optimum import Optimum
from green_llm.optimizer.planner import CannotError, Goal, Planned, Planner, Solve
from green_llm.optimizer.running import NoSolutionError, TimeIsUpError
from green_llm.optimizer.solver import FIXING_THRESHOLD
from green_llm.optimizer.units import Limits, Terms, Triples, Units, loose_units, terms_of

NOWHERE = ""
"""No site has this name."""


def least_violation(
    planner: Planner,
    instance: Instance,
    goals: Sequence[Goal],
    scales: dict[Objective, float],
    deadline: float | None,
    progress: Callable[[str], None] | None,
) -> Planned:
    """As ``Planner.plan`` of an instance ``with_nowhere``, where no plan keeps every limit.

    Raises:
        TimeIsUpError: before it was known what has to be broken.
        StoppedError: this needs the whole programme.
    """
    with planner.executor() as executor:
        return _Relaxed(planner, instance, tuple(goals), scales, deadline, executor).run(progress)


class _Relaxed(Solve):
    """A solve that minimises what is broken before anything else."""

    begins = ("least violation",)

    def prepared(self) -> Triples:
        """Queries are the energy of nowhere, in as many kWh as a mean one takes elsewhere."""
        found, instance = super().prepared(), self.instance
        load = instance.demand[found.areas, found.classes, found.slots]
        mean = float(found.energy.sum()) / (max(float(load.sum()), 1e-300) * (len(instance.sites) - 1))
        self.kwh_per_query = max(mean, 1e-12)
        found.energy[:, -1] = np.where(found.fixed, 0.0, load * self.kwh_per_query)
        found.use[:, :, -1] = 0.0
        limits = instance.delay_limit[found.areas, found.classes]
        found.seconds[:, -1] = np.where(np.isfinite(limits), limits, 0.0)
        self.load = load
        return found

    def grouped(self, *, merged: bool) -> Units:
        """What is unserved waits for no answer."""
        found = super().grouped(merged=merged)
        found.delay[:, -1] = 0.0
        return found

    def run(self, progress: Callable[[str], None] | None) -> Planned:
        """What is broken, then all phases."""
        if not len(self.single.slots):
            raise CannotError("there is nothing to steer")
        self.rows = ()
        size = float(self.load.sum())
        for name, step in (
            ("unserved", self._serve),
            ("delay excess", self._keep_delays),
            ("water excess", self._save),
        ):
            if progress is not None:
                progress(f"least violation: {name}")
            try:
                step(name, size)
            except NoSolutionError:
                raise CannotError("fixed shares alone exceed a limit") from None
        try:
            return super().run(progress)
        except TimeIsUpError:
            return self.planned(None)

    def duals(self, goal: Goal, optimum: Optimum) -> LimitDuals:
        """Of the limits of sites."""
        found = super().duals(goal, optimum)
        return LimitDuals(found.water, found.capacity[:, :-1], found.grid[:-1], found.delay)

    def _serve(self, name: str, size: float) -> None:
        """Leave as little unserved as can be: without delay limits, which may be exceeded, areas merge."""
        later = self.merged or self.single
        together = loose_units(self.instance, self.triples)
        self.units = replace(together, triples=self.triples, limits=Limits.of(self.instance, self.triples))
        facility = np.zeros_like(self.instance.electricity_price)
        facility[-1] = 1.0 / self.kwh_per_query
        least = self.keep_least(Goal(name, Terms(0.0, facility, np.zeros_like(facility)), EXACT, size))
        if self.triples.fixed.any() and least > FIXING_THRESHOLD * size:
            raise CannotError("demand with fixed shares may have to be left unserved")
        self.use(later)

    def _keep_delays(self, name: str, size: float) -> None:
        """Then exceed delay limits by as little as can be."""
        if not len(self.units.limited):
            return
        late = self.load / np.maximum(self.triples.limit, SHORTEST_LIMIT_S)
        self.keep_least(Goal(name, replace(Terms.none(self.instance), late=late), EXACT, size))

    def _save(self, name: str, _size: float) -> None:
        """Then the water cap: a row as ever, if it can be kept."""
        cap = self.instance.water_cap
        if cap is None:
            return
        scale = cap or self.scales[Objective.WATER] or 1.0
        water = Goal(name, terms_of(self.instance, Objective.WATER), EXACT, self.scales[Objective.WATER])
        task, optimum = self.minimised((name,), water)
        self.point = optimum.point
        if optimum.value <= cap + FIXING_THRESHOLD * scale:
            self.rows = (Coupling(water.terms, max(cap, optimum.value), water.scale_or_1),)
        else:
            self.hold(task, optimum)


def with_nowhere(instance: Instance) -> Instance:
    """The instance with a site more that costs, emits and takes nothing, and that every pair may use."""
    fixed = np.where(is_fixed(instance), 0.0, np.nan)
    added: dict[str, FloatArray] = {}
    for name in ("carbon_price", "headroom"):
        added[name] = np.append(getattr(instance, name), 0.0)
    added["pue"] = np.append(instance.pue, 1.0)
    for name in (
        "electricity_price", "carbon_intensity", "wue", "ewif", "grid_limit", "energy_per_input_token",
        "energy_per_output_token", "processing_delay", "resource_per_token",
    ):  # fmt: skip
        added[name] = _longer(getattr(instance, name), 0.0, 0)
    # More than all demand could fill.
    added["renewable_power"] = _longer(
        instance.renewable_power, (1.0 + float(facility_energy_kwh(instance).sum())) / instance.slot_hours, 0
    )
    for name, value in (("resource_capacity", 0.0), ("bandwidth", np.inf), ("network_delay", 0.0)):
        added[name] = _longer(getattr(instance, name), value, 1)
    added["current_shares"] = _longer(instance.current_shares, np.nan, 1)
    return replace(
        instance,
        sites=(*instance.sites, NOWHERE),
        allowed=np.concatenate([instance.allowed, has_demand(instance)[:, None]], axis=1),
        fixed_shares=np.concatenate([instance.fixed_shares, fixed[:, None]], axis=1),
        **added,  # type: ignore[arg-type]
    )


def _longer(array: FloatArray, value: float, axis: int) -> FloatArray:
    """One more entry along an axis."""
    shape = [1 if n == axis else size for n, size in enumerate(array.shape)]
    return np.concatenate([array, np.full(shape, value)], axis=axis)
