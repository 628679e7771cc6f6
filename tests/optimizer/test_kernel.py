"""The arrays made by numpy are those that Pyomo compiles, entry for entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from green_llm.domain.instance import Instance
from green_llm.optimizer.compilation import compile_model
from green_llm.optimizer.kernel import refill
from green_llm.optimizer.layout import layout
from green_llm.optimizer.standard_form import StandardForm
from support.instances import random_instance, shaken


def entries(form: StandardForm) -> Any:
    matrix = form.matrix.tocsr()
    matrix.sort_indices()
    return matrix


def assert_same(one: StandardForm, other: StandardForm) -> None:
    left, right = entries(one), entries(other)
    assert left.shape == right.shape
    assert np.array_equal(left.indptr, right.indptr)
    assert np.array_equal(left.indices, right.indices)
    assert left.data == pytest.approx(right.data, rel=1e-12)
    for name in ("row_lower", "row_upper", "column_lower", "column_upper"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12), name
    assert set(one.objectives) == set(other.objectives)
    for objective, coefficients in one.objectives.items():
        assert coefficients == pytest.approx(other.objectives[objective], rel=1e-12), objective


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_refill_is_compile(seed: int, relaxed: bool) -> None:
    instance = random_instance(seed, plain=seed % 3 == 0)
    found = layout(instance, room=1.25)
    assert_same(refill(instance, found, relaxed=relaxed), compile_model(instance, found, relaxed=relaxed))


@pytest.mark.parametrize("seed", range(4))
def test_new_data_in_an_old_layout(seed: int) -> None:
    instance = random_instance(seed, plain=True)
    found = layout(instance, room=1.25)
    later: Instance = shaken(instance, seed)
    assert found.covers(layout(later))
    assert_same(refill(later, found), compile_model(later, found))


def test_a_layout_does_not_cover_other_demand() -> None:
    instance = random_instance(0, plain=True)
    demand = instance.demand.copy()
    demand[0, 0, 0] = 0.0
    other = Instance(**{**vars(instance), "demand": demand})
    assert not layout(other).covers(layout(instance))
