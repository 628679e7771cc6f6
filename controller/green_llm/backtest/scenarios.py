"""Scenarios side by side: what the policy would have taken in each of some worlds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from green_llm.backtest import parallel
from green_llm.backtest.compare import Backtest, Compared, broken_limits, run_kept, unsaid
from green_llm.backtest.methods import Method
from green_llm.backtest.replay import Span
from green_llm.backtest.run import Ran, run
from green_llm.backtest.savings import MEASURES, Measure, savings
from green_llm.backtest.tally import Tally
from green_llm.backtest.world import World
from green_llm.errors import InvalidInputError

AS_IT_IS = "as it is"
PARETO_TOLERANCES = (0, 1, 2, 3, 5, 10, 20, 50, 100)
"""Per cent of the first objective that may be given up."""
FITTED_ON = 2 / 3
"""Part of the time on which the best scenario is picked; it is reported on the rest."""


@dataclass(frozen=True, kw_only=True)
class Scenarios:
    """What is to be compared: the worlds by name, the first as it is."""

    backtest: Backtest
    worlds: Mapping[str, World]

    def jobs(self) -> dict[str, parallel.Job]:
        """One for each world."""
        tests = {name: replace(self.backtest, world=world, against=()) for name, world in self.worlds.items()}
        return {name: parallel.Job(run, (test.task(Method.OURS),)) for name, test in tests.items()}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What each scenario came to."""

    scenarios: Scenarios
    ran: Mapping[str, Ran]

    def one(self, name: str) -> Compared:
        """A scenario as a back-test of its own."""
        backtest = replace(self.scenarios.backtest, world=self.scenarios.worlds[name], against=(), bounds=())
        return Compared(backtest=backtest, ran={Method.OURS: self.ran[name]}, bounds={})


def run_scenarios(
    scenarios: Scenarios, report: parallel.Report, *, processes: int = 1, scheduler: str | None = None
) -> Found:
    """Run all of them; what is kept on the way stays until ``forget``."""
    ran = run_kept(scenarios.jobs(), scenarios.backtest.work, report, processes=processes, scheduler=scheduler)
    return Found(scenarios=scenarios, ran={name: ran[name] for name in scenarios.worlds})


def fronts(found: Found) -> list[list[str]]:
    """The scenarios that no other beats in cost and in emissions, cheapest first; apart by the demand that they serve.

    Half the demand takes half of everything: that is no better way to serve it.
    """
    groups: dict[float, list[tuple[float, float, str]]] = {}
    for name, ran in found.ran.items():
        cost, kg = (float(_measure(m).of(ran.tally.series).sum()) for m in ("cost", "emissions_kg"))
        groups.setdefault(float(f"{ran.tally.amounts().queries:.6g}"), []).append((cost, kg, name))
    return [
        [
            name
            for cost, kg, name in sorted(group)
            if not any(c <= cost and k <= kg and (c, k) != (cost, kg) for c, k, _ in group)
        ]
        for group in groups.values()
    ]


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The best scenario of the first part of the time, and what it did in the rest."""

    name: str
    measure: str
    fitted: Span
    reported: Span
    savings: tuple[Mapping[str, Any], ...]
    """Against the directory as it is, over ``reported`` alone."""


def cut_of(span: Span, measure: str) -> int:
    """The first interval after the first two thirds of whole days: what is chosen before it is reported from it on.

    Raises:
        InvalidInputError: the measure is unknown, or the time is too short to be parted.
    """
    _measure(measure)
    per_day = 86400 // span.step_seconds
    cut = int(span.count * FITTED_ON) // per_day * per_day
    if not 0 < cut < span.count:
        raise InvalidInputError("--pick: two days at least are needed: some to choose on, and some to report on")
    return cut


def pick(found: Found, measure: str) -> Picked:
    """Choose by one measure on the first two thirds of whole days, and report on the last third.

    Raises:
        InvalidInputError: the measure is unknown, or the time is too short to be parted.
    """
    span = found.scenarios.backtest.span
    cut = cut_of(span, measure)
    of = _measure(measure).of
    middle = span.slots.slot_start(cut)
    chosen = min(found.ran, key=lambda name: float(of(found.ran[name].tally.series)[:cut].sum()))
    later = replace(span, start=middle)
    base, best = (_part(found.ran[name].tally, cut) for name in (AS_IT_IS, chosen))
    return Picked(
        name=chosen,
        measure=measure,
        fitted=replace(span, end=middle),
        reported=later,
        savings=tuple(asdict(entry) | {"enough_days": entry.enough_days} for entry in savings(best, base, later)),
    )


def _part(tally: Tally, start: int) -> Tally:
    return replace(
        tally,
        series={name: values[start:] for name, values in tally.series.items()},
        late_queries=tally.late_queries[start:],
        uncharged=tally.uncharged[start:],
        site_queries=tally.site_queries[start:],
    )


def _measure(name: str) -> Measure:
    found = next((measure for measure in MEASURES if measure.name == name), None)
    if found is None:
        raise InvalidInputError(f'--pick: "{name}" is unknown (known: {", ".join(m.name for m in MEASURES)})')
    return found


def scenarios_document(found: Found, picked: Picked | None, *, front: bool) -> dict[str, Any]:
    """What `green-llm what-if --json` prints."""
    span = found.scenarios.backtest.span
    return {
        "format": "green-llm-what-if/1",
        "policy": found.scenarios.backtest.policy,
        "start": span.start.isoformat(),
        "end": span.end.isoformat(),
        "interval_seconds": span.step_seconds,
        "scenarios": {name: _scenario(found, name) for name in found.ran},
        "pareto": [name for group in fronts(found) for name in group] if front else None,
        "picked": None
        if picked is None
        else {
            "scenario": picked.name,
            "by": picked.measure,
            "chosen_until": picked.fitted.end.isoformat(),
            "reported_from": picked.reported.start.isoformat(),
            "saves": {entry["measure"]: {**entry, **_hidden(found, entry["measure"])} for entry in picked.savings},
        },
    }


def _scenario(found: Found, name: str) -> dict[str, Any]:
    ran, compared = found.ran[name], found.one(name)
    broken = compared.broken(Method.OURS)
    saves = savings(ran.tally, found.ran[AS_IT_IS].tally, found.scenarios.backtest.span)
    return {
        **{m.name: float(m.of(ran.tally.series).sum()) for m in MEASURES},
        **dict.fromkeys(unsaid(compared.policy)),
        "queries": ran.tally.amounts().queries,
        "mean_delay_s": ran.tally.amounts().mean_delay_s,
        "p95_delay_s": ran.tally.percentile_s(0.95),
        "keeps_limits": not broken,
        "broken": broken_limits(broken),
        "saves": {s.measure: asdict(s) | {"enough_days": s.enough_days} | _hidden(found, s.measure) for s in saves},
    }


def _hidden(found: Found, measure: str) -> dict[str, None]:
    hidden = measure in unsaid(found.one(AS_IT_IS).policy)
    return dict.fromkeys(("percent", "low_percent", "high_percent")) if hidden else {}
