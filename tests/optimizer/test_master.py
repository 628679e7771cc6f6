"""The master of the decomposition over slots."""

from __future__ import annotations

import numpy as np
import pytest

from green_llm.optimizer.block import Answer
from green_llm.optimizer.block_programme import Coupling
from green_llm.optimizer.by_slots import NEWS, ROOM, _turned
from green_llm.optimizer.limit_prices import Prices
from green_llm.optimizer.master import TILT, Master
from green_llm.optimizer.units import Terms


def test_an_answer_that_counts_as_news_is_taken() -> None:
    slots, scale = 8, 350.0
    nothing = np.empty(0)
    answer = Answer(
        np.empty(0, np.intp), nothing, np.zeros((1, 1)), 0.0, 0.0, Prices(nothing, nothing, nothing, nothing)
    )
    master = Master(slots, (), scale / slots, None)
    for slot in range(slots):
        master.add(slot, answer, scale / slots, ())
    master.solve()
    assert master.value == pytest.approx(scale, rel=1e-13)
    better = 2 * NEWS * scale
    master.add(3, answer, scale / slots - better, ())
    master.solve()
    # A master that leaves it out is told the same answer again, until its rounds end without an optimum.
    assert scale - master.value == pytest.approx(better, rel=0.01)


def _priced(centre: list[float], worth: list[float], room: float) -> list[float]:
    """Prices that a master sets near others, where a unit of the rows saves so much."""
    nothing, none = np.empty(0), np.zeros((1, 1))
    answer = Answer(np.empty(0, np.intp), nothing, none, 0.0, 0.0, Prices(nothing, nothing, nothing, nothing))
    rows = tuple(Coupling(Terms(0.0, none, none), most, unit) for most, unit in ((1.0, 2.0), (1.5, 0.5)))
    master = Master(1, rows, 1.0, None)
    # The rows leave room for half of what is free, and a quarter of what uses the newest alone.
    master.add(0, answer, 0.0, (2.0, 2.0))
    master.add(0, answer, worth[0], (0.0, 2.0))
    master.add(0, answer, worth[0] + worth[1], (0.0, 0.0))
    master.confine(np.array(centre), np.array([1e-3, 1e-3]), room)
    master.solve()
    return list(master.multipliers)


def test_prices_stay_near_and_even_nearer_to_each_other() -> None:
    free = _priced([1.0, 1.0], [4.0, 9.0], np.inf)
    assert free == pytest.approx([2.0, 4.5])
    # Up to twice as much, and more of it against the other by the fourth root of that.
    first, newest = _priced([1.0, 1.0], [4.0, 9.0], 2.0)
    assert newest == pytest.approx(2.0)
    assert first <= newest * 2.0**TILT + 1e-9
    # What is known to be worth nothing may be worth a little.
    assert _priced([0.0, 4.5], [4.0, 9.0], 2.0)[0] == pytest.approx(2e-3)
    # And where nothing is to be seen of the newest row's price, others stay near their own.
    assert _priced([1.0, 0.0], [4.0, 9.0], 2.0) == pytest.approx([2.0, 2e-3])


def test_older_rows_are_worth_to_the_newest_what_the_phase_before_finds() -> None:
    was, now = np.array([4.0, 0.5]), np.array([6.0, 0.5])
    assert _turned(np.array([4.04, 0.5, 1.0]) * 10, was, now) == pytest.approx([60.0, 5.0, 10.0])
    # This objective weighs as much as the rows: a fifth apart before, a fifth apart now.
    assert ROOM**TILT < 1.2
    assert _turned(np.array([4.8, 0.5, 1.0]) * 10, was, now) == pytest.approx([72.0, 5.0, 10.0])
    # A row that had or has no price says nothing.
    assert _turned(np.array([4.0, 0.0, 1.0]), was, now) == pytest.approx([6.0, 0.0, 1.0])
    assert _turned(np.array([4.0, 0.5, 1.0]), was, np.array([0.0, 0.5])) == pytest.approx([4.0, 0.5, 1.0])
    assert _turned(np.array([4.0, 0.5, 0.0]), was, now) == pytest.approx([4.0, 0.5, 0.0])
    # Neither does another number of rows.
    assert _turned(np.array([4.0, 0.5, 1.0]), was[:1], now) == pytest.approx([4.0, 0.5, 1.0])
    assert _turned(np.array([4.0]), np.empty(0), np.empty(0)) == pytest.approx([4.0])
