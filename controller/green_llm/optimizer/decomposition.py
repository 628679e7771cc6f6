"""One optimum over all slots: in one programme where that is small, else slot by slot under common prices."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray, Instance
from green_llm.optimizer.block import Answer, Block, NoSolutionError, Prices, State, StoppedError
from green_llm.optimizer.block_programme import Coupling
from green_llm.optimizer.master import Master
from green_llm.optimizer.units import Terms, Units

WHOLE = 60_000
"""Shares up to which one programme over all slots is faster than many (measured: the crossing is near)."""
EVERY_SITE = 15_000
"""Shares up to which all of them are columns from the start."""
NEAREST = 3
"""Sites that each unit starts with otherwise."""
GAP = 1e-10
"""Of the objective's scale: where lower and upper bound meet."""
NEWS = 1e-2 * GAP
"""Of the objective's scale: by how much a slot's answer must beat those the master has."""
ROUNDS = 300


@dataclass(frozen=True, eq=False)
class Task:
    """What one optimum is asked of."""

    instance: Instance
    units: Units
    state: State
    rows: tuple[Coupling, ...]
    terms: Terms
    scale: float
    """Size of the objective, > 0."""
    deadline: float | None
    executor: Executor

    @property
    def unit(self) -> float:
        """The objective's mean term: what the solver's tolerance is relative to."""
        return self.scale / max(1, len(self.units.slots))


@dataclass(frozen=True, eq=False)
class Point:
    """Shares and grid energy of all slots."""

    shares: FloatArray
    """[U,J]."""
    grid: FloatArray
    """[J,T], kWh."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best point and the prices that prove it."""

    point: Point
    value: float
    bound: float
    prices: Prices


def minimise(task: Task, start: Point | None) -> Optimum:
    """The optimum; ``start`` keeps every limit and coupling row.

    Raises:
        NoSolutionError: no point keeps everything.
        TimeIsUpError: at the deadline.
        StoppedError: HiGHS found no clear end, or the bounds did not meet.
    """
    if task.units.columns > WHOLE:
        return _by_slots(task, start)
    return _whole(task, start)


def _whole(task: Task, start: Point | None) -> Optimum:
    block = Block(task.instance, task.units, task.state, 0, task.instance.slots)
    block.couple(task.rows)
    block.start_with(task.terms, _starting_sites(task))
    if start is not None:
        task.state.candidates[:] |= start.shares > 0
    answer = block.solve(task.terms, task.unit, task.deadline)
    block.keep_basis()
    shares = np.zeros(task.units.delay.shape)
    shares.ravel()[answer.places] = answer.shares
    return Optimum(Point(shares, answer.grid), answer.value, answer.bound, answer.prices)


def _by_slots(task: Task, start: Point | None) -> Optimum:
    blocks = [Block(task.instance, task.units, task.state, t, t + 1) for t in range(task.instance.slots)]
    for block in blocks:
        block.start_with(task.terms, _starting_sites(task))
    master = Master(len(blocks), task.rows, task.scale / len(blocks), task.deadline)
    if start is not None:
        for t, block in enumerate(blocks):
            _add(master, task, block, t, _answer_of(start, task.units, t))
        master.solve()
    bound, prices = _meet(task, blocks, master)
    for block in blocks:
        block.keep_basis()
    task.state.multipliers[:] = prices.coupling.tolist()
    return Optimum(_point(master, task), master.value, bound, prices)


def _meet(task: Task, blocks: Sequence[Block], master: Master) -> tuple[float, Prices]:
    """Ask and mix until the bounds meet: the lower one, and the prices that prove it."""
    bound, prices = -np.inf, Prices(*(np.empty(0) for _ in range(4)))
    kept = task.state.multipliers
    # What is known of the last interval is a better guess than a master of two answers per slot.
    guess = np.array(kept) if len(kept) == len(task.rows) else master.multipliers
    for number in range(ROUNDS):
        multipliers = (guess, 0.5 * (guess + master.multipliers), master.multipliers)[min(number, 2)]
        answers = _ask(task, blocks, multipliers)
        charged = sum(p * row.most for p, row in zip(multipliers, task.rows, strict=True))
        proved = sum(answer.bound for answer in answers) - charged
        if proved > bound:
            bound, prices = proved, _together(answers, multipliers)
        better = [t for t, a in enumerate(answers) if number == 0 or a.value < master.worth[t] - NEWS * task.scale]
        for t in better:
            _add(master, task, blocks[t], t, answers[t])
        master.solve()
        if master.keeps_all and master.value - bound <= GAP * max(task.scale, abs(master.value)):
            return bound, prices
        if not better and number > 1:
            break
    if not master.keeps_all:
        raise NoSolutionError
    raise StoppedError(f"the bounds did not meet: {(master.value - bound) / task.scale:.1e} of the scale remain")


def _ask(task: Task, blocks: Sequence[Block], multipliers: FloatArray) -> list[Answer]:
    """Every slot's best answer at prices of the coupling rows, in parallel."""
    total = task.terms
    for price, row in zip(multipliers, task.rows, strict=True):
        total = total.plus(row.terms, float(price))
    return list(task.executor.map(lambda block: block.solve(total, task.unit, task.deadline), blocks))


def _starting_sites(task: Task) -> int:
    if task.units.columns <= EVERY_SITE:
        return len(task.instance.sites)
    return NEAREST


def _add(master: Master, task: Task, block: Block, slot: int, answer: Answer) -> None:
    used = [block.measure(row.terms, answer) for row in task.rows]
    master.add(slot, answer, block.measure(task.terms, answer), used)


def _answer_of(point: Point, units: Units, slot: int) -> Answer:
    """One slot of a point, as if the slot had answered it."""
    shares = point.shares[units.starts[slot] : units.starts[slot + 1]].ravel()
    places = np.nonzero(shares > 0)[0]
    nothing = np.empty(0)
    prices = Prices(nothing, nothing, nothing, nothing)
    return Answer(places, shares[places], point.grid[:, slot : slot + 1], np.nan, -np.inf, prices)


def _point(master: Master, task: Task) -> Point:
    units, sites = task.units, len(task.instance.sites)
    shares = np.zeros(units.delay.shape)
    flat, grid = shares.ravel(), np.zeros((sites, task.instance.slots))
    for weight, slot, answer in master.mix():
        flat[int(units.starts[slot]) * sites + answer.places] += weight * answer.shares
        grid[:, slot] += weight * answer.grid[:, 0]
    return Point(shares, grid)


def _together(answers: Sequence[Answer], multipliers: FloatArray) -> Prices:
    """Prices of all slots as those of the horizon."""
    prices = [answer.prices for answer in answers]
    return Prices(
        balance=np.concatenate([p.balance for p in prices], axis=1),
        capacity=np.concatenate([p.capacity for p in prices], axis=2),
        delay=np.concatenate([p.delay for p in prices]),
        coupling=multipliers,
    )
