"""Instances for tests: small ones to work by hand, random ones that are feasible by construction."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.optimizer.coefficients import delay_seconds, may_serve
from green_llm.optimizer.evaluate import facility_kwh, mean_delays, used_resources, water_liters

SHAPES = {
    "demand": "IKT", "input_tokens": "K", "output_tokens": "K", "delay_penalty": "K",
    "energy_per_input_token": "JK", "energy_per_output_token": "JK", "electricity_price": "JT",
    "carbon_intensity": "JT", "carbon_price": "J", "renewable_power": "JT", "grid_limit": "JT", "pue": "J",
    "wue": "JT", "ewif": "JT", "resource_capacity": "RJ", "resource_per_token": "JKR", "token_size": "IKT",
    "bandwidth": "IJ", "network_delay": "IJ", "processing_delay": "JK", "delay_limit": "IK", "allowed": "IJK",
    "fixed_shares": "IJK", "current_shares": "IJK", "headroom": "J",
}  # fmt: skip
"""Axes of every array of an instance."""
PLAIN: dict[str, Any] = {
    "demand": 100.0, "input_tokens": 1.0, "output_tokens": 0.0, "delay_penalty": 1.0,
    "energy_per_input_token": 0.01, "energy_per_output_token": 0.0, "electricity_price": 0.1,
    "carbon_intensity": 0.4, "carbon_price": 0.05, "renewable_power": 0.0, "grid_limit": 1000.0, "pue": 1.0,
    "wue": 0.0, "ewif": 0.0, "resource_capacity": 1e6, "resource_per_token": 1.0, "token_size": 0.0,
    "bandwidth": np.inf, "network_delay": 0.01, "processing_delay": 0.0, "delay_limit": np.inf, "allowed": True,
    "fixed_shares": np.nan, "current_shares": np.nan, "headroom": 0.0,
}  # fmt: skip
"""One full share is 100 queries, 100 tokens, 1 kWh, 0.10 $, 0.4 kg, 0.02 $ of carbon, no water and 10 ms."""


def an_instance(
    *, areas: int = 1, sites: int = 2, classes: int = 1, slots: int = 1, resources: int = 1, **overrides: Any
) -> Instance:
    """A plain instance of a size; overrides of arrays are broadcast to their shape, others taken as they are."""
    size = {"I": areas, "J": sites, "K": classes, "T": slots, "R": resources}
    unknown = set(overrides) - {field.name for field in fields(Instance)}
    if unknown:
        raise TypeError(f"Instance has no {sorted(unknown)}")
    arrays = {name: overrides.pop(name, value) for name, value in PLAIN.items()}
    return Instance(
        **{"name": "test", "slot_hours": 1.0, "slots": slots, "water_cap": None}
        | {
            name: tuple(f"{item}-{n}" for n in range(count))
            for name, item, count in (
                ("areas", "area", areas), ("sites", "site", sites),
                ("classes", "class", classes), ("resources", "resource", resources),
            )
        }
        | {
            name: np.broadcast_to(np.asarray(value), [size[a] for a in SHAPES[name]]).copy()
            for name, value in arrays.items()
        }
        | overrides
    )  # fmt: skip


def changed(instance: Instance, **overrides: Any) -> Instance:
    """A copy with other fields."""
    return replace(instance, **overrides)


def random_instance(
    seed: int,
    *,
    areas: int = 3,
    sites: int = 3,
    classes: int = 2,
    slots: int = 3,
    resources: int = 2,
    plain: bool = False,
) -> Instance:
    """A feasible random instance whose limits are close to what one random split uses.

    Unless ``plain``: some demand is zero, some sites are not allowed, one pair is fixed, two share a rule, sites keep
    headroom, and any of water cap, delay limit and negative prices may be there.
    """
    rng = np.random.default_rng(seed)
    i, j, k, t, r = areas, sites, classes, slots, resources
    free = an_instance(
        areas=i, sites=j, classes=k, slots=t, resources=r,
        slot_hours=float(rng.choice([0.25, 1.0])),
        demand=rng.uniform(100, 1000, (i, k, t)),
        input_tokens=rng.uniform(50, 500, k),
        output_tokens=rng.uniform(50, 300, k),
        delay_penalty=rng.uniform(0.5, 2, k),
        energy_per_input_token=rng.uniform(1e-6, 3e-6, (j, k)),
        energy_per_output_token=rng.uniform(5e-6, 2e-5, (j, k)),
        electricity_price=rng.uniform(0.03, 0.3, (j, t)),
        carbon_intensity=rng.uniform(0.05, 0.8, (j, t)),
        carbon_price=rng.uniform(0.02, 0.2, j),
        renewable_power=rng.uniform(0, 4, (j, t)) * (rng.random((j, t)) < 0.6),
        pue=rng.uniform(1.05, 1.6, j),
        wue=rng.uniform(0, 2, (j, t)),
        ewif=rng.uniform(0.5, 3, (j, t)),
        resource_per_token=rng.uniform(0.1, 1, (j, k, r)),
        token_size=rng.uniform(0.003, 0.005, (i, k, t)),
        bandwidth=rng.uniform(1e5, 4e5, (i, j)),
        network_delay=rng.uniform(0.005, 0.1, (i, j)),
        processing_delay=rng.uniform(1e-8, 1e-7, (j, k)),
        offsite_water=str(rng.choice(["facility", "grid"])),
    )  # fmt: skip
    if not plain:
        free = _with_options(free, rng)
    return _limited(free, rng, water=plain or rng.random() < 0.7, delay=plain or rng.random() < 0.7)


def _with_options(instance: Instance, rng: np.random.Generator) -> Instance:
    i, j, k, t = len(instance.areas), len(instance.sites), len(instance.classes), instance.slots
    allowed = rng.random((i, j, k)) < 0.8
    allowed[:, 0] = True
    fixed = np.full((i, j, k), np.nan)
    fixed[0, :, 0] = rng.dirichlet(np.ones(j))
    pairs = [(a, b) for a in range(i) for b in range(k) if (a, b) != (0, 0)]
    return changed(
        instance,
        demand=instance.demand * (rng.random((i, k, t)) < 0.85),
        allowed=allowed,
        fixed_shares=fixed,
        share_groups=(tuple(pairs[:2]),) if len(pairs) > 1 else (),
        headroom=rng.uniform(0, 0.3, j),
        electricity_price=np.where(rng.random((j, t)) < 0.3, -1.0, 1.0) * instance.electricity_price,
    )


def _limited(instance: Instance, rng: np.random.Generator, *, water: bool, delay: bool) -> Instance:
    """With limits a little above what one random split needs."""
    shares = random_split(instance, rng)
    facility = facility_kwh(instance, shares)
    grid = np.maximum(0.0, facility - instance.available_kwh)
    used = used_resources(instance, shares).max(axis=2)
    delays = mean_delays(instance, shares).max(axis=2)
    most = used_resources(instance, may_serve(instance)[..., None] * np.ones(instance.slots)).max(axis=2)
    return changed(
        instance,
        grid_limit=(1.2 * grid + 0.1) / instance.slot_hours,
        resource_capacity=(1.1 * used + 0.02 * most + 1.0) / (1.0 - instance.headroom),
        water_cap=1.02 * float(water_liters(instance, facility, grid).sum()) if water else None,
        delay_limit=np.where(delays > 0, 1.05 * delays, np.inf) if delay else instance.delay_limit,
    )


def random_split(instance: Instance, rng: np.random.Generator) -> FloatArray:
    """Shares [I,J,K,T] that respect demand, allowed and fixed sites and groups."""
    serving = may_serve(instance)
    raw = rng.uniform(0.1, 1.0, (*serving.shape, instance.slots)) * serving[..., None]
    for group in instance.share_groups:
        first = group[0]
        for a, b in group[1:]:
            raw[a, :, b] = raw[first[0], :, first[1]]
    shares = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-300)
    shares = np.where(np.isnan(instance.fixed_shares)[..., None], shares, instance.fixed_shares[..., None])
    return np.asarray(shares * (instance.demand > 0)[:, None])


def paper_size(seed: int = 0) -> Instance:
    """9 areas, 9 sites, 5 classes, 24 hours: the size of the paper's study, with limits as loose as there.

    Demand follows the hour; capacities leave about a third free when everything is spread evenly, and no mean delay
    comes near its limit.
    """
    rng = np.random.default_rng(seed)
    i, j, k, t, r = 9, 9, 5, 24, 3
    hour = np.arange(t)
    daily = 0.6 + 0.4 * np.sin((hour - 9) / 24 * 2 * np.pi)
    sun = np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)
    base = an_instance(
        areas=i, sites=j, classes=k, slots=t, resources=r,
        demand=np.round(rng.uniform(300, 1200, (i, k, 1)) * daily * rng.uniform(0.9, 1.1, (i, k, t))),
        input_tokens=rng.uniform(50, 2000, k),
        output_tokens=rng.uniform(100, 800, k),
        delay_penalty=rng.uniform(0.5, 3, k),
        energy_per_input_token=np.broadcast_to(rng.uniform(1e-6, 4e-6, k), (j, k)),
        energy_per_output_token=np.broadcast_to(rng.uniform(5e-6, 3e-5, k), (j, k)),
        electricity_price=rng.uniform(0.04, 0.12, (j, 1)) * rng.uniform(0.7, 1.4, (j, t)),
        carbon_intensity=rng.uniform(0.08, 0.6, (j, 1)) * rng.uniform(0.85, 1.15, (j, t)),
        carbon_price=rng.uniform(0.02, 0.08, j),
        pue=rng.uniform(1.08, 1.2, j),
        wue=rng.uniform(0.5, 1.0, (j, t)),
        ewif=rng.uniform(0.1, 0.6, (j, t)),
        resource_per_token=np.broadcast_to(rng.uniform(0.2, 1.5, (k, r)), (j, k, r)),
        token_size=rng.uniform(0.003, 0.005, (i, k, t)),
        bandwidth=rng.uniform(1.5e5, 3.8e5, (i, j)),
        network_delay=rng.uniform(0.005, 0.09, (i, j)),
        processing_delay=rng.uniform(1e-8, 6e-8, (j, k)),
    )  # fmt: skip
    even = np.full((i, j, k, t), 1.0 / j)
    mean_power = facility_kwh(base, even).mean()
    slowest = delay_seconds(base).max(axis=(1, 3))
    return changed(
        base,
        name="paper-size",
        renewable_power=mean_power * rng.uniform(0.1, 0.9, (j, 1)) * sun * rng.uniform(0.7, 1.0, (j, t)),
        grid_limit=np.full((j, t), 6.0 * mean_power),
        resource_capacity=used_resources(base, even).max(axis=2) * rng.uniform(1.2, 4.0, (1, j)),
        delay_limit=slowest / 0.6,
    )


def shaken(instance: Instance, seed: int, by: float = 0.03) -> Instance:
    """The instance with demand, prices, carbon and renewables each changed by up to ``by``, as an interval later."""
    rng = np.random.default_rng(seed)
    names = ("demand", "electricity_price", "carbon_intensity", "renewable_power")
    return changed(
        instance, **{n: getattr(instance, n) * rng.uniform(1 - by, 1 + by, getattr(instance, n).shape) for n in names}
    )
