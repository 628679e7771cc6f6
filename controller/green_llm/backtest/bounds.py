"""What nobody could have gone below: per objective, the optimum of every day with all of it known.

No slot of the model depends on another, save by the water budget. So the days are solved apart; where the days' optima use more
water than the budget of the whole time, a price on water is added and raised until they do not: for any price μ ≥ 0,
Σ min(objective + μ · water) − μ · budget is a lower bound (weak duality), and the largest of them is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from green_llm.backtest import checkpoint
from green_llm.backtest.actuals import days, period_of
from green_llm.backtest.replay import Progress, Task
from green_llm.domain.instance import Instance
from green_llm.domain.plan import Objective, Order, Termination
from green_llm.errors import NoPlanError
from green_llm.optimizer import Session, optimize, weighted

BOUNDED = (Objective.COST, Objective.EMISSIONS, Objective.WATER, Objective.DELAY)
PRICE_STEPS = 12
CLOSE = 1e-6
"""Of the bound: nearer than this to the best that is possible, the price is found."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The least an objective could have been."""

    objective: Objective
    value: float | None
    """None where some day has no plan that keeps every limit: then nothing bounds it."""
    by_day: tuple[float | None, ...]
    """At the water price of its period; without the water term."""
    water_prices: tuple[float, ...] = ()
    """Objective units per litre, by water period; 0 where the budget does not bind."""
    days_left_out: int = 0
    """Days of which some value is not known."""


def bound(task: Task, objective: Objective, progress: Progress = lambda _done, _all: None) -> Bound:
    """The bound of one objective over the days of a task; each water period has its own price."""
    periods, left_out = asyncio.run(_periods(task))
    policy = task.request().policy
    scale = task.span.step_seconds / policy.slot_seconds if objective is Objective.DELAY else 1.0
    count, session = sum(map(len, periods)), Session()
    keep = task.kept_at
    parts = [] if keep is None else _kept(keep)
    by_day: list[float | None] = []
    for number, instances in enumerate(periods):
        if number == len(parts):
            parts.append(
                _least(_Days(instances, objective, session), None if policy.water is None else policy.water.liters)
            )
            if keep is not None:
                checkpoint.write(keep, [None if entry is None else asdict(entry) for entry in parts])
        part = parts[number]
        by_day += [None] * len(instances) if part is None else [value * scale for value in part.by_day]
        progress(sum(map(len, periods[: number + 1])), count)
    known = [part for part in parts if part is not None]
    return Bound(
        objective=objective,
        value=sum(part.value for part in known) * scale if known and len(known) == len(parts) else None,
        by_day=tuple(by_day),
        water_prices=tuple(part.price * scale for part in known),
        days_left_out=left_out,
    )


@dataclass(frozen=True)
class _Part:
    """The bound of one water period."""

    value: float
    price: float
    by_day: tuple[float, ...]


def _kept(path: Path) -> list[_Part | None]:
    """The periods that an interrupted try has ended."""
    found = checkpoint.read(path) or []
    return [None if entry is None else _Part(entry["value"], entry["price"], tuple(entry["by_day"])) for entry in found]


@dataclass(frozen=True)
class _Solved:
    """The optima of the days of one water period."""

    values: tuple[float, ...]
    water_l: float

    @property
    def value(self) -> float:
        """The objective of all days."""
        return sum(self.values)


@dataclass(frozen=True)
class _Days:
    """The days of one water period."""

    instances: Sequence[Instance]
    objective: Objective
    session: Session

    def solve(self, weights: Mapping[Objective, float]) -> _Solved | None:
        """The optimum of every day; None where one has no plan that keeps every limit."""
        found = []
        for instance in self.instances:
            try:
                if len(weights) == 1:
                    result = optimize(instance, Order(tuple(weights)), session=self.session)
                else:
                    result = weighted(instance, weights, session=self.session)
            except NoPlanError:
                return None
            if result.termination is not Termination.OPTIMAL:
                return None
            found.append(result.values)
        return _Solved(tuple(v.of(self.objective) for v in found), sum(v.water for v in found))


def _least(days_: _Days, budget: float | None) -> _Part | None:
    """The bound of a period; None where some day, or the period's water, has no plan.

    The dual is concave and, between the cheapest days and those of least water, below two lines: their crossing is the next
    price, until it is on both.
    """
    left = days_.solve({days_.objective: 1.0})
    if left is None or budget is None or left.water_l <= budget:
        return None if left is None else _Part(left.value, 0.0, left.values)
    right = days_.solve({Objective.WATER: 1.0})
    if right is None or right.water_l > budget:
        return None
    best = _Part(left.value, 0.0, left.values)
    for _ in range(PRICE_STEPS):
        price = (right.value - left.value) / (left.water_l - right.water_l)
        found = days_.solve({days_.objective: 1.0, Objective.WATER: price})
        if found is None:
            return None
        proven = found.value + price * (found.water_l - budget)
        best = max(best, _Part(proven, price, found.values), key=lambda part: part.value)
        if proven >= left.value + price * (left.water_l - budget) - CLOSE * abs(proven):
            break
        left, right = (found, right) if found.water_l > budget else (left, found)
    return best


async def _periods(task: Task) -> tuple[list[list[Instance]], int]:
    """The days whose values are all known, by water period, and how many others there are."""
    policy = task.request().policy
    found: dict[int, list[Instance]] = {}
    left_out = 0
    async for day in days(task):
        if day.traffic and all(value is not None for values in day.book.values.values() for value in values):
            found.setdefault(period_of(day.first, task.span, policy), []).append(day.free().instance)
        else:
            left_out += 1
    return [found[number] for number in sorted(found)], left_out
