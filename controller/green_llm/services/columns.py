"""What shares cost, emit and use, by site and class, as arrays. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from green_llm.domain.amounts import Amounts, SiteAmounts
from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import Order
from green_llm.domain.topology import Site
from green_llm.optimizer.coefficients import delay_seconds, facility_energy_kwh
from green_llm.optimizer.evaluate import best_grid_energy, facility_kwh

Columns = Mapping[str, FloatArray]
"""Every field of ``Amounts`` as an array, [J,T] or [J,K,T]; NaN where a signal has no value."""
SlotAmounts = tuple[dict[str, Amounts], bool]
"""Amounts of a whole slot by site, and whether a value was missing for some of the traffic."""


def slot_amounts(
    instance: Instance, shares: FloatArray, sites: Sequence[Site], order: Order, residual_kg_per_kwh: FloatArray
) -> list[SlotAmounts]:
    """Amounts of every slot, by site, for shares [I,J,K,T]; what has no value is left out and said."""
    return by_slot(instance, site_columns(instance, shares, sites, order, residual_kg_per_kwh))


def site_columns(
    instance: Instance,
    shares: FloatArray,
    sites: Sequence[Site],
    order: Order,
    residual_kg_per_kwh: FloatArray,
    measured: FloatArray | None = None,
) -> Columns:
    """Amounts of every site and slot, [J,T], for shares [I,J,K,T].

    On-site energy is without carbon, save by ``residual_kg_per_kwh`` [J,T] where its certificates are sold. ``measured``
    [I,K] is 1 where the shares are a gateway's.
    """
    facility = facility_kwh(instance, shares)
    grid = best_grid_energy(instance, shares, order)
    least = np.maximum(0.0, facility - instance.available_kwh)
    cost = instance.electricity_price * grid
    emissions = instance.carbon_intensity * grid
    on_site = instance.wue / instance.pue[:, None] * facility
    off_site = instance.ewif * grid
    market = np.array([np.nan if site.market_kg_per_kwh is None else site.market_kg_per_kwh for site in sites])
    own = {name: values.sum(axis=1) for name, values in own_columns(instance, shares, measured).items()}
    return {
        "cost_paid": np.maximum(0.0, cost),
        "cost_earned": np.maximum(0.0, -cost),
        "carbon_cost": instance.carbon_price[:, None] * emissions,
        "emissions_kg": emissions + residual_kg_per_kwh * (facility - grid),
        "water_on_site_l": on_site,
        "water_off_site_l": off_site,
        "water_weighted_l": _weighted_water(sites, on_site, off_site),
        "grid_energy_kwh": grid,
        "displaced_renewables_kwh": np.maximum(0.0, grid - least),
        "market_emissions_kg": market[:, None] * grid + residual_kg_per_kwh * (facility - grid),
        **own,
    }


def own_columns(instance: Instance, shares: FloatArray, measured: FloatArray | None = None) -> Columns:
    """What each class has of its own at every site, [J,K,T]; everything else is its site's."""
    arriving = shares * instance.demand[:, None]
    delays = delay_seconds(instance)
    energy = facility_energy_kwh(instance) * shares
    counted = np.zeros((len(instance.areas), len(instance.classes))) if measured is None else measured
    return {
        "energy_kwh": energy.sum(axis=0),
        "measured_kwh": np.einsum("ijkt,ik->jkt", energy, counted),
        "delay_penalty": np.einsum(
            "k,ijkt,ijkt->jkt", instance.delay_penalty, delays, np.where(instance.demand[:, None] > 0, shares, 0.0)
        ),
        "queries": arriving.sum(axis=0),
        "query_delay_s": np.einsum("ijkt,ijkt->jkt", delays, arriving),
        "tokens": arriving.sum(axis=0) * instance.tokens_per_query[None, :, None],
    }


def class_columns(
    instance: Instance, shares: FloatArray, sites: Columns, measured: FloatArray | None = None
) -> Columns:
    """Amounts of every class at every site, [J,K,T]: a site's are shared by facility energy, and sums equal them."""
    own = own_columns(instance, shares, measured)
    energy = own["energy_kwh"]
    whole = energy.sum(axis=1, keepdims=True)
    part = np.divide(energy, whole, out=np.zeros_like(energy), where=whole > 0)
    return {name: own.get(name, part * values[:, None]) for name, values in sites.items()}


def by_slot(instance: Instance, columns: Columns) -> list[SlotAmounts]:
    """Amounts [J,T] slot by slot."""
    needed = [columns[name] for name in ("cost_paid", "emissions_kg", "water_on_site_l", "water_off_site_l")]
    missing = np.isnan(np.array(needed)).any(axis=0) & (columns["energy_kwh"] > 0)
    known = {name: np.nan_to_num(values, nan=0.0) for name, values in columns.items()}
    return [
        (
            {
                site: Amounts(**{name: float(values[j, t]) for name, values in known.items()})
                for j, site in enumerate(instance.sites)
            },
            bool(missing[:, t].any()),
        )
        for t in range(instance.slots)
    ]


def _weighted_water(sites: Sequence[Site], on_site: FloatArray, off_site: FloatArray) -> FloatArray:
    near = np.array([site.scarcity_on_site for site in sites])[:, None]
    far = np.array([site.scarcity_off_site for site in sites])[:, None]
    weighted: FloatArray = near * on_site + far * off_site
    return weighted


def per_hour(amounts: SiteAmounts, slot_hours: float) -> dict[str, Amounts]:
    """Amounts of a slot as rates per hour."""
    return {site: amount.scaled(1.0 / slot_hours) for site, amount in amounts.items()}
