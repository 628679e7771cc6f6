"""Slot by slot under common prices of the rows that couple them, until upper and lower bound meet.

A few small slots may be one programme; what is said of a slot here and in the master is true of them together.

The prices are what takes the time: each swing of theirs turns every slot's basis over. So they start at those of the
last interval, or at those of a coarser instance, and stay near the best ones known as long as that is where they belong
(boxstep, Marsten, Hogan & Blankenship 1975).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.block import Answer, Block
from green_llm.optimizer.limit_prices import Prices
from green_llm.optimizer.master import TILT, Master
from green_llm.optimizer.optimum import Optimum, Point, Task
from green_llm.optimizer.running import NoSolutionError, StoppedError, together
from green_llm.optimizer.units import Units

SHARES = 20_000
"""Of several slots that are solved as one: where a slot has few, Python takes longer than HiGHS."""
FEWEST = 8
"""So many parts, and the solver has enough to do at a time."""
GAP = 1e-10
"""Of the objective's scale: where lower and upper bound meet."""
NEWS = 1e-2 * GAP
"""Of the objective's scale: by how much a slot's answer must beat those the master has."""
ROUNDS = 300
PARTLY = 2
"""Rounds on end in which only slots with news are asked."""
LOOSE = 0.03
"""Of what the bounds are apart: by how much slots' answers together may miss their optima while they are news."""
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
    mix = _Mix(task, blocks, Master(len(blocks), task.rows, task.scale / len(blocks), task.deadline), guess, room)
    if start is not None:
        mix.add({n: _answer_of(start, task.units, block.data.slots) for n, block in enumerate(blocks)})
    proof = mix.meet()
    total = task.priced(proof.coupling)
    for block in blocks:
        block.prune(total)
        block.keep_basis()
    task.state.multipliers[:], task.state.former[:] = proof.coupling.tolist(), task.former.tolist()
    return Optimum(_point(mix, task), mix.master.value, mix.bound, proof)


def prices_of_slots(task: Task, sites: int, prices: Prices) -> Prices:
    """Prices of limits, slot by slot, those of the coupling rows given."""
    blocks = _blocks(task)
    _begin(task, blocks, sites, prices.coupling, prices)
    answers = _ask(task, blocks, prices.coupling)
    for block in blocks:
        block.keep_basis()
    return _together(answers, prices.coupling)


