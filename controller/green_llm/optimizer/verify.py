"""Distrust the answer: every balance and limit of the model, recomputed from a plan without Pyomo or a solver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import BoolArray, FloatArray, Instance
from green_llm.domain.plan import Diagnosis, LimitKind, Objective, Plan, Where
from green_llm.errors import PlanCheckError
from green_llm.optimizer.coefficients import has_demand, is_fixed, may_serve
from green_llm.optimizer.evaluate import facility_kwh, mean_delays, used_resources, values, water_liters

TOLERANCE = 1e-7
"""Of max(1, |right-hand side|)."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A balance or limit that a plan breaks."""

    equation: str
    """A ``LimitKind`` value for the limits; the equation's name for a balance, which no honest plan breaks."""
    where: Where
    required: float
    available: float
    unit: str
    message: str

    @property
    def shortfall(self) -> float:
        """How much is missing."""
        return self.required - self.available

    @property
    def is_limit(self) -> bool:
        """Whether it is one of the user's limits."""
        return self.equation in LIMITS

    def diagnosis(self) -> Diagnosis:
        """The same as a diagnosis; for limits only."""
        return Diagnosis(
            kind=LimitKind(self.equation),
            where=self.where,
            required=self.required,
            available=self.available,
            shortfall=self.shortfall,
            unit=self.unit,
            message=self.message,
        )


UNSERVED = "unserved"
"""The equation name of demand that no site has room for."""
LIMITS = frozenset(kind.value for kind in LimitKind)


def check(instance: Instance, plan: Plan) -> tuple[Violation, ...]:
    """Everything a plan breaks by more than 1e-7 · max(1, |rhs|); nothing for a good plan."""
    return (*check_shares(instance, plan), *check_balances(instance, plan), *check_limits(instance, plan))


def require_valid(
    instance: Instance,
    plan: Plan,
    expected: Mapping[Objective, float] | None = None,
    may_break: Iterable[str] = (),
    budgets: Mapping[Objective, float] | None = None,
) -> None:
    """Raise unless the plan keeps everything and is worth what the solver says.

    Args:
        instance: the parameters.
        plan: what is checked.
        expected: values of objectives by the solver.
        may_break: equations that may be broken: what a least violation gives up.
        budgets: the most that objectives may be.

    Raises:
        PlanCheckError: names what is broken, where and by how much.
    """
    forgiven = set(may_break)
    broken = [violation for violation in check(instance, plan) if violation.equation not in forgiven]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise PlanCheckError(
            f"instance {instance.name}: {broken[0].message}{more}; this is a defect, report the instance"
        )
    worth = values(instance, plan)
    for objective, value in (expected or {}).items():
        if abs(worth.of(objective) - value) > TOLERANCE * max(1.0, abs(value)):
            raise PlanCheckError(
                f"instance {instance.name}: {objective.value} is {worth.of(objective):.12g} recomputed and {value:.12g} "
                "by the solver; this is a defect, report the instance"
            )
    for objective, budget in (budgets or {}).items():
        if worth.of(objective) > budget + TOLERANCE * max(1.0, abs(budget)):
            raise PlanCheckError(
                f"instance {instance.name}: {objective.value} is {worth.of(objective):.12g}, above its budget of "
                f"{budget:.12g}; this is a defect, report the instance"
            )


def check_shares(instance: Instance, plan: Plan) -> Iterator[Violation]:
    """Shares in [0, 1], summing to 1 − unserved, only where allowed, as given where fixed, equal in groups."""
    demanded = instance.demand > 0
    for i, j, k, t in np.argwhere(_outside(plan.shares, 1.0) | _outside(-plan.shares, 0.0)).tolist():
        where = _where(instance, i=i, j=j, k=k, t=t)
        yield _balance(
            "shares", where, plan.shares[i, j, k, t], 1.0, f"the share {_name(where)} is not between 0 and 1"
        )
    sums = plan.shares.sum(axis=1)
    target = np.where(has_demand(instance)[..., None], 1.0 - plan.unserved, 0.0)
    for i, k, t in np.argwhere(np.abs(sums - target) > TOLERANCE).tolist():
        where = _where(instance, i=i, k=k, t=t)
        yield _balance(
            "all_served",
            where,
            target[i, k, t],
            sums[i, k, t],
            f"shares {_name(where)} sum to {sums[i, k, t]:.9g}, not {target[i, k, t]:.9g}",
        )
    serving = may_serve(instance)
    for i, j, k, t in np.argwhere((plan.shares > TOLERANCE) & ~serving[..., None]).tolist():
        where = _where(instance, i=i, j=j, k=k, t=t)
        share = plan.shares[i, j, k, t]
        yield _balance(
            "allowed", where, share, 0.0, f"a share of {share:.6g} {_name(where)} goes to a site that may not serve"
        )
    yield from _check_fixed(instance, plan)
    yield from _check_groups(instance, plan, demanded)


