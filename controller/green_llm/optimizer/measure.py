"""How fast the optimiser is here: plain HiGHS and ours in one run, on instances of a size."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Objective, Order, Plan
from green_llm.errors import NoPlanError
from green_llm.optimizer.coefficients import scales
from green_llm.optimizer.evaluate import used_resources
from green_llm.optimizer.kernel import refill
from green_llm.optimizer.layout import layout
from green_llm.optimizer.optimize import optimize
from green_llm.optimizer.planner import Planner
from green_llm.optimizer.scaled import scaled
from green_llm.optimizer.session import Session

EVERY_ROW = 1e12
"""Room for so much growth leaves no row out."""
SHAKEN = ("demand", "electricity_price", "carbon_intensity", "renewable_power")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one size; medians over the seeds."""

    size: str
    plain_seconds: float | None
    """Solves alone; None where plain HiGHS was not run."""
    cold_seconds: float
    """From the parsed instance to the verified plan, without finishing; a new planner."""
    next_seconds: float
    """The same of the next interval; the planner is kept."""
    finishing_share: float
    """Finishing beside it."""
    cold_ratio: float | None
    next_ratio: float | None
    max_relative_difference: float | None
    """Of any phase's optimum from plain HiGHS's, of max(scale, |optimum|)."""
    peak_rss_bytes: int
    """Of the process so far."""
    plain_iterations: int | None
    bindable_delay_rows: float
    """Share of the delay limits that some plan could break."""
    highest_utilisation: float
    """Of any site's capacity in any slot."""
    price_spread: float
    """Standard deviation of electricity prices, of their mean."""
    binding_limits: int
    """Limits that bind in the first instance's plan, or were priced in a phase."""
    priced_limits: int
    """Of them, those whose shadow price is not zero."""
    methods: tuple[str, ...]
    fallback_reasons: tuple[str, ...]


def measure(
    size: tuple[int, int, int, int],
    seeds: int = 2,
    *,
    threads: int = 0,
    plain: bool = True,
    make: Callable[..., Instance] = scaled,
    order: Order | None = None,
) -> Row:
    """Plain HiGHS, a cold plan and the next interval's, interleaved, for some seeds."""
    order = order or Order()
    seconds: dict[str, list[float]] = {"plain": [], "cold": [], "next": [], "finishing": []}
    apart, iterations, results, facts = [], [], [], []
    for seed in range(seeds):
        instance = make(*size, seed=seed)
        session = Session(planner=Planner(threads))
        cold = optimize(instance, order, session=session)
        if plain:
            # Identical budgets: an error of the first phase is multiplied up to 2,000 times by the third.
            optima, taken, steps = solve_plain(instance, order, [phase.budget for phase in cold.phases])
            seconds["plain"].append(taken)
            iterations.append(steps)
            scale = scales(instance)
            apart += [
                abs(phase.optimum - optimum) / (max(scale[phase.objective], abs(optimum)) or 1.0)
                for phase, optimum in zip(cold.phases, optima, strict=True)
            ]
        facts.append(hardness(instance, cold.plan))
        following = optimize(shaken(instance, seed), order, session=session)
        for name, result in (("cold", cold), ("next", following)):
            seconds[name].append(result.seconds - result.finishing_seconds)
            seconds["finishing"].append(result.finishing_seconds / max(1e-9, result.seconds - result.finishing_seconds))
            results.append(result)
    middle = {name: statistics.median(values) if values else None for name, values in seconds.items()}
    binding = results[0].binding
    base, cold_seconds, next_seconds = middle["plain"], middle["cold"] or 0.0, middle["next"] or 0.0
    return Row(
        size="-".join(map(str, size)), plain_seconds=base, cold_seconds=cold_seconds, next_seconds=next_seconds,
        finishing_share=middle["finishing"] or 0.0,
        cold_ratio=cold_seconds / base if base else None, next_ratio=next_seconds / base if base else None,
        max_relative_difference=max(apart) if apart else None, peak_rss_bytes=peak_rss_bytes(),
        plain_iterations=int(statistics.median(iterations)) if iterations else None,
        binding_limits=len(binding), priced_limits=sum(bool(limit.prices) for limit in binding),
        methods=tuple(sorted({r.method for r in results})),
        fallback_reasons=tuple(sorted({r.fallback_reason for r in results if r.fallback_reason})),
        **{name: statistics.median(found[name] for found in facts) for name in facts[0]},
    )  # fmt: skip