def _blocks(task: Task) -> list[Block]:
    slots = task.instance.slots
    each = max(1, min(slots // FEWEST, SHARES * slots // max(1, task.units.columns)))
    firsts = range(0, slots, each)
    return [Block(task.instance, task.units, task.state, n, min(n + each, slots)) for n in firsts]


def _begin(task: Task, blocks: Sequence[Block], sites: int, multipliers: FloatArray, prices: Prices | None) -> None:
    """Give units that have no candidate some."""
    total = task.priced(multipliers)
    for block in blocks:
        block.start_with(total, sites, None if prices is None else prices.of_slots(block.data.slots))


def _ask(
    task: Task, blocks: Sequence[Block], multipliers: FloatArray, slack: float = 0.0, worth: FloatArray | None = None
) -> list[Answer]:
    """The best answers of some slots at prices of the coupling rows; good ones suffice where they beat their worth."""
    total = task.priced(multipliers)
    beat = np.full(len(blocks), -np.inf) if worth is None else worth
    all_steps = [block.steps(total, task.unit, slack, least) for block, least in zip(blocks, beat, strict=True)]
    return together(all_steps, task.executor, task.deadline)


def _first_prices(
    task: Task, blocks: Sequence[Block], start: Point | None, prices: Prices | None
) -> tuple[FloatArray, float]:
    """Prices of the coupling rows to begin with, and the factor by which they may move."""
    known, former = np.array(task.state.multipliers), task.former
    if len(known) == len(task.rows):
        return _turned(known, np.array(task.state.former), former), ROOM
    if prices is not None:
        return prices.coupling, ROOM**2
    if start is not None and len(former) == len(task.rows) - 1:
        return _after_a_phase(task, blocks, start), WIDEST
    return np.zeros(len(task.rows)), np.inf


def _turned(known: FloatArray, was: FloatArray, now: FloatArray) -> FloatArray:
    """The last interval's prices, older rows' moved as the phase before found them to move, ``was`` to ``now``.

    Between intervals, what rows are worth to each other moves by tens of per cent; and it is what the phase before finds
    to within a hundredth, but where this objective weighs as much as the rows do: there it stays as far from that.
    """
    if not len(known) - 1 == len(was) == len(now):
        return known
    found = (known[:-1] > 0) & (known[-1] > 0) & (was > 0) & (now > 0)
    ratio, before = np.where(found, now, 1.0), np.where(found, was * known[-1], 1.0)
    apart = np.where(found, known[:-1], 1.0) / before
    ratio *= np.where(np.abs(np.log(apart)) > TILT * np.log(ROOM), apart, 1.0)
    return np.append(np.where(found, ratio * known[-1], known[:-1]), known[-1])


def _after_a_phase(task: Task, blocks: Sequence[Block], start: Point) -> FloatArray:
    """Prices at which the answers of the phase before are nearly the best: every slot's basis is there.

    No price of the newest row is above what the objective can gain from where it starts per unit of the row's room
    there; the rows before it are worth to it what they were to that phase.
    """
    newest, answers = task.rows[-1], [_answer_of(start, task.units, block.data.slots) for block in blocks]
    most, used = (
        sum(block.measure(terms, answer) for block, answer in zip(blocks, answers, strict=True))
        for terms in (task.terms, newest.terms)
    )
    room = newest.most - used
    dearest = DEAREST * task.scale / newest.unit
    price = min(max(most, 0.0) / room, dearest) if room > 0 else 0.0
    return price * np.append(task.former, 1.0)


@dataclass
class _Mix:
    """Blocks under common prices, and the master that sets them."""

    task: Task
    blocks: Sequence[Block]
    master: Master
    centre: FloatArray
    """[m] the best prices known."""
    room: float
    """Prices stay within this factor of the best known."""
    bound: float = -np.inf
    """The lower one."""
    proof: Prices | None = None
    """The prices that prove it."""

    def add(self, answers: Mapping[int, Answer]) -> None:
        """Answers by slot that the master may mix."""
        for t, answer in answers.items():
            used = [self.blocks[t].measure(row.terms, answer) for row in self.task.rows]
            self.master.add(t, answer, self.blocks[t].measure(self.task.terms, answer), used)

    def meet(self) -> Prices:
        """Ask and mix until the bounds meet; the prices that prove it."""
        every = range(len(self.blocks))
        asking, asked, partly = list(every), self.centre, 0
        for number in range(ROUNDS):
            least = self.master.worth - NEWS * self.task.scale if number else np.full(len(every), np.inf)
            found = _ask(self.task, [self.blocks[t] for t in asking], asked, self._slack, least[asking])
            whole = len(asking) == len(every)
            if whole:
                self._learn(found, asked, first=not number)
            news = {t: answer for t, answer in zip(asking, found, strict=True) if answer.value < least[t]}
            self.add(news)
            if whole and not news:
                if self._met or np.isinf(self.room):
                    break
                # Nothing more to learn near these prices.
                self.room = np.inf
            if news or whole:
                asked = self._mixed()
                if self._met:
                    break
            # Most slots keep their answer: those that do not are asked again first.
            asking, partly = (sorted(news), partly + 1) if news and partly < PARTLY else (list(every), 0)
        if self.proof is None or not self.master.keeps_all:
            raise NoSolutionError
        if not self._met:
            apart = (self.master.value - self.bound) / self.task.scale
            raise StoppedError(f"the bounds did not meet: {apart:.1e} of the scale remain")
        return self.proof

    def _learn(self, answers: Sequence[Answer], asked: FloatArray, *, first: bool) -> None:
        """What all slots' answers prove of the prices asked."""
        charged = sum(price * row.most for price, row in zip(asked, self.task.rows, strict=True))
        proved = sum(answer.bound for answer in answers) - charged
        better = proved > self.bound
        if better:
            self.bound, self.proof, self.centre = proved, _together(answers, asked), asked
        if first:
            return
        if not better:
            # It went too far.
            self.room = np.sqrt(self.room)
        elif not self.master.keeps_all:
            # It would have gone on: what keeps it is too small.
            self.room = min(self.room**2, max(self.room, WIDEST))

    def _mixed(self) -> FloatArray:
        """The prices of the best mix."""
        small = SMALL * np.array([self.task.scale / row.unit for row in self.task.rows])
        self.master.confine(self.centre, small, self.room)
        self.master.solve()
        return self.master.multipliers

    @property
    def _slack(self) -> float:
        """What a slot's answer may miss: a part of what is between the bounds, or else of the objective."""
        apart = self.master.value - self.bound if self.master.keeps_all else self.task.scale
        return LOOSE * min(apart, self.task.scale) / len(self.blocks)

    @property
    def _met(self) -> bool:
        """Whether the master's mix is proved to be the optimum."""
        master = self.master
        return master.keeps_all and master.value - self.bound <= GAP * max(self.task.scale, abs(master.value))


def _answer_of(point: Point, units: Units, slots: slice) -> Answer:
    """Some slots of a point, as if a block of them had answered it."""
    shares = point.shares[units.starts[slots.start] : units.starts[slots.stop]].ravel()
    places = np.nonzero(shares > 0)[0]
    nothing = np.empty(0)
    prices = Prices(nothing, nothing, nothing, nothing)
    return Answer(places, shares[places], point.grid[:, slots], np.nan, -np.inf, prices)


def _point(mix: _Mix, task: Task) -> Point:
    units, sites = task.units, len(task.instance.sites)
    shares = np.zeros(units.delay.shape)
    flat, grid = shares.ravel(), np.zeros((sites, task.instance.slots))
    for weight, number, answer in mix.master.mix():
        slots = mix.blocks[number].data.slots
        flat[int(units.starts[slots.start]) * sites + answer.places] += weight * answer.shares
        grid[:, slots] += weight * answer.grid
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
