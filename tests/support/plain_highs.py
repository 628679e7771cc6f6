"""Plain HiGHS on arrays: what the product's solve times are compared with."""

from __future__ import annotations

import time

import highspy
import numpy as np
from scipy import sparse

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Order
from support.second_formulation import formulate


def solve(instance: Instance, order: Order) -> tuple[list[float], float]:
    """Optima of all phases and the seconds of the solves alone: one kept model, a budget row per phase, all defaults."""
    form = formulate(instance)
    matrix = sparse.csr_array(sparse.vstack([form.upper_rows, form.equal_rows]))
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_ = np.zeros(lp.num_col_)
    lp.col_lower_, lp.col_upper_ = form.lower_bound, form.upper_bound
    lp.row_lower_ = np.concatenate([np.full(len(form.upper), -np.inf), form.equal])
    lp.row_upper_ = np.concatenate([form.upper, form.equal])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    lp.a_matrix_.value_ = matrix.data
    # The scheduler's number of threads is one for the whole process, and the product's solver asks for one.
    highspy.Highs.resetGlobalScheduler(True)
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.passModel(lp)
    optima, seconds = [], 0.0
    for objective, tolerance in zip(order.objectives, order.tolerances, strict=True):
        cost = form.costs[objective]
        highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        begun = time.perf_counter()
        highs.run()
        seconds += time.perf_counter() - begun
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(highs.modelStatusToString(highs.getModelStatus()))
        optima.append(float(highs.getInfo().objective_function_value))
        used = np.nonzero(cost)[0].astype(np.int32)
        highs.addRow(-np.inf, tolerance.budget(optima[-1]), len(used), used, cost[used])
    highspy.Highs.resetGlobalScheduler(True)
    return optima, seconds
