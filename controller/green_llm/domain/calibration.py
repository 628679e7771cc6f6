"""What a site's servers do under load, fitted to the model: its v, as the throughput that an InferenceSite states. Pure.

The model says: delay = delay without load + 3600 × load ÷ throughput, with the load in tokens per second.
A class may be told apart from the others of its profile: then their load is a second cause of its delay, and is told too.
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


STEADY = 1e-4
"""Of its mean, squared: variance below which a load counts as steady."""
ALIKE = 0.99
"""Correlation of two loads from which on a delay cannot be shared out between them."""


@dataclass(frozen=True)
class Sample:
    """One interval of what was measured."""

    tokens_per_second: float
    """In and out."""
    mean_delay_s: float
    queries: float
    """How many the mean is of."""
    others_tokens_per_second: float = 0.0
    """Of all else that the same servers do."""


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
    others_ratio: float | None = None
    """How much a token of others delays, beside one of its own: 0 not at all, 1 as much; None where their load was steady."""
    others_ratio_error: float = 0.0


def fit(samples: Sequence[Sample]) -> Fit | str:
    """The least-squares line through delay over load, each sample weighted by its queries; in words why there is none."""
    used = [sample for sample in samples if sample.queries > 0 and sample.tokens_per_second > 0]
    if len(used) < FEWEST:
        return f"{len(used)} intervals with traffic; at least {FEWEST} are needed: take a longer time or a shorter step"
    loads = np.array([(sample.tokens_per_second, sample.others_tokens_per_second) for sample in used])
    delay = np.array([sample.mean_delay_s for sample in used])
    weight = np.array([sample.queries for sample in used])
    weight = weight / weight.mean()
    own = loads[:, 0]
    centre, middle = np.average(loads, axis=0, weights=weight), float(np.average(delay, weights=weight))
    away = loads - centre
    spread = away.T @ (weight[:, None] * away)
    known = f"the load was {own.min():.4g} … {own.max():.4g} tokens/s"
    if spread[0, 0] <= 0:
        return f"{known}: it must vary"
    causes = 2 if spread[1, 1] > STEADY * centre[1] ** 2 * weight.sum() else 1
    if causes == 2 and (alike := abs(spread[0, 1]) / np.sqrt(spread[0, 0] * spread[1, 1])) > ALIKE:
        return f"its load and that of others rise and fall as one (correlation {alike:.3f}): whose the delay is cannot be told"
    loads, centre, away, spread = loads[:, :causes], centre[:causes], away[:, :causes], spread[:causes, :causes]
    slopes = np.linalg.solve(spread, away.T @ (weight * (delay - middle)))
    base = middle - float(slopes @ centre)
    residual = float(np.sum(weight * (delay - base - loads @ slopes) ** 2))
    variance = residual / (len(used) - 1 - causes)
    inverse = np.linalg.inv(spread)
    errors = STANDARD_ERRORS * np.sqrt(variance * np.diag(inverse))
    slope, slope_error = float(slopes[0]), float(errors[0])
    if slope <= slope_error:
        return f"the delay does not grow with the load more than by chance ({known}); take a time with more load"
    throughput = SECONDS_PER_HOUR / slope
    total = float(np.sum(weight * (delay - middle) ** 2))
    return Fit(
        throughput_tokens_per_second=throughput,
        throughput_error=throughput * slope_error / slope,
        base_delay_s=base,
        base_delay_error_s=STANDARD_ERRORS
        * float(np.sqrt(variance * (1.0 / weight.sum() + centre @ inverse @ centre))),
        explained=1.0 - residual / total if total > 0 else 1.0,
        samples=len(used),
        least_tokens_per_second=float(own.min()),
        most_tokens_per_second=float(own.max()),
        others_ratio=float(slopes[1]) / slope if causes == 2 else None,
        others_ratio_error=float(errors[1]) / slope if causes == 2 else 0.0,
    )
