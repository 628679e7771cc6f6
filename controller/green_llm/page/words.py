"""Numbers and limits as people say them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from green_llm.domain.plan import Binding, LimitKind, Objective, ShadowPrice
from green_llm.domain.series import SignalKind
from green_llm.services.outcome import Outcome
from green_llm.services.wording import number

NAMES = {
    Objective.COST: "cost",
    Objective.CARBON: "carbon cost",
    Objective.DELAY: "delay penalty",
    Objective.EMISSIONS: "emissions",
    Objective.WATER: "water",
}
SIGNALS = {
    SignalKind.ELECTRICITY_PRICE: "electricity price",
    SignalKind.CARBON_INTENSITY: "carbon intensity",
    SignalKind.SOLAR_OUTPUT: "sun on site",
    SignalKind.WIND_OUTPUT: "wind on site",
    SignalKind.WUE: "water of cooling (WUE)",
    SignalKind.EWIF: "water of electricity (EWIF)",
}
HOLDS = {
    "Shadow": "not written: Shadow",
    "Suspended": "as they are: suspended",
    "Ramp": "on the way to the plan (ramp)",
    "Deadband": "close enough to the plan (dead-band)",
    "MinWriteInterval": "too soon after the last write",
    "SiteMaximum": "as far as the site's maximum lets",
    "AllSitesExcluded": "as they are: no site can be sent to",
    "Rollback": "taken back by the SLO guard",
    "Contended": "left to another writer",
}
"""What keeps weights from the plan's, as people say it."""
KINDS = 6
"""So many names are listed."""
_PER_MILLISECOND = 1e-3
FULL = 1.0 - 1e-6
"""Of a limit: what is used beyond it leaves no room."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one more unit of a limit would change."""

    objective: str
    value: float
    """Change of the objective's optimum by one more ``per``; negative: it falls."""
    unit: str
    per: str


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit that binds in one slot or more."""

    limit: str
    """``water_cap``, ``capacity``, ``grid_limit`` or ``delay_limit``."""
    site: str | None
    area: str | None
    query_class: str | None
    resource: str | None
    slots: tuple[datetime, ...]
    """Starts of the slots; empty for the water cap, which is of the whole horizon."""
    prices: tuple[Price, ...]
    """The largest of any slot, by objective."""
    words: str


def signed(value: float | None, digits: int = 3) -> str:
    """The same with its sign."""
    return ("+" if value is not None and value > 0 else "") + number(value, digits)


def per_cent(share: float | None) -> str:
    """A ratio in per cent, with its sign; a dash where there is none, no sign where it is rounded to nothing."""
    text = "–" if share is None else f"{100 * share:+.1f} %".replace("-", "−")
    return "0.0 %" if text in ("+0.0 %", "−0.0 %") else text


def signal_name(kind: SignalKind | str) -> str:
    """A kind of signal as people call it."""
    return SIGNALS[SignalKind(kind)]


def hold_name(held_by: str | None) -> str:
    """What keeps weights from the plan's."""
    return "as planned" if held_by is None else HOLDS.get(held_by, f"held by {held_by}")


def duration(seconds: float | None) -> str:
    """An age: 40 s, 12 min, 3 h, 2 d."""
    if seconds is None:
        return "does not age"
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def clock(moment: datetime | None) -> str:
    """A time of day with its date, UTC."""
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def limits(outcome: Outcome) -> list[Limit]:
    """What binds, one entry per limit over its slots; what has a price first."""
    groups: dict[tuple[str | None, ...], list[Binding]] = {}
    for binding in outcome.result.binding if outcome.result else ():
        where = binding.where
        key = (binding.limit.value, where.site, where.area, where.query_class, where.resource, str(is_full(binding)))
        groups.setdefault(key, []).append(binding)
    found = [_limit(outcome, entries) for entries in groups.values()]
    return sorted(found, key=lambda limit: (not limit.prices, limit.limit != "water_cap", -len(limit.slots)))


def _limit(outcome: Outcome, entries: Sequence[Binding]) -> Limit:
    first = max(entries, key=lambda entry: entry.used / entry.cap if entry.cap else 1.0)
    prices = _largest(outcome, entries)
    slots = tuple(outcome.slots.slot_start(e.where.slot) for e in entries if e.where.slot is not None)
    return Limit(
        limit=first.limit.value,
        site=first.where.site,
        area=first.where.area,
        query_class=first.where.query_class,
        resource=first.where.resource,
        slots=slots,
        prices=prices,
        words=f"{_fact(outcome, first)}{_when(slots, outcome.slots.count)}{_in_the_way(first)}. "
        f"{_worth(prices, several=len(slots) > 1)}",
    )


def _largest(outcome: Outcome, entries: Iterable[Binding]) -> tuple[Price, ...]:
    """By objective, the price of the slot where it is largest, per unit as people count it."""
    found: dict[Objective, ShadowPrice] = {}
    for price in (price for entry in entries for price in entry.prices):
        if abs(price.value) > abs(found[price.objective].value if price.objective in found else 0.0):
            found[price.objective] = price
    limit = next(iter(entries))
    factor, per = _unit(outcome, limit)
    return tuple(
        Price(objective=o.value, value=p.value * factor, unit=unit_of(o, outcome), per=per) for o, p in found.items()
    )


