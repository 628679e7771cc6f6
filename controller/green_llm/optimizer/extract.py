"""From the solver's columns to a plan: rounding removed, slots without demand filled."""

from __future__ import annotations

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Order, Plan
from green_llm.optimizer.coefficients import GRID_BASED, grid_prices
from green_llm.optimizer.evaluate import best_grid_energy, facility_kwh
from green_llm.optimizer.standard_form import StandardForm


def extract(form: StandardForm, columns: FloatArray) -> Plan:
    """The plan in a vector of columns."""
    return plan_of(form.instance, form.shares(columns), form.grid(columns), form.unserved(columns))


def plan_of(instance: Instance, shares: FloatArray, grid: FloatArray, unserved: FloatArray | None = None) -> Plan:
    """The plan of what a solver says: shares [I,J,K,T], grid energy [J,T], unserved [I,K,T].

    Shares are clipped to [0, 1] and made to sum to exactly 1 − unserved; grid energy follows them: both differ from
    what was given by the solver's tolerance at most.
    """
    unserved = np.zeros_like(instance.demand) if unserved is None else np.clip(unserved, 0.0, 1.0)
    shares = np.clip(shares, 0.0, 1.0)
    sums = shares.sum(axis=1)
    factor = np.divide(1.0 - unserved, sums, out=np.zeros_like(sums), where=sums > 0)
    shares *= factor[:, None]
    fill_idle_slots(instance, shares, unserved)
    return Plan(shares=shares, grid_energy_kwh=_grid(instance, grid, shares), unserved=unserved)


def with_shares(instance: Instance, shares: FloatArray, order: Order) -> Plan:
    """The plan of given shares [I,J,K,T] that sum to 1: grid energy is the best for them."""
    return Plan(
        shares=shares,
        grid_energy_kwh=best_grid_energy(instance, shares, order),
        unserved=np.zeros((len(instance.areas), len(instance.classes), instance.slots)),
    )


def fill_idle_slots(instance: Instance, shares: FloatArray, unserved: FloatArray) -> None:
    """Give slots without demand shares, in place: a group member's of the same slot, else the nearest slot's.

    Weights must say something in every slot, and demand may come after all.
    """
    busy = instance.demand > 0
    mates = {pair: [mate for mate in group if mate != pair] for group in instance.share_groups for pair in group}
    for i, k in np.argwhere(busy.any(axis=2) & ~busy.all(axis=2)).tolist():
        slots = np.nonzero(busy[i, k])[0]
        for t in np.nonzero(~busy[i, k])[0].tolist():
            nearest = (i, k, int(slots[np.abs(slots - t).argmin()]))
            a, b, s = next(((a, b, t) for a, b in mates.get((i, k), []) if busy[a, b, t]), nearest)
            shares[i, :, k, t], unserved[i, k, t] = shares[a, :, b, s], unserved[a, b, s]


def _grid(instance: Instance, grid: FloatArray, shares: FloatArray) -> FloatArray:
    """Grid energy [J,T] within what the shares need and use; the least where more of it gains nothing.

    Only a plan that is not finished has more there.
    """
    facility = facility_kwh(instance, shares)
    least = np.maximum(0.0, facility - instance.available_kwh)
    grid = np.clip(grid, least, np.maximum(least, np.minimum(facility, instance.grid_limit_kwh)))
    pays = np.logical_or.reduce([grid_prices(instance, objective) < 0 for objective in GRID_BASED])
    return np.where(pays, grid, least)
