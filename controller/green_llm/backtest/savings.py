"""Differences between methods, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from green_llm.backtest.replay import Span
from green_llm.backtest.tally import Tally
from green_llm.domain.instance import FloatArray

FEWEST_DAYS = 28
RESAMPLES = 4000
SEED = 20260101
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is compared."""

    name: str
    label: str
    unit: str
    of: Callable[[Mapping[str, FloatArray]], FloatArray]
    """[N] from the series of a tally."""


MEASURES = (
    Measure(name="cost", label="cost", unit="money", of=lambda s: s["cost_paid"] - s["cost_earned"]),
    Measure(name="emissions_kg", label="emissions", unit="kgCO2e", of=lambda s: s["emissions_kg"]),
    Measure(name="carbon_cost", label="internal price of carbon", unit="money", of=lambda s: s["carbon_cost"]),
    Measure(name="water_l", label="water", unit="L", of=lambda s: s["water_on_site_l"] + s["water_off_site_l"]),
    Measure(name="water_on_site_l", label="water on site", unit="L", of=lambda s: s["water_on_site_l"]),
    Measure(name="water_off_site_l", label="water off site", unit="L", of=lambda s: s["water_off_site_l"]),
    Measure(name="water_weighted_l", label="water, weighted", unit="L", of=lambda s: s["water_weighted_l"]),
    Measure(name="energy_kwh", label="energy", unit="kWh", of=lambda s: s["energy_kwh"]),
    Measure(name="grid_energy_kwh", label="grid energy", unit="kWh", of=lambda s: s["grid_energy_kwh"]),
    Measure(
        name="displaced_renewables_kwh", label="displaced renewables", unit="kWh",
        of=lambda s: s["displaced_renewables_kwh"],
    ),
    Measure(name="delay_penalty", label="delay penalty", unit="money", of=lambda s: s["delay_penalty"]),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What ours saved of one measure against a baseline; below 0 where it took more. Never clipped."""

    measure: str
    amount: float
    percent: float | None
    """Of the baseline's size; None where that is 0."""
    low_percent: float | None
    """Bounds of the 95 % interval; None with too few days."""
    high_percent: float | None
    days: int
    """Whole days (UTC) that the interval rests on."""

    @property
    def enough_days(self) -> bool:
        """Whether there are enough for an interval."""
        return self.days >= FEWEST_DAYS


def savings(ours: Tally, baseline: Tally, span: Span) -> tuple[Saving, ...]:
    """Every measure, baseline minus ours over the whole time."""
    return tuple(_saving(measure, ours, baseline, span) for measure in MEASURES)


def _saving(measure: Measure, ours: Tally, baseline: Tally, span: Span) -> Saving:
    mine, theirs = measure.of(ours.series), measure.of(baseline.series)
    amount, size = float((theirs - mine).sum()), abs(float(theirs.sum()))
    mine_by_day, theirs_by_day = by_day(mine, span), by_day(theirs, span)
    low, high = interval(theirs_by_day - mine_by_day, theirs_by_day)
    return Saving(
        measure=measure.name,
        amount=amount,
        percent=100.0 * amount / size if size else None,
        low_percent=low,
        high_percent=high,
        days=len(mine_by_day),
    )


def by_day(values: FloatArray, span: Span) -> FloatArray:
    """Sums over the whole days (UTC) of a back-test, [days]; what is left at its ends is not counted."""
    start = span.start
    begun = (start.hour * 3600 + start.minute * 60 + start.second) // span.step_seconds
    per_day = 86400 // span.step_seconds
    skipped = (per_day - begun) % per_day
    whole = (len(values) - skipped) // per_day
    if whole <= 0 or 86400 % span.step_seconds:
        return np.zeros(0)
    summed: FloatArray = values[skipped : skipped + whole * per_day].reshape(whole, per_day).sum(axis=1)
    return summed


def interval(differences: FloatArray, baseline: FloatArray) -> tuple[float | None, float | None]:
    """A 95 % interval of Σ difference / |Σ baseline| in per cent: days drawn with replacement, in pairs.

    A day is the block: hours of a day hang together, and both sides see the same days.
    """
    days = len(differences)
    if days < FEWEST_DAYS or not np.abs(baseline).sum():
        return None, None
    drawn = np.random.default_rng(SEED).integers(0, days, size=(RESAMPLES, days))
    sizes = np.abs(baseline[drawn].sum(axis=1))
    ratios = 100.0 * differences[drawn].sum(axis=1)[sizes > 0] / sizes[sizes > 0]
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
