"""What arrives."""

from __future__ import annotations

from dataclasses import dataclass

from green_llm.domain.instance import FloatArray


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Queries of one class in one area."""

    queries: FloatArray
    """[T], per slot."""
    error_ratio: float | None = None
    """Of the forecast they are, a day ahead: Σ |forecast − measured| / Σ measured; None where they are none."""
    mean_delay_s: float | None = None
    """Of a query, as the same source has measured it over the past hour; None where it does not."""