def solve_plain(
    instance: Instance, order: Order, budgets: Sequence[float | None] = ()
) -> tuple[list[float], float, int]:
    """Optima, seconds of the solves and iterations: every row, one kept model, a budget row per phase, all defaults.

    ``budgets`` are what later phases may use; its own optima plus their tolerances where left out.

    Raises:
        NoPlanError: HiGHS did not end optimal.
    """
    form = refill(instance, layout(instance, room=EVERY_ROW))
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = form.matrix.shape
    lp.col_cost_ = np.zeros(lp.num_col_)
    lp.col_lower_, lp.col_upper_ = form.column_lower, form.column_upper
    lp.row_lower_, lp.row_upper_ = form.row_lower, form.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = form.matrix.indptr.astype(np.int32)
    lp.a_matrix_.index_, lp.a_matrix_.value_ = form.matrix.indices.astype(np.int32), form.matrix.data
    # The scheduler's number of threads is one for the whole process, and our own solves ask for one.
    highspy.Highs.resetGlobalScheduler(True)
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.passModel(lp)
    optima, seconds, iterations = [], 0.0, 0
    for number, (objective, tolerance) in enumerate(zip(order.objectives, order.tolerances, strict=True)):
        cost = form.objectives[objective]
        highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        begun = time.perf_counter()
        highs.run()
        seconds += time.perf_counter() - begun
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise NoPlanError(f"plain HiGHS ended with {highs.modelStatusToString(highs.getModelStatus())}")
        iterations += int(highs.getInfo().simplex_iteration_count)
        optima.append(float(highs.getInfo().objective_function_value))
        used = np.nonzero(cost)[0].astype(np.int32)
        given = budgets[number] if number < len(budgets) else None
        most = tolerance.budget(optima[-1]) if given is None else given
        highs.addRow(-highspy.kHighsInf, most, len(used), used, cost[used])
    highspy.Highs.resetGlobalScheduler(True)
    return optima, seconds, iterations


def growth_exponent(rows: Sequence[Row]) -> float | None:
    """Log-log slope of our cold seconds over the number of shares, of the rows with the first one's slots."""
    sizes = [tuple(map(int, row.size.split("-"))) for row in rows]
    same = [(float(np.prod(s)), r.cold_seconds) for s, r in zip(sizes, rows, strict=True) if s[3] == sizes[0][3]]
    if len({columns for columns, _ in same}) < 2:
        return None
    columns, seconds = np.log(np.array(same)).T
    return float(np.polyfit(columns, seconds, 1)[0])


def peak_rss_bytes() -> int:
    """The most memory this process has had."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(found if sys.platform == "darwin" else found * 1024)


def hardness(instance: Instance, plan: Plan) -> dict[str, float]:
    """What makes an instance hard: share of delay rows that could bind, highest use of a capacity, spread of prices."""
    limited = np.isfinite(instance.delay_limit)[..., None] & (instance.demand > 0)
    price = instance.electricity_price
    used = used_resources(instance, plan.shares) / instance.usable_capacity[..., None]
    return {
        "bindable_delay_rows": len(layout(instance).delay_rows) / max(1, int(limited.sum())),
        "highest_utilisation": float(used.max(initial=0.0)),
        "price_spread": float(price.std() / abs(price.mean())),
    }


def shaken(instance: Instance, seed: int, by: float = 0.03) -> Instance:
    """An interval later: demand, prices, carbon and renewables each changed by up to ``by``."""
    rng = np.random.default_rng(seed)
    changed = {name: getattr(instance, name) for name in SHAKEN}
    return replace(instance, **{n: a * rng.uniform(1 - by, 1 + by, a.shape) for n, a in changed.items()})


DELAY_FIRST = Order((Objective.DELAY, Objective.COST, Objective.CARBON))
