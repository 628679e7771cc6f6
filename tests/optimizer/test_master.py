"""The master of the decomposition over slots."""

from __future__ import annotations

import numpy as np
import pytest

from green_llm.optimizer.block import Answer, Prices
from green_llm.optimizer.by_slots import NEWS
from green_llm.optimizer.master import Master


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
