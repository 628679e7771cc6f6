"""What a plan uses and is worth, computed from its shares and grid energy without a solver."""

from __future__ import annotations

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Objective, Order, Plan, Values
from green_llm.optimizer.coefficients import (
    GRID_BASED,
    energy_per_query_kwh,
    grid_prices,
    mean_delay_seconds,
    resource_per_query,
    water_per_facility_kwh,
)


def served_queries(instance: Instance, shares: FloatArray) -> FloatArray:
    """Σ_i λ x, [J,K,T]."""
    queries: FloatArray = np.einsum("ikt,ijkt->jkt", instance.demand, shares)
    return queries


def facility_kwh(instance: Instance, shares: FloatArray) -> FloatArray:
    """P^d, [J,T], kWh."""
    energy: FloatArray = np.einsum("jk,jkt->jt", energy_per_query_kwh(instance), served_queries(instance, shares))
    return energy


def used_resources(instance: Instance, shares: FloatArray) -> FloatArray:
    """Σ α (h+f) λ x, [R,J,T], resource units."""
    use: FloatArray = np.einsum("rjk,jkt->rjt", resource_per_query(instance), served_queries(instance, shares))
    return use


def mean_delays(instance: Instance, shares: FloatArray) -> FloatArray:
    """D, [I,K,T], s; 0 where nothing arrives."""
    transfer = np.einsum("ij,ijkt->ikt", 1.0 / instance.bandwidth, shares)
    network = np.einsum("ij,ijkt->ikt", instance.network_delay, shares)
    return mean_delay_seconds(instance, transfer, network, np.einsum("jk,ijkt->ikt", instance.processing_delay, shares))


def water_liters(instance: Instance, facility: FloatArray, grid: FloatArray) -> FloatArray:
    """Litres, [J,T], from facility and grid energy [J,T], kWh."""
    return water_per_facility_kwh(instance) * facility + grid_prices(instance, Objective.WATER) * grid


def best_grid_energy(instance: Instance, shares: FloatArray, order: Order) -> FloatArray:
    """P^g [J,T], kWh, for given shares: as little as renewables allow, or as much as the site uses where that pays.

    The first non-zero price of grid energy in (the order, then cost, carbon, emissions) decides; see "Negative
    prices" in the model. What exceeds the grid limit is not cut: it is a broken limit.
    """
    facility = facility_kwh(instance, shares)
    least = np.maximum(0.0, facility - instance.available_kwh)
    most = np.maximum(least, np.minimum(facility, instance.grid_limit_kwh))
    decisive = np.zeros_like(least)
    for objective in (*order.objectives, *GRID_BASED):
        decisive = np.where(decisive == 0.0, grid_prices(instance, objective), decisive)
    return np.where(decisive < 0.0, most, least)


def slot_values(instance: Instance, plan: Plan, objective: Objective) -> FloatArray:
    """One objective of a plan by slot, [T], in its unit."""
    if objective is Objective.DELAY:
        delay: FloatArray = (instance.delay_penalty[None, :, None] * mean_delays(instance, plan.shares)).sum(
            axis=(0, 1)
        )
        return delay
    grid = plan.grid_energy_kwh
    if objective is Objective.WATER:
        water: FloatArray = water_liters(instance, facility_kwh(instance, plan.shares), grid).sum(axis=0)
        return water
    priced: FloatArray = (grid_prices(instance, objective) * grid).sum(axis=0)
    return priced


def values(instance: Instance, plan: Plan) -> Values:
    """All objectives of a plan, its energy and the renewables it displaces."""
    facility = facility_kwh(instance, plan.shares)
    grid = plan.grid_energy_kwh
    delays = mean_delays(instance, plan.shares)
    displaced = np.maximum(0.0, grid - np.maximum(0.0, facility - instance.available_kwh))
    return Values(
        **{objective.value: float((grid_prices(instance, objective) * grid).sum()) for objective in GRID_BASED},
        delay=float((instance.delay_penalty[None, :, None] * delays).sum()),
        water=float(water_liters(instance, facility, grid).sum()),
        energy=float(facility.sum()),
        displaced_renewables_kwh=float(displaced.sum()),
    )
