"""Weights by name: what breaks the last ties, so that a plan depends on no solver's choice."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from green_llm.domain.instance import FloatArray, Instance
from green_llm.optimizer.layout import IndexArray

NAMES_WEIGHT = 1e-3
"""Weight of the names in the first finishing step: below any difference that matters, above the solver's tolerance."""


def name_weights(
    instance: Instance, areas: IndexArray, sites: IndexArray, classes: IndexArray, slots: IndexArray
) -> FloatArray:
    """Weights w ∈ [0, 1) of shares, [m]: a hash of the names of area, site, class and slot."""
    area, site, query_class = (
        np.array([_hash(name) for name in names], dtype=np.uint64)
        for names in (instance.areas, instance.sites, instance.classes)
    )
    with np.errstate(over="ignore"):
        mixed = _mix(area[areas] + np.uint64(1))
        mixed = _mix(mixed ^ site[sites])
        mixed = _mix(mixed ^ query_class[classes])
        mixed = _mix(mixed ^ slots.astype(np.uint64))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): every input bit changes every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
