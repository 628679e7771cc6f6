"""What is wrong with an interval, and what is worth knowing of it, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from green_llm.domain.plan import Termination
from green_llm.domain.series import SignalKind, SignalProblem
from green_llm.page.words import KINDS, NAMES, listed, signal_name
from green_llm.services.outcome import Outcome
from green_llm.services.wording import shortfalls

CHOSEN = ("Suspended",)
"""Reasons for leaving a resource out that its owner has asked for."""
NEEDED = (SignalKind.ELECTRICITY_PRICE, SignalKind.CARBON_INTENSITY, SignalKind.WUE, SignalKind.EWIF)
"""Without these there is no cost, emission or water."""


def messages(outcome: Outcome) -> Iterable[str]:
    """What is wrong: no plan, limits that are broken, writes that failed, signals without a value, resources left out."""
    result = outcome.result
    if result is None:
        yield f"There is no plan, and the weights stay as they are: {outcome.error or 'nothing was planned'}"
    elif result.termination is Termination.INFEASIBLE:
        yield "No plan keeps every limit. Planned is the one that breaks them least:"
        yield from shortfalls(outcome, result.diagnosis)
    elif result.termination is Termination.TIME_LIMIT:
        missed = listed([NAMES[objective] for objective in result.phases_not_reached])
        what = f"{missed} did not get its turn" if missed else "ties were not removed"
        yield f"The solver's time was up: the plan keeps every limit, but {what}"
    yield from (f"the weights in force: {text}" for text in shortfalls(outcome, outcome.broken_in_force))
    yield from (f"{key}: {message}" for key, message in outcome.writes_failed.items())
    yield from (f"{site} keeps its share: no value for {kinds}" for site, kinds in outcome.held_sites.items())
    yield from (f"{p.key}: {p.field}: {p.message}" for p in outcome.skipped if p.reason not in CHOSEN)
    yield from (problem.message for problem in outcome.book.problems if problem.source is None)
    if outcome.audit_error:
        yield outcome.audit_error


def notes(outcome: Outcome) -> Iterable[str]:
    """What is as its owner has asked for, or is made up for: suspensions, fall-backs, a horizon that is shorter."""
    yield from (f"{p.key}: {p.message}" for p in outcome.skipped if p.reason in CHOSEN)
    lacking = _lacking(outcome)
    if lacking:
        yield f"Amounts leave out {listed(lacking)}: without a price, an intensity or a factor there is no amount"
    if outcome.horizon_shortened_to is not None:
        known, asked = outcome.horizon_shortened_to, outcome.policy.slots
        yield f"Planned over {known} of {asked} slots: signals reach no further"
    by_kind: dict[SignalKind, list[str]] = {}
    for (site, kind), value in sorted(outcome.current_signals().items()):
        if value.rank:
            by_kind.setdefault(kind, []).append(site)
    for kind, sites in by_kind.items():
        many = f"{len(sites)} sites" if len(sites) > KINDS else listed(sites)
        yield f"Fall-back of the {signal_name(kind)} at {many}: sources before it have no fresh value for now"
    yield from _unusable(outcome)


def _unusable(outcome: Outcome) -> Iterable[str]:
    """Sources of chains that could not be used, once for each reason."""
    groups: dict[tuple[str, str], list[SignalProblem]] = {}
    for problem in outcome.book.problems:
        if problem.source is not None:
            groups.setdefault((problem.source, problem.message.partition("]: ")[2]), []).append(problem)
    for (source, reason), found in groups.items():
        if len(found) == 1:
            yield found[0].message
        else:
            sites = len({problem.site for problem in found})
            yield f"SignalSource {source}, for {len(found)} signals of {sites} {'site' if sites == 1 else 'sites'}: {reason}"


def _lacking(outcome: Outcome) -> list[str]:
    """Sites with traffic, by our weights or a baseline's, whose amounts lack a factor."""
    first = outcome.first_slot
    missing = {
        site for (site, kind), values in outcome.book.values.items()
        if kind in NEEDED and (first >= len(values) or values[first] is None)
    }  # fmt: skip
    sides = (outcome.in_force, outcome.nearest, outcome.static)
    return [site for site in sorted(missing) if any(site in side and side[site].energy_kwh > 0 for side in sides)]
