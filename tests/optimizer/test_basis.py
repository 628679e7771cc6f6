"""A basis says for itself whether it stays optimal when costs change, and what its prices are then."""

from __future__ import annotations

import numpy as np
import pytest

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.basis import Basis
from green_llm.optimizer.block_programme import BlockProgramme, Data, assemble
from green_llm.optimizer.running import pass_programme, run
from green_llm.optimizer.scaled import scaled
from green_llm.optimizer.solver import live_highs
from green_llm.optimizer.units import Triples, units


def _optimum(programme: BlockProgramme, costs: FloatArray) -> float:
    highs = live_highs()
    pass_programme(highs, programme, costs)
    run(highs, None)
    return float(highs.getInfo().objective_function_value)


@pytest.mark.parametrize("tight", [False, True], ids=["loose", "delay limits bind"])
@pytest.mark.parametrize("by", [1e-4, 1e-2, 0.3])
def test_a_basis_is_kept_where_it_is_optimal_and_nowhere_else(by: float, tight: bool) -> None:
    instance = scaled(8, 6, 3, 1, tight_delay=tight)
    data = Data.of(instance, units(instance, Triples.of(instance), merged=False), 0, 1)
    programme = assemble(data, data.serving, ())
    width, rng, kept = len(programme.column_upper), np.random.default_rng(1), []
    share, cells = programme.shares, data.grid_limit.size
    costs = np.concatenate([
        data.delay[programme.unit, programme.site], rng.uniform(-0.2, 1.0, cells), np.full(width - share - cells, 1e5),
    ])  # fmt: skip
    highs = live_highs()
    pass_programme(highs, programme, costs)
    run(highs, None)
    basis = Basis.of(highs, programme)
    for _ in range(15):
        changed = costs.copy()
        changed[share : share + cells] *= rng.uniform(1 - by, 1 + by, cells)
        duals, optimum = basis.duals_at(highs, changed), _optimum(programme, changed)
        at = float(changed @ basis.columns)
        kept.append(duals is not None)
        if duals is None:
            continue
        reduced = changed - np.bincount(
            np.repeat(np.arange(width), np.diff(programme.starts)), programme.values * duals[programme.rows], width
        )
        priced, charged = np.abs(duals) > 1e-9, reduced < -1e-9
        proved = float(duals[priced] @ np.where(duals < 0, programme.row_upper, programme.row_lower)[priced])
        proved += float(reduced[charged] @ programme.column_upper[charged])
        assert at == pytest.approx(optimum, rel=1e-8)
        assert proved == pytest.approx(optimum, rel=1e-6)
    if by < 1e-3:
        assert any(kept)
    if by > 0.1:
        assert not all(kept)
