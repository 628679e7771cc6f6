"""What a plan is compared with, on the same instance."""

from __future__ import annotations

import time

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Order, Result, Termination
from green_llm.errors import InvalidInputError
from green_llm.optimizer.coefficients import has_demand, may_serve, uniform_shares
from green_llm.optimizer.evaluate import values
from green_llm.optimizer.extract import with_shares
from green_llm.optimizer.verify import check


def nearest_shares(instance: Instance) -> FloatArray:
    """Every pair at its site of lowest network delay (ties by name), [I,J,K,T]; fixed pairs as they are given."""
    serving = may_serve(instance)
    by_name = np.argsort(np.array(instance.sites, dtype=object), kind="stable")
    delay = np.where(serving, instance.network_delay[..., None], np.inf)[:, by_name]
    site = by_name[delay.argmin(axis=1)]
    shares = np.zeros(serving.shape)
    np.put_along_axis(shares, site[:, None, :], 1.0, axis=1)
    shares = np.where(np.isnan(instance.fixed_shares), shares * serving, instance.fixed_shares)
    return np.repeat((shares * has_demand(instance)[:, None, :])[..., None], instance.slots, axis=3)


def fixed_split(instance: Instance, method: str, shares: FloatArray, order: Order | None = None) -> Result:
    """A given split, valued and never repaired: its broken limits stand beside its values."""
    begun = time.perf_counter()
    plan = with_shares(instance, shares, order or Order())
    broken = tuple(violation.diagnosis() for violation in check(instance, plan) if violation.is_limit)
    return Result(
        termination=Termination.INFEASIBLE if broken else Termination.OPTIMAL,
        method=method,
        plan=plan,
        values=values(instance, plan),
        diagnosis=broken,
        seconds=time.perf_counter() - begun,
    )


def nearest(instance: Instance, order: Order | None = None) -> Result:
    """Every query to its nearest site."""
    return fixed_split(instance, "nearest", nearest_shares(instance), order)


def uniform(instance: Instance, order: Order | None = None) -> Result:
    """Every query to every allowed site alike."""
    return fixed_split(instance, "uniform", uniform_shares(instance), order)


def static(instance: Instance, split: dict[str, float], order: Order | None = None) -> Result:
    """One given split over the sites, the same for every pair and slot.

    Raises:
        InvalidInputError: an unknown site, or shares that do not sum to 1.
    """
    unknown = sorted(set(split) - set(instance.sites))
    if unknown:
        raise InvalidInputError(f'static split: "{unknown[0]}" is no site (known: {", ".join(instance.sites)})')
    if min(split.values()) < 0 or abs(sum(split.values()) - 1.0) > 1e-9:
        raise InvalidInputError(f"static split: shares must be at least 0 and sum to 1, not {sum(split.values()):g}")
    shares = np.array([split.get(site, 0.0) for site in instance.sites])
    demanded = has_demand(instance)[:, None, :, None]
    every = np.broadcast_to(
        shares[None, :, None, None] * demanded,
        (len(instance.areas), len(instance.sites), len(instance.classes), instance.slots),
    )
    return fixed_split(instance, "static", every.copy(), order)
