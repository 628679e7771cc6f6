"""The master of the decomposition over slots: which mix of each slot's answers keeps the rows that couple them.

Dantzig & Wolfe 1960, one column per slot and round (disaggregated). What a mix of answers costs is an upper bound, the
slots' bounds at the master's prices give the lower one; where they meet, both are the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.block import EXCEEDED, Answer
from green_llm.optimizer.block_programme import Coupling
from green_llm.optimizer.running import run
from green_llm.optimizer.solver import live_highs

PENALTY = 1e6
"""Of exceeding a coupling row by its unit, in units of the objective's scale: only until better columns are there."""
FINER = 1e2
"""The master counts in so much smaller units, at the least tolerance HiGHS takes: else it leaves out answers that count
as news, and is told the same ones again and again."""
TOLERANCE = 1e-10
TILT = 0.25
"""How much less, as a power, prices may move against each other than all of them together: what rows are worth to each
other is known from the phase before within hundredths."""


@dataclass
class Master:
    """One mix per slot; grows by a column per answer."""

    slots: int
    rows: Sequence[Coupling]
    unit: float
    """The objective's scale by slot; the solver sees a hundredth of it."""
    deadline: float | None
    answers: list[tuple[int, Answer]] = field(default_factory=list)
    value: float = np.inf
    worth: FloatArray = field(default_factory=lambda: np.empty(0))
    """[T] what a slot's answer has to beat."""
    multipliers: FloatArray = field(default_factory=lambda: np.empty(0))
    """[m] price of each row."""
    excess: float = 0.0
    _weights: FloatArray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        """Rows, and a column that exceeds each coupling row."""
        self._highs = live_highs()
        self._highs.setOptionValue("presolve", "off")
        self._highs.setOptionValue("dual_feasibility_tolerance", TOLERANCE)
        self.unit /= FINER
        self.multipliers = np.zeros(len(self.rows))
        self._counted = np.ones(2 * len(self.rows), dtype=bool)
        nothing = np.empty(0)
        for _ in range(self.slots):
            self._highs.addRow(1.0, 1.0, 0, nothing.astype(np.int32), nothing)
        for row in self.rows:
            self._highs.addRow(-highspy.kHighsInf, row.most / row.unit, 0, nothing.astype(np.int32), nothing)
        for cost, entry in ((PENALTY * FINER, -1.0), (0.0, 1.0)):
            for m in range(len(self.rows)):
                place = np.array([self.slots + m], dtype=np.int32)
                self._highs.addCol(cost, 0.0, highspy.kHighsInf, 1, place, np.array([entry]))

    def confine(self, centre: FloatArray, small: FloatArray, room: float) -> None:
        """Keep the prices near others: the newest row's within a factor, what others are of it within ``TILT`` of that.

        Args:
            centre: [m] the prices to stay near.
            small: [m] what counts as nothing; such a price stays below that times the factor.
            room: the factor; inf for none.
        """
        if not self.rows:
            return
        count, units = len(self.rows), np.array([row.unit for row in self.rows]) / self.unit
        price, nothing = centre * units, small * units
        most, least = np.maximum(price, nothing) * room, np.where(price > nothing, price / room, 0.0)
        dear = PENALTY * FINER
        costs = np.concatenate([np.minimum(most, dear), -np.minimum(least, dear)])
        # What a row leaves over is no excess where nothing is paid for it.
        self._counted = costs != 0
        of_newest = np.zeros(2 * count)
        if np.isfinite(room) and price[-1] > nothing[-1]:
            tilted = np.append(price[:-1] > nothing[:-1], [False])
            ratio, both = np.where(tilted, price / price[-1], 0.0), np.tile(tilted, 2)
            of_newest = np.concatenate([ratio * room**TILT, -ratio / room**TILT])
            costs[both], self._counted[both] = 0.0, True
        self._highs.changeColsCost(len(costs), np.arange(len(costs), dtype=np.int32), costs)
        for place in np.nonzero(np.arange(2 * count) % count != count - 1)[0].tolist():
            self._highs.changeCoeff(self.slots + count - 1, place, float(of_newest[place]))

    def add(self, slot: int, answer: Answer, value: float, used: Sequence[float]) -> None:
        """An answer of a slot, what it is worth and what it uses of each coupling row."""
        places = np.array([slot, *range(self.slots, self.slots + len(self.rows))], dtype=np.int32)
        scaled = [use / row.unit for use, row in zip(used, self.rows, strict=True)]
        self._highs.addCol(value / self.unit, 0.0, highspy.kHighsInf, len(places), places, np.array([1.0, *scaled]))
        self.answers.append((slot, answer))

    def solve(self) -> None:
        """The best mix of the answers so far, and the prices it sets."""
        run(self._highs, self.deadline)
        found = self._highs.getSolution()
        duals = np.array(found.row_dual) * self.unit
        count = len(self.rows)
        self.value = float(self._highs.getInfo().objective_function_value) * self.unit
        self.worth = duals[: self.slots]
        self.multipliers = np.maximum(-duals[self.slots :], 0.0) / np.array([row.unit for row in self.rows])
        columns = np.array(found.col_value)
        self.excess = float(columns[: 2 * count][self._counted].max(initial=0.0))
        self._weights = columns[2 * count :]

    @property
    def keeps_all(self) -> bool:
        """Whether the mix keeps every coupling row."""
        return self.excess <= EXCEEDED

    def mix(self) -> list[tuple[float, int, Answer]]:
        """Weight, slot and answer of everything that is in the mix."""
        used = np.nonzero(self._weights > 0)[0].tolist()
        return [(float(self._weights[n]), *self.answers[n]) for n in used]
