"""Coefficients of the model as arrays: what one full share costs, uses and takes. numpy only.

Axes as in ``domain.instance``: I areas, J sites, K classes, T slots, R resources.
"""

from __future__ import annotations

import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.domain.plan import Objective

GRID_BASED = (Objective.COST, Objective.CARBON, Objective.EMISSIONS)
"""Objectives whose only term is grid energy."""


def energy_per_query_kwh(instance: Instance) -> FloatArray:
    """P^d of one query: PUE_j (τ_in h + τ_out f), [J,K], kWh."""
    return np.asarray(instance.pue[:, None] * instance.energy_per_query)


def facility_energy_kwh(instance: Instance) -> FloatArray:
    """P^d of one full share, [I,J,K,T], kWh."""
    return energy_per_query_kwh(instance)[None, :, :, None] * instance.demand[:, None]


def delay_seconds(instance: Instance) -> FloatArray:
    """D of one full share: β λ (h+f)/B + d + v (h+f) λ, [I,J,K,T], s."""
    tokens = instance.demand * instance.tokens_per_query[:, None]
    transfer = (instance.token_size * tokens)[:, None] / instance.bandwidth[:, :, None, None]
    processing = instance.processing_delay[None, :, :, None] * tokens[:, None]
    return transfer + instance.network_delay[:, :, None, None] + processing


def mean_delay_seconds(
    instance: Instance, transfer: FloatArray, network: FloatArray, processing: FloatArray
) -> FloatArray:
    """D, [I,K,T], s, from Σ_j x / B, Σ_j x d and Σ_j x v of its shares; 0 where nothing arrives."""
    tokens = instance.demand * instance.tokens_per_query[:, None]
    found = instance.token_size * tokens * transfer + network + tokens * processing
    return np.asarray(np.where(instance.demand > 0, found, 0.0))


def resource_per_query(instance: Instance) -> FloatArray:
    """Use of resources by one query: α (h+f), [R,J,K], resource units."""
    return np.asarray(instance.resource_per_token.transpose(2, 0, 1) * instance.tokens_per_query)


def resource_use(instance: Instance, resource: int) -> FloatArray:
    """Use of one resource by one full share, [I,J,K,T], resource units."""
    return np.asarray(resource_per_query(instance)[resource][None, :, :, None] * instance.demand[:, None])


def grid_prices(instance: Instance, objective: Objective) -> FloatArray:
    """What one kWh of grid energy adds to an objective, [J,T], its unit per kWh."""
    match objective:
        case Objective.COST:
            return instance.electricity_price
        case Objective.CARBON:
            return instance.carbon_price[:, None] * instance.carbon_intensity
        case Objective.EMISSIONS:
            return instance.carbon_intensity
        case Objective.WATER:
            return instance.ewif if instance.offsite_water == "grid" else np.zeros_like(instance.ewif)
        case Objective.DELAY:
            return np.zeros_like(instance.electricity_price)


def water_per_facility_kwh(instance: Instance) -> FloatArray:
    """Litres per kWh of facility energy, [J,T]: WUE/PUE, and EWIF where it is charged on facility energy."""
    on_site = instance.wue / instance.pue[:, None]
    return on_site + instance.ewif if instance.offsite_water == "facility" else on_site


def has_demand(instance: Instance) -> BoolArray:
    """Pairs with demand in any slot, [I,K]."""
    found: BoolArray = np.any(instance.demand > 0, axis=2)
    return found


def is_fixed(instance: Instance) -> BoolArray:
    """Pairs whose shares are given, [I,K]."""
    found: BoolArray = ~np.any(np.isnan(instance.fixed_shares), axis=1)
    return found


def may_serve(instance: Instance) -> BoolArray:
    """Where a pair may have a share, [I,J,K]: allowed by every member of its group, or fixed there."""
    own: BoolArray = np.where(is_fixed(instance)[:, None, :], instance.fixed_shares > 0, instance.allowed)
    serving = own.copy()
    for group in instance.share_groups:
        areas, classes = (list(axis) for axis in zip(*group, strict=True))
        serving[areas, :, classes] = own[areas, :, classes].all(axis=0)
    return serving


def uniform_split(instance: Instance) -> FloatArray:
    """Equal shares over the sites a pair with demand may use (its fixed ones where it has them), [I,J,K]."""
    serving = may_serve(instance)
    counts = serving.sum(axis=1, keepdims=True)
    shares = np.divide(serving, counts, out=np.zeros(serving.shape), where=counts > 0)
    shares = np.where(np.isnan(instance.fixed_shares), shares, instance.fixed_shares)
    return np.asarray(shares * has_demand(instance)[:, None, :])


def uniform_shares(instance: Instance) -> FloatArray:
    """The same in every slot, [I,J,K,T]; 0 without any site."""
    return np.repeat(uniform_split(instance)[..., None], instance.slots, axis=3)


def scales(instance: Instance) -> dict[Objective, float]:
    """Size of each objective: Σ |coefficient · value| at the uniform split with P^g = max(0, P^d − P^w·slot_hours)."""
    split, demand = uniform_split(instance), instance.demand
    facility = np.tensordot(split * energy_per_query_kwh(instance), demand, axes=((0, 2), (0, 1)))
    grid = np.maximum(0.0, facility - instance.available_kwh)
    found = {o: float(np.abs(grid_prices(instance, o) * grid).sum()) for o in GRID_BASED}
    factors = (1.0 / instance.bandwidth[..., None], instance.network_delay[..., None], instance.processing_delay)
    mean_delay = mean_delay_seconds(instance, *((split * factor).sum(axis=1)[..., None] for factor in factors))
    found[Objective.DELAY] = float(np.abs(instance.delay_penalty[None, :, None] * mean_delay).sum())
    found[Objective.WATER] = float(
        np.abs(water_per_facility_kwh(instance) * facility).sum()
        + np.abs(grid_prices(instance, Objective.WATER) * grid).sum()
    )
    return found
