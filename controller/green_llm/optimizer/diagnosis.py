"""When no plan keeps every limit: the least violation, which limits clash, and by how much.

Grid limits and capacities stay hard. In turn: as little demand unserved as can be, as little delay beyond the limits,
as little water beyond the cap; then the user's order. See "Never silently infeasible" in the model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Order, Plan
from green_llm.optimizer.coefficients import has_demand, is_fixed, may_serve, uniform_shares
from green_llm.optimizer.evaluate import best_grid_energy, facility_kwh, mean_delays, water_liters
from green_llm.optimizer.lexicographic import EXACT, Stage
from green_llm.optimizer.standard_form import StandardForm
from green_llm.optimizer.verify import Violation, check_loads, late_queries, no_allowed_site, water_short

NOTICEABLE = 1e-7
"""Smallest unserved share, and smallest excess relative to its limit, that is called a violation."""
SHORTEST_LIMIT_S = 1e-6
"""Delay excess is weighed by 1/Δ; a limit of zero counts as this."""


def violation_stages(form: StandardForm, water_scale: float) -> list[Stage]:
    """What is minimised before the user's order: Σ λ u, Σ λ e / Δ and the water excess."""
    instance, layout = form.instance, form.layout
    load = instance.demand[layout.areas, layout.classes, layout.slots]
    limits = instance.delay_limit[layout.areas, layout.classes][layout.delay_rows]
    late = load[layout.delay_rows] / np.maximum(limits, SHORTEST_LIMIT_S)
    stages = (
        ("unserved", "unserved", load, float(load.sum())),
        ("delay excess", "delay_excess", late, float(load.sum())),
        ("water excess", "water_excess", np.ones(1), instance.water_cap or water_scale),
    )
    found = []
    for name, part, values, scale in stages:
        coefficients = np.zeros(form.matrix.shape[1])
        coefficients[form.parts[part]] = values
        if values.size:
            found.append(Stage(name, coefficients, EXACT, scale))
    return found


def routed_shares(instance: Instance, plan: Plan) -> FloatArray:
    """What routes do with a least-violation plan, [I,J,K,T]: x / (1 − u); the weights in force where u = 1.

    Where those are not known either, equal shares over the sites the pair may use.
    """
    served = 1.0 - plan.unserved[:, None]
    resting = np.where(
        np.isnan(instance.current_shares)[..., None], uniform_shares(instance), instance.current_shares[..., None]
    )
    # A current share on a site that may not serve is leaving it at once.
    resting = np.where(may_serve(instance)[..., None], resting, 0.0)
    sums = resting.sum(axis=1, keepdims=True)
    resting = np.divide(resting, sums, out=np.zeros_like(resting), where=sums > 0)
    safe = np.where(served > NOTICEABLE, served, 1.0)
    return np.where(served > NOTICEABLE, plan.shares / safe, resting)


def overload(instance: Instance, plan: Plan, order: Order) -> tuple[Violation, ...]:
    """The capacities and grid limits that the routed shares exceed: what is too small, and by how much."""
    if plan.unserved.max(initial=0.0) <= NOTICEABLE:
        return ()
    shares = routed_shares(instance, plan)
    return tuple(check_loads(instance, shares, best_grid_energy(instance, shares, order)))


def clashes(instance: Instance, plan: Plan, overloaded: tuple[Violation, ...]) -> Iterator[Violation]:
    """Every limit the least-violation plan breaks, or would have to."""
    for i, k in np.argwhere(has_demand(instance) & ~may_serve(instance).any(axis=1)).tolist():
        yield no_allowed_site(instance, i, k)
    yield from overloaded
    yield from _late(instance, plan)
    if instance.water_cap is not None:
        used = float(water_liters(instance, facility_kwh(instance, plan.shares), plan.grid_energy_kwh).sum())
        if used > instance.water_cap + NOTICEABLE * max(1.0, instance.water_cap):
            yield water_short(instance, used)


def _late(instance: Instance, plan: Plan) -> Iterator[Violation]:
    """Each late pair once, in its worst slot."""
    served = 1.0 - plan.unserved
    delays = np.divide(mean_delays(instance, plan.shares), served, out=np.zeros_like(served), where=served > NOTICEABLE)
    limits = instance.delay_limit
    free = ~is_fixed(instance)
    worst = delays.max(axis=2)
    late = (
        free
        & np.isfinite(limits)
        & (worst > np.where(np.isfinite(limits), limits, 0.0) + NOTICEABLE * np.maximum(1.0, worst))
    )
    serving = may_serve(instance)
    for i, k in np.argwhere(late).tolist():
        t = int(delays[i, k].argmax())
        yield late_queries(instance, serving[i, :, k], i, k, t, float(delays[i, k, t]))