def _unit(outcome: Outcome, limit: Binding) -> tuple[float, str]:
    """How many of the model's units one of the user's is, and what it is called."""
    if limit.limit is LimitKind.CAPACITY:  # resource-seconds of a slot
        return float(outcome.slots.slot_seconds), limit.where.resource or limit.unit
    if limit.limit is LimitKind.DELAY_LIMIT:
        return _PER_MILLISECOND, "millisecond"
    return 1.0, {"L": "litre"}.get(limit.unit, limit.unit)


def unit_of(objective: Objective, outcome: Outcome) -> str:
    """The unit of an objective in the policy's currency; marginal emissions say that they are."""
    marginal = "" if outcome.policy.takes_inventory else " (marginal)"
    return objective.unit.replace("$", outcome.policy.currency).replace("kgCO2", f"kgCO2e{marginal}")


def is_full(limit: Binding) -> bool:
    """Whether the plan leaves no room in a limit; one with room was in the way of an earlier objective."""
    return limit.used >= limit.cap * FULL


def _fact(outcome: Outcome, limit: Binding) -> str:
    """What binds, and how much of it the plan uses."""
    where, size, full = limit.where, outcome.slots.slot_seconds, is_full(limit)
    match limit.limit:
        case LimitKind.WATER_CAP:
            used, cap = number(limit.used), number(limit.cap)
            if full:
                return f"All water that the budget leaves for these {outcome.slots.count} slots is used: {cap} L"
            return f"The budget leaves {cap} L of water for these {outcome.slots.count} slots; {used} L are used"
        case LimitKind.CAPACITY:
            of = f"at most {number(limit.used / size)} of {number(limit.cap / size)} used, headroom aside"
            return f"{where.resource} at {where.site} {'is full' if full else 'has room'} ({of})"
        case LimitKind.GRID_LIMIT:
            of = f"at most {number(limit.used)} of {number(limit.cap)} kW"
            return f"The grid connection of {where.site} {'is full' if full else 'has room'} ({of})"
        case LimitKind.DELAY_LIMIT:
            of = f"at most {number(limit.used * 1e3)} of {number(limit.cap * 1e3)} ms"
            does = "is at its delay limit" if full else "is below its delay limit"
            return f"{where.query_class} from {where.area} {does} ({of})"
        case LimitKind.NO_ALLOWED_SITE:
            return f"{where.query_class} from {where.area} has no allowed site"


def _in_the_way(limit: Binding) -> str:
    """Of what a limit with room is in the way: the first objective that it has a price in."""
    if is_full(limit) or not limit.prices:
        return ""
    return f", but limits how low {NAMES[limit.prices[0].objective]} can get"


def _when(slots: Sequence[datetime], count: int) -> str:
    if not slots:
        return ""
    first = f"{min(slots):%d %b %H:%M} UTC"
    return f" in the slot of {first}" if len(slots) == 1 else f" in {len(slots)} of {count} slots, first at {first}"


def _worth(prices: Sequence[Price], *, several: bool) -> str:
    if not prices:
        return "More of it would change nothing."
    up_to = "up to " if several else ""
    changes = [
        f"{'lower' if price.value < 0 else 'raise'} {NAMES[Objective(price.objective)]} by "
        f"{up_to}{number(abs(price.value))} {price.unit}"
        for price in prices
    ]
    return f"One more {prices[0].per} would {listed(changes)}."


def by_tokens(name: str, value: float, currency: str) -> str:
    """What 1,000 tokens take, in a unit of its size."""
    factor, unit = {"emissions": (1e3, "gCO2e"), "energy": (1e3, "Wh"), "water": (1e3, "mL")}.get(name, (1.0, currency))
    return f"{number(value * factor)} {unit}"


def listed(parts: Sequence[str]) -> str:
    """A, B and C; empty without any."""
    if not parts:
        return ""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One objective in its turn."""

    objective: str
    unit: str
    optimum: float | None
    """The least over the horizon that the objectives before it leave; None for marginal emissions."""
    budget: float | None
    """The most it may be for those after it; None for the last."""
    planned: float | None
    words: str


def turns(outcome: Outcome) -> Iterable[Turn]:
    """What each objective in its turn has given up for those after it."""
    result = outcome.result
    for phase in result.phases if result else ():
        amounts = outcome.policy.takes_inventory or phase.objective not in (Objective.EMISSIONS, Objective.CARBON)
        unit, planned = unit_of(phase.objective, outcome), result.values.of(phase.objective) if result else 0.0
        yield Turn(
            objective=NAMES[phase.objective],
            unit=unit,
            optimum=phase.optimum if amounts else None,
            budget=phase.budget if amounts else None,
            planned=planned if amounts else None,
            words=_turn(NAMES[phase.objective], unit, phase.optimum, phase.budget, planned, amounts=amounts),
        )


def _turn(name: str, unit: str, optimum: float, budget: float | None, planned: float, *, amounts: bool) -> str:
    if not amounts:
        return f"{name.capitalize()}: marginal ones mean something only as differences."

    def beyond(value: float) -> str:
        return f" ({per_cent((value - optimum) / abs(optimum))})" if optimum else ""

    least = f"{name.capitalize()}: {number(optimum)} {unit} at the least over the horizon"
    if budget is None:
        return f"{least}; the plan takes {number(planned)}."
    return (
        f"{least}. Up to {number(budget)}{beyond(budget)} may be given for what comes after it; "
        f"the plan takes {number(planned)}{beyond(planned)}."
    )
