"""What a site's servers do under load, fitted to the model: its v, as the throughput that an InferenceSite states. Pure.

The model says: delay = delay without load + 3600 × load ÷ throughput, with the load in tokens per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.units import SECONDS_PER_HOUR

FEWEST = 8
"""Samples; with fewer the error of the fit cannot be told."""
STANDARD_ERRORS = 2.0
"""Half width of an interval that holds the value 95 times of 100."""


@dataclass(frozen=True)
class Sample:
    """One interval of what was measured."""

    tokens_per_second: float
    """In and out."""
    mean_delay_s: float
    queries: float
    """How many the mean is of."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A site's numbers, each with what it may be off by (95 %)."""

    throughput_tokens_per_second: float
    throughput_error: float
    base_delay_s: float
    """Delay without load; the model has no place for it but the network latency of the ways to the site."""
    base_delay_error_s: float
    explained: float
    """R²: share of the delay's variation that the load explains, 0 … 1."""
    samples: int
    least_tokens_per_second: float
    most_tokens_per_second: float


def fit(samples: Sequence[Sample]) -> Fit | str:
    """The least-squares line through delay over load, each sample weighted by its queries; in words why there is none."""
    used = [sample for sample in samples if sample.queries > 0 and sample.tokens_per_second > 0]
    if len(used) < FEWEST:
        return f"{len(used)} intervals with traffic; at least {FEWEST} are needed: take a longer time or a shorter step"
    load = np.array([sample.tokens_per_second for sample in used])
    delay = np.array([sample.mean_delay_s for sample in used])
    weight = np.array([sample.queries for sample in used])
    weight = weight / weight.mean()
    centre, middle = np.average(load, weights=weight), np.average(delay, weights=weight)
    spread = float(np.sum(weight * (load - centre) ** 2))
    known = f"the load was {load.min():.4g} … {load.max():.4g} tokens/s"
    if spread <= 0:
        return f"{known}: it must vary"
    slope = float(np.sum(weight * (load - centre) * (delay - middle)) / spread)
    base = float(middle - slope * centre)
    residual = float(np.sum(weight * (delay - base - slope * load) ** 2))
    variance = residual / (len(used) - 2)
    slope_error = STANDARD_ERRORS * float(np.sqrt(variance / spread))
    if slope <= slope_error:
        return f"the delay does not grow with the load more than by chance ({known}); take a time with more load"
    throughput = SECONDS_PER_HOUR / slope
    total = float(np.sum(weight * (delay - middle) ** 2))
    return Fit(
        throughput_tokens_per_second=throughput,
        throughput_error=throughput * slope_error / slope,
        base_delay_s=base,
        base_delay_error_s=STANDARD_ERRORS * float(np.sqrt(variance * (1.0 / weight.sum() + centre**2 / spread))),
        explained=1.0 - residual / total if total > 0 else 1.0,
        samples=len(used),
        least_tokens_per_second=float(load.min()),
        most_tokens_per_second=float(load.max()),
    )
