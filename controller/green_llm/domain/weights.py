"""From shares to integer weights and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")
NOTICED = 1e-3
"""Share by which weights must exceed a limit to break it: they are whole thousandths."""


def to_weights(shares: Mapping[str, float], scale: int) -> dict[str, int]:
    """Integers that sum to exactly ``scale``, each within one of its share's part of it (largest remainder).

    A share of 0 stays 0; ties of remainders go by name; shares need not sum to 1.

    Raises:
        ValueError: no share is above 0, or one is negative or no number. Weights are never all zero.
    """
    total = sum(shares.values())
    if not shares or not all(0 <= share < math.inf for share in shares.values()) or total <= 0:
        raise ValueError(f"shares must be numbers of at least 0, one of them above 0: {dict(shares)}")
    exact = {name: share / total * scale for name, share in shares.items()}
    weights = {name: math.floor(value) for name, value in exact.items()}
    missing = scale - sum(weights.values())
    eligible = [name for name in exact if exact[name] > 0]
    by_remainder = sorted(eligible, key=lambda name: (weights[name] - exact[name], name))
    for name in by_remainder[:missing]:
        weights[name] += 1
    return weights


def shares_of(weights: Mapping[Key, int]) -> dict[Key, float]:
    """Shares that weights stand for; all 0 where the weights are."""
    total = sum(weights.values())
    return {key: weight / total if total else 0.0 for key, weight in weights.items()}


def spread(weight: int, backends: Sequence[Key], current: Mapping[Key, int]) -> dict[Key, int]:
    """A site's weight over its back-ends in one rule: as they are now, equally where they are all 0."""
    if len(backends) == 1:
        return {backends[0]: weight}
    present = {str(n): current.get(backend, 0) for n, backend in enumerate(backends)}
    shares = present if sum(present.values()) else dict.fromkeys(present, 1)
    if weight == 0:
        return dict.fromkeys(backends, 0)
    parts = to_weights({name: float(share) for name, share in shares.items()}, weight)
    return {backend: parts[str(n)] for n, backend in enumerate(backends)}
