"""Slot by slot under common prices of the rows that couple them, until upper and lower bound meet.

The prices are what takes the time: each swing of theirs turns every slot's basis over. So they start at those of the
last interval, or at those of a coarser instance, and stay near the best ones known as long as that is where they belong
(boxstep, Marsten, Hogan & Blankenship 1975).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.block import Answer, Block, Prices
from green_llm.optimizer.master import Master
from green_llm.optimizer.optimum import Optimum, Point, Task
from green_llm.optimizer.running import NoSolutionError, StoppedError, together
from green_llm.optimizer.units import Units

GAP = 1e-10
"""Of the objective's scale: where lower and upper bound meet."""
NEWS = 1e-2 * GAP
"""Of the objective's scale: by how much a slot's answer must beat those the master has."""
ROUNDS = 300
ROOM = 1.25
"""Prices may move by this factor at first."""
WIDEST = 8.0
"""The same at most, and where they begin at the most they can be: to 0 at once would turn every slot's basis over."""
DEAREST = 1e3
"""Of the objective's scale for a row's unit: where they begin at most, well below what exceeding a limit costs a slot."""
SMALL = 1e-2
"""A price that matters: of the objective's scale for a row's unit."""


def by_slots(task: Task, start: Point | None, sites: int, prices: Prices | None) -> Optimum:
    """The optimum over slots that only rows couple.

    Args:
        task: what is asked.
        start: a point that keeps every limit and row.
        sites: with how many a unit starts.
        prices: a guess of the prices of limits and rows.

    Raises:
        NoSolutionError: no point keeps everything.
        TimeIsUpError: at the deadline.
        StoppedError: HiGHS found no clear end, or the bounds did not meet.
    """
    blocks = _blocks(task)
    guess, room = _first_prices(task, blocks, start, prices)
    _begin(task, blocks, sites, guess, prices)
    mix = _Mix(task, blocks, Master(len(blocks), task.rows, task.scale / len(blocks), task.deadline))
    if start is not None:
        mix.add({t: _answer_of(start, task.units, t) for t in range(len(blocks))})
    bound, proof = mix.meet(guess, room)
    total = task.priced(proof.coupling)
    for block in blocks:
        block.prune(total)
        block.keep_basis()
    task.state.multipliers[:] = proof.coupling.tolist()
    return Optimum(_point(mix.master, task), mix.master.value, bound, proof)


def prices_of_slots(task: Task, sites: int, prices: Prices) -> Prices:
    """Prices of limits, slot by slot, those of the coupling rows given."""
    blocks = _blocks(task)
    _begin(task, blocks, sites, prices.coupling, prices)
    answers = _ask(task, blocks, prices.coupling)
    for block in blocks:
        block.keep_basis()
    return _together(answers, prices.coupling)


def _blocks(task: Task) -> list[Block]:
    return [Block(task.instance, task.units, task.state, t, t + 1) for t in range(task.instance.slots)]


def _begin(task: Task, blocks: Sequence[Block], sites: int, multipliers: FloatArray, prices: Prices | None) -> None:
    """Give units that have no candidate some."""
    total = task.priced(multipliers)
    for t, block in enumerate(blocks):
        block.start_with(total, sites, None if prices is None else prices.of_slot(t))


def _ask(task: Task, blocks: Sequence[Block], multipliers: FloatArray) -> list[Answer]:
    """Every slot's best answer at prices of the coupling rows, in parallel."""
    total = task.priced(multipliers)
    return together([block.steps(total, task.unit) for block in blocks], task.executor, task.deadline)


def _first_prices(
    task: Task, blocks: Sequence[Block], start: Point | None, prices: Prices | None
) -> tuple[FloatArray, float]:
    """Prices of the coupling rows to begin with, and the factor by which they may move."""
    known = task.state.multipliers
    if len(known) == len(task.rows):
        return np.array(known), ROOM
    if prices is not None:
        return prices.coupling, ROOM**2
    if start is not None and len(known) == len(task.rows) - 1:
        return _after_a_phase(task, blocks, start), WIDEST
    return np.zeros(len(task.rows)), np.inf


def _after_a_phase(task: Task, blocks: Sequence[Block], start: Point) -> FloatArray:
    """Prices at which the answers of the phase before are nearly the best: every slot's basis is there.

    No price of the newest row is above what the objective can gain from where it starts per unit of the row's room
    there; the rows before it are worth to it what they were to that phase.
    """
    newest, answers = task.rows[-1], [_answer_of(start, task.units, t) for t in range(len(blocks))]
    most, used = (
        sum(block.measure(terms, answer) for block, answer in zip(blocks, answers, strict=True))
        for terms in (task.terms, newest.terms)
    )
    room = newest.most - used
    dearest = DEAREST * task.scale / newest.unit
    price = min(max(most, 0.0) / room, dearest) if room > 0 else 0.0
    return price * np.array([*task.state.multipliers, 1.0])


@dataclass
class _Mix:
    """Blocks under common prices, and the master that sets them."""

    task: Task
    blocks: Sequence[Block]
    master: Master

    def add(self, answers: Mapping[int, Answer]) -> None:
        """Answers by slot that the master may mix."""
        for t, answer in answers.items():
            used = [self.blocks[t].measure(row.terms, answer) for row in self.task.rows]
            self.master.add(t, answer, self.blocks[t].measure(self.task.terms, answer), used)

    def meet(self, guess: FloatArray, room: float) -> tuple[float, Prices]:
        """Ask and mix until the bounds meet: the lower one, and the prices that prove it.

        Prices stay within a factor of ``room`` of the best known.
        """
        bound, prices = -np.inf, Prices(*(np.empty(0) for _ in range(4)))
        task, master, centre, asked = self.task, self.master, guess, guess
        small = SMALL * np.array([task.scale / row.unit for row in task.rows])
        for number in range(ROUNDS):
            answers = _ask(task, self.blocks, asked)
            charged = sum(p * row.most for p, row in zip(asked, task.rows, strict=True))
            proved = sum(answer.bound for answer in answers) - charged
            better = proved > bound
            if better:
                bound, prices, centre = proved, _together(answers, asked), asked
            if number:
                # The master would have gone on: what keeps it is too small. Or it went too far.
                room = np.sqrt(room) if not better else room if master.keeps_all else min(room**2, max(room, WIDEST))
            news = {t: a for t, a in enumerate(answers) if not number or a.value < master.worth[t] - NEWS * task.scale}
            self.add(news)
            if not news:
                if self._met(bound) or np.isinf(room):
                    break
                # Nothing more to learn near these prices.
                room = np.inf
            master.confine(np.where(centre > small, centre / room, 0.0), np.maximum(centre, small) * room)
            master.solve()
            asked = master.multipliers
            if self._met(bound):
                break
        if not master.keeps_all:
            raise NoSolutionError
        if not self._met(bound):
            raise StoppedError(
                f"the bounds did not meet: {(master.value - bound) / task.scale:.1e} of the scale remain"
            )
        return bound, prices

    def _met(self, bound: float) -> bool:
        """Whether the master's mix is proved to be the optimum."""
        master = self.master
        return master.keeps_all and master.value - bound <= GAP * max(self.task.scale, abs(master.value))


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