def _check_fixed(instance: Instance, plan: Plan) -> Iterator[Violation]:
    if np.isnan(instance.fixed_shares).all():
        return
    given = instance.fixed_shares[..., None] * (1.0 - plan.unserved[:, None])
    wrong = (instance.demand > 0)[:, None] & (np.abs(plan.shares - given) > TOLERANCE)
    for i, j, k, t in np.argwhere(wrong).tolist():
        where = _where(instance, i=i, j=j, k=k, t=t)
        wanted, found = given[i, j, k, t], plan.shares[i, j, k, t]
        yield _balance(
            "fixed", where, wanted, found, f"the share {_name(where)} is {found:.6g}, but fixed at {wanted:.6g}"
        )


def _check_groups(
    instance: Instance, plan: Plan, demanded: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> Iterator[Violation]:
    for group in instance.share_groups:
        for t in range(instance.slots):
            busy = [pair for pair in group if demanded[pair[0], pair[1], t]]
            for i, k in busy[1:]:
                apart = np.abs(plan.shares[i, :, k, t] - plan.shares[busy[0][0], :, busy[0][1], t])
                if apart.max() > TOLERANCE:
                    where = _where(instance, i=i, k=k, t=t)
                    yield _balance(
                        "share_groups",
                        where,
                        apart.max(),
                        0.0,
                        f"shares {_name(where)} differ by {apart.max():.6g} from those of its group",
                    )


def check_balances(instance: Instance, plan: Plan) -> Iterator[Violation]:
    """Grid energy covers what renewables do not, and is never more than what the site uses."""
    facility = facility_kwh(instance, plan.shares)
    grid = plan.grid_energy_kwh
    needed = facility - instance.available_kwh
    for j, t in np.argwhere(_outside(needed - grid, 0.0, needed)).tolist():
        where = _where(instance, j=j, t=t)
        yield _balance(
            "balance",
            where,
            needed[j, t],
            grid[j, t],
            f"{_name(where)}: {needed[j, t]:.9g} kWh are needed from the grid, {grid[j, t]:.9g} are bought",
        )
    for j, t in np.argwhere(_outside(grid - facility, 0.0, facility) | _outside(-grid, 0.0)).tolist():
        where = _where(instance, j=j, t=t)
        yield _balance(
            "no_burning",
            where,
            grid[j, t],
            facility[j, t],
            f"{_name(where)}: {grid[j, t]:.9g} kWh are bought, the site uses {facility[j, t]:.9g}",
        )


def check_limits(instance: Instance, plan: Plan) -> Iterator[Violation]:
    """The user's limits: sites at all, water, capacity, grid connection and delay."""
    yield from check_loads(instance, plan.shares, plan.grid_energy_kwh)
    for i, k in np.argwhere(has_demand(instance) & ~may_serve(instance).any(axis=1)).tolist():
        yield no_allowed_site(instance, i, k)
    if instance.water_cap is not None:
        used = float(water_liters(instance, facility_kwh(instance, plan.shares), plan.grid_energy_kwh).sum())
        if _outside(used, instance.water_cap):
            yield water_short(instance, used)
    for i, k, t in np.argwhere(plan.unserved > TOLERANCE).tolist():
        yield _unserved(instance, i, k, t, float(plan.unserved[i, k, t]))
    delays = mean_delays(instance, plan.shares)
    served = 1.0 - plan.unserved
    limited = ~is_fixed(instance) & np.isfinite(instance.delay_limit)
    limits = np.where(limited, instance.delay_limit, 0.0)[..., None] * served
    late = limited[..., None] & (served > TOLERANCE) & _outside(delays, limits)
    serving = may_serve(instance)
    for i, k, t in np.argwhere(late).tolist():
        yield late_queries(instance, serving[i, :, k], i, k, t, delays[i, k, t] / served[i, k, t])


def check_loads(instance: Instance, shares: FloatArray, grid_kwh: FloatArray) -> Iterator[Violation]:
    """Capacities and grid connections that shares and grid energy exceed."""
    used = used_resources(instance, shares)
    cap = np.repeat(instance.usable_capacity[..., None], instance.slots, axis=2)
    for r, j, t in np.argwhere(_outside(used, cap)).tolist():
        resource = instance.resources[r]
        where = _where(instance, r=r, j=j, t=t)
        yield Violation(
            equation=LimitKind.CAPACITY.value,
            where=where,
            required=used[r, j, t],
            available=cap[r, j, t],
            unit=resource,
            message=f"{resource} at {where.site} is {_percent(used[r, j, t], cap[r, j, t])} short in slot {t}: "
            f"{used[r, j, t]:.6g} needed, {cap[r, j, t]:.6g} usable",
        )
    for j, t in np.argwhere(_outside(grid_kwh, instance.grid_limit_kwh)).tolist():
        needed, there = grid_kwh[j, t] / instance.slot_hours, instance.grid_limit[j, t]
        where = _where(instance, j=j, t=t)
        yield Violation(
            equation=LimitKind.GRID_LIMIT.value,
            where=where,
            required=needed,
            available=there,
            unit="kW",
            message=f"the grid connection of {where.site} is {_percent(needed, there)} short in slot {t}: "
            f"{needed:.6g} kW needed, {there:.6g} kW there",
        )


def water_short(instance: Instance, used_liters: float) -> Violation:
    """The water cap, broken by ``used_liters``."""
    cap = instance.water_cap or 0.0
    return Violation(
        equation=LimitKind.WATER_CAP.value,
        where=Where(),
        required=used_liters,
        available=cap,
        unit="L",
        message=f"water cap {cap:.6g} L is {used_liters - cap:.6g} L short: {used_liters:.6g} L needed",
    )


def no_allowed_site(instance: Instance, i: int, k: int) -> Violation:
    """A pair with demand that no site may serve."""
    where = _where(instance, i=i, k=k)
    return Violation(
        equation=LimitKind.NO_ALLOWED_SITE.value,
        where=where,
        required=1.0,
        available=0.0,
        unit="site",
        message=f"class {where.query_class} from area {where.area} has no allowed site; allow one or remove its demand",
    )


def _unserved(instance: Instance, i: int, k: int, t: int, share: float) -> Violation:
    where = _where(instance, i=i, k=k, t=t)
    return Violation(
        equation=UNSERVED,
        where=where,
        required=1.0,
        available=1.0 - share,
        unit="share",
        message=f"no site has room for {share:.3%} of the queries {_name(where)}",
    )


def late_queries(instance: Instance, serving: BoolArray, i: int, k: int, t: int, delay: float) -> Violation:
    """A delay limit broken by a mean ``delay``, s; the pair may be served by some sites [J]."""
    limit = float(instance.delay_limit[i, k])
    tokens = instance.demand[i, k, t] * instance.tokens_per_query[k]
    seconds = instance.token_size[i, k, t] * tokens / instance.bandwidth[i] + instance.network_delay[i]
    nearest = (seconds + instance.processing_delay[:, k] * tokens)[serving].min()
    where = _where(instance, i=i, k=k, t=t)
    why = f"the nearest site needs {nearest:.4g} s" if nearest > limit else f"it takes {delay:.4g} s on average"
    return Violation(
        equation=LimitKind.DELAY_LIMIT.value,
        where=where,
        required=delay,
        available=limit,
        unit="s",
        message=f"class {where.query_class} from area {where.area} cannot meet {limit:.4g} s in slot {t}: {why}",
    )


def _outside(
    left: FloatArray | float, right: FloatArray | float, scale: FloatArray | None = None
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where left ≤ right is broken by more than the tolerance; ``scale`` where the right-hand side is elsewhere."""
    size = np.maximum(1.0, np.abs(np.where(np.isfinite(right), right, 0.0) if scale is None else scale))
    broken: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = np.asarray(left - np.asarray(right) > TOLERANCE * size)
    return broken


def _balance(equation: str, where: Where, required: float, available: float, message: str) -> Violation:
    return Violation(
        equation=equation, where=where, required=float(required), available=float(available), unit="", message=message
    )


def _where(
    instance: Instance,
    *,
    i: int | None = None,
    j: int | None = None,
    k: int | None = None,
    t: int | None = None,
    r: int | None = None,
) -> Where:
    return Where(
        area=None if i is None else instance.areas[i],
        site=None if j is None else instance.sites[j],
        query_class=None if k is None else instance.classes[k],
        slot=t,
        resource=None if r is None else instance.resources[r],
    )


def _name(where: Where) -> str:
    parts = [
        f"of class {where.query_class}" if where.query_class else "",
        f"from area {where.area}" if where.area else "",
        f"{'at ' if where.area else ''}site {where.site}" if where.site else "",
        f"in slot {where.slot}" if where.slot is not None else "",
    ]
    return " ".join(part for part in parts if part)


def _percent(needed: float, there: float) -> str:
    return f"{100 * (needed / there - 1):.3g} %" if there > 0 else "100 %"
