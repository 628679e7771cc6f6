"""Instances of any size to measure on: sites, classes and areas drawn at random, limits grow with demand.

Demand and sun follow the hour, prices peak in the evening, capacities leave between a fifth and most of a site free.
The same seed gives the same instance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from green_llm.domain.instance import FloatArray, Instance

KINDS: dict[str, tuple[float, ...]] = {
    "input_tokens": (85, 480, 55, 40, 30),
    "output_tokens": (105, 300, 100, 490, 11),
    "delay_penalty": (0.145, 0.17, 0.087, 0.058, 0.022),
    "processing_delay": (1e-6, 1.5e-6, 1.95e-5, 2.1e-5, 5e-5),
    "delay_limit": (6.5, 12.6, 18.0, 25.0, 39.0),
    "input_wh": (6.9e-3, 11.0e-3, 7.7e-3, 10.5e-3, 9.1e-3),
    "output_wh": (24.9e-3, 20.9e-3, 21.9e-3, 20.7e-3, 16.6e-3),
}
"""Chat, summaries, search, code, classification: tokens per query, $/s, s, and Wh of IT energy per token."""
USE_PER_TOKEN = ((1.05e-3, 1.45e-3), (1.55e-3, 2.25e-3), (1.0e-2, 1.35e-2))
"""Least and most of every resource, resource units per token."""
RESOURCES = ("cpu", "memory", "gpu")
CAPACITY = 46_000.0
GRID_KW = 4500.0


def scaled(
    areas: int,
    sites: int,
    classes: int,
    slots: int,
    seed: int = 0,
    *,
    tight_delay: bool = False,
    water_share: float | None = None,
    negative_prices: bool = False,
) -> Instance:
    """An instance of a size.

    Args:
        areas: number of areas.
        sites: number of sites.
        classes: number of classes.
        slots: number of slots of one day.
        seed: of every choice.
        tight_delay: limits a third of the way from the nearest site's delay to the mean one.
        water_share: water cap as a share of what an even split uses.
        negative_prices: a fifth of the cells have a negative price.
    """
    rng = np.random.default_rng([seed, areas, sites, classes, slots])
    hours = np.arange(slots) * 24.0 / slots
    kind = rng.integers(0, 5, classes)

    def of_kind(name: str, spread: float = 0.0) -> FloatArray:
        return np.array(KINDS[name])[kind] * rng.uniform(1 - spread, 1 + spread, classes)

    day = 0.6 + 0.4 * np.sin((hours - 9.0) / 24.0 * 2.0 * np.pi)
    size = areas * classes / 45 * 9 / sites
    here, there = rng.uniform(0, 1, (areas, 2)), rng.uniform(0, 1, (sites, 2))
    evening = 0.7 + 0.75 * np.exp(-(((hours - 18.0) / 3.8) ** 2))
    level = rng.choice([0.13, 0.14, 0.15, 0.16, 0.17, 0.28], (sites, 1))
    price = level * evening * rng.uniform(0.8, 1.2, (sites, slots))
    if negative_prices:
        price = np.where(rng.random(price.shape) < 0.2, -price, price)
    swing = rng.uniform(0.02, 0.3, (sites, 1)) * np.cos((hours - rng.uniform(0, 6, (sites, 1))) / 24.0 * 2.0 * np.pi)
    carbon = rng.uniform(0.16, 0.8, (sites, 1)) * (1.0 + swing)
    sun = 0.2 + np.clip(np.sin((hours - 3.0) / 18.0 * np.pi), 0.0, None)
    energy_in, energy_out = of_kind("input_wh") / 1e3, of_kind("output_wh") / 1e3
    use = np.stack([rng.uniform(low, high, 5)[kind] for low, high in USE_PER_TOKEN], axis=1)
    fields: dict[str, Any] = {
        "demand": np.round(rng.uniform(300, 1200, (areas, classes, 1)) * day * rng.uniform(0.9, 1.1, (areas, classes, slots))),
        "input_tokens": of_kind("input_tokens", 0.3), "output_tokens": of_kind("output_tokens", 0.3),
        "delay_penalty": of_kind("delay_penalty"),
        "energy_per_input_token": np.tile(energy_in, (sites, 1)), "energy_per_output_token": np.tile(energy_out, (sites, 1)),
        "electricity_price": price, "carbon_intensity": carbon, "carbon_price": rng.uniform(0.01, 0.035, sites),
        "renewable_power": rng.uniform(10, 50, (sites, 1)) * sun * rng.uniform(0.05, 1.9, (sites, slots)) * size,
        "grid_limit": np.full((sites, slots), GRID_KW * size), "pue": rng.uniform(1.05, 1.36, sites),
        "wue": rng.uniform(0.5, 1.0, (sites, slots)), "ewif": rng.uniform(0.1, 0.6, (sites, slots)),
        "resource_capacity": CAPACITY * size * rng.uniform(0.9, 1.1, (3, sites)) * rng.uniform(0.3, 1.0, (1, sites)),
        "resource_per_token": np.tile(use, (sites, 1, 1)),
        "token_size": rng.uniform(0.003, 0.005, (areas, classes, slots)), "bandwidth": rng.uniform(1500, 3800, (areas, sites)),
        "network_delay": 0.005 + 0.08 * np.linalg.norm(here[:, None] - there[None], axis=-1),
        "processing_delay": of_kind("processing_delay") * rng.uniform(0.8, 1.5, (sites, classes)),
        "delay_limit": of_kind("delay_limit") * rng.uniform(0.85, 1.15, (areas, 1)),
        "allowed": np.ones((areas, sites, classes), dtype=bool), "headroom": np.zeros(sites),
        "fixed_shares": np.full((areas, sites, classes), np.nan), "current_shares": np.full((areas, sites, classes), np.nan),
    }  # fmt: skip
    tokens = fields["input_tokens"] + fields["output_tokens"]
    least, mean = _delays(fields, tokens)
    # With few sites, even the nearest one may be slower than a class's limit; later intervals have other loads.
    fields["delay_limit"] = np.maximum(fields["delay_limit"], 1.1 * least.max(axis=-1))
    if tight_delay:
        fields["delay_limit"] = (least + 0.35 * (mean - least)).max(axis=-1)
    cap = None
    if water_share is not None:
        per_query = energy_in * fields["input_tokens"] + energy_out * fields["output_tokens"]
        load = (fields["demand"] * per_query[:, None]).sum((0, 1)) / sites
        cap = water_share * float(((fields["wue"] + fields["ewif"] * fields["pue"][:, None]) * load).sum())
    return Instance(
        name=f"scaled-{areas}-{sites}-{classes}-{slots}", slot_hours=24.0 / slots, slots=slots, resources=RESOURCES,
        areas=_names("area", areas), sites=_names("site", sites), classes=_names("class", classes), water_cap=cap, **fields,
    )  # fmt: skip


def _delays(fields: dict[str, Any], tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Delays of one full share at the nearest site and on average, s, [I,K,T]."""
    load = (fields["demand"] * tokens[:, None])[:, None]
    delay = fields["token_size"][:, None] * load / fields["bandwidth"][:, :, None, None]
    delay = delay + fields["network_delay"][:, :, None, None] + fields["processing_delay"][None, :, :, None] * load
    return delay.min(axis=1), delay.mean(axis=1)


def _names(kind: str, count: int) -> tuple[str, ...]:
    return tuple(f"{kind}-{n}" for n in range(count))
