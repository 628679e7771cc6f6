"""What decisions took of the days that came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from green_llm.backtest.actuals import Day
from green_llm.domain.amounts import Amounts
from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.plan import LimitKind
from green_llm.domain.weights import NOTICED
from green_llm.optimizer.coefficients import delay_seconds
from green_llm.optimizer.evaluate import mean_delays, used_resources
from green_llm.services.assemble import Assembled
from green_llm.services.columns import site_columns

BINS_FROM_S, BINS_TO_S, BINS = 1e-4, 1e4, 9200
"""Delays are counted in bins that are 0.2 % wide."""
EDGES = np.geomspace(BINS_FROM_S, BINS_TO_S, BINS + 1)
NEEDED = ("cost_paid", "emissions_kg", "water_on_site_l", "water_off_site_l")
FIELDS = tuple(entry.name for entry in fields(Amounts))


@dataclass(frozen=True)
class Broken:
    """How often a kind of limit was exceeded, and how far at worst."""

    intervals: int = 0
    worst_percent: float = 0.0


@dataclass
class Tally:
    """Totals by interval; arrays are [N] unless said."""

    series: dict[str, FloatArray]
    """The fields of ``Amounts``, summed over sites."""
    late_queries: FloatArray
    """Queries whose delay, site by site, is above their class's limit."""
    uncharged: FloatArray
    """1 where a value is missing for some of the traffic."""
    site_queries: FloatArray
    """[N, sites]."""
    delays: FloatArray = field(default_factory=lambda: np.zeros(BINS))
    """Queries by bin of their delay."""
    broken: dict[LimitKind, Broken] = field(default_factory=dict)

    def percentile_s(self, share: float) -> float:
        """The delay that ``share`` of all queries do not exceed, s."""
        reached = np.cumsum(self.delays)
        if reached[-1] <= 0:
            return 0.0
        return float(EDGES[1:][np.searchsorted(reached, share * reached[-1])])

    def amounts(self, where: FloatArray | slice = slice(None)) -> Amounts:
        """The sum over some intervals."""
        return Amounts(**{name: float(values[where].sum()) for name, values in self.series.items()})


def begin(intervals: int, sites: int) -> Tally:
    """Nothing charged yet."""
    return Tally(
        series={name: np.zeros(intervals) for name in FIELDS},
        late_queries=np.zeros(intervals),
        uncharged=np.zeros(intervals),
        site_queries=np.zeros((intervals, sites)),
    )


def charge(tally: Tally, day: Day, shares: FloatArray) -> None:
    """Add a day under shares [N of the day, pairs of the request, sites]."""
    found = day.ground()
    if not found.traffic:
        return
    charge_shares(tally, day, found, placed(found, day, shares))


def placed(found: Assembled, day: Day, shares: FloatArray) -> FloatArray:
    """Shares of pairs as [I,J,K,T]; nothing where they are not known."""
    instance = found.instance
    array = np.zeros((len(instance.areas), len(instance.sites), len(instance.classes), instance.slots))
    for (i, k), number in zip(found.place, day.pairs, strict=True):
        array[i, :, k] = np.nan_to_num(shares[:, number]).T
    return array


def charge_shares(tally: Tally, day: Day, found: Assembled, array: FloatArray) -> None:
    """Add a day under shares [I,J,K,T]."""
    instance, policy = found.instance, day.request.policy
    now = slice(day.first, day.last)
    known = site_columns(instance, array, day.request.sites, policy.order, found.residual_kg_per_kwh)
    columns = {name: np.nan_to_num(values, nan=0.0) for name, values in known.items()}
    for name, values in columns.items():
        tally.series[name][now] += values.sum(axis=0)
    # The penalty is per slot of the plan: a mean delay, whatever the length of the slot.
    tally.series["delay_penalty"][now] *= instance.slot_hours * 3600.0 / policy.slot_seconds
    needed = np.array([known[name] for name in NEEDED])
    tally.uncharged[now] = (np.isnan(needed).any(axis=0) & (columns["energy_kwh"] > 0)).any(axis=0)
    tally.site_queries[now] = columns["queries"].T
    delays = delay_seconds(instance)
    arriving = array * instance.demand[:, None]
    limit = instance.delay_limit[:, None, :, None]
    tally.late_queries[now] = np.where(delays > limit * (1.0 + 1e-9), arriving, 0.0).sum(axis=(0, 1, 2))
    tally.delays += np.histogram(np.clip(delays, BINS_FROM_S, BINS_TO_S), EDGES, weights=arriving)[0]
    for kind, excess in _excesses(instance, array, columns["grid_energy_kwh"]).items():
        _note(tally.broken, kind, excess)


def _excesses(instance: Instance, array: FloatArray, grid_kwh: FloatArray) -> Mapping[LimitKind, FloatArray]:
    """By how much of itself each limit is exceeded, [anything, T]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        used = used_resources(instance, array) / instance.usable_capacity[..., None] - 1.0
        grid = grid_kwh / instance.grid_limit_kwh - 1.0
        late = mean_delays(instance, array) / instance.delay_limit[..., None] - 1.0
    slots = instance.slots
    return {
        LimitKind.CAPACITY: used.reshape(-1, slots),
        LimitKind.GRID_LIMIT: grid,
        LimitKind.DELAY_LIMIT: late.reshape(-1, slots),
    }


def _note(broken: dict[LimitKind, Broken], kind: LimitKind, excess: FloatArray) -> None:
    worst = np.nan_to_num(excess, nan=0.0, posinf=np.inf).max(axis=0, initial=0.0)
    count = int((worst > NOTICED).sum())
    if count:
        before = broken.get(kind, Broken())
        broken[kind] = Broken(before.intervals + count, max(before.worst_percent, 100.0 * float(worst.max())))
