"""How far and how often weights may move. Taking traffic off a site that must not have it is never delayed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from green_llm.domain.request import Guardrails

Shares = dict[str, float]
SMALL = 1e-9


class Hold(StrEnum):
    """Why shares in force differ from the plan's."""

    SHADOW = "Shadow"
    SUSPENDED = "Suspended"
    RAMP = "Ramp"
    DEADBAND = "Deadband"
    MIN_WRITE_INTERVAL = "MinWriteInterval"
    SITE_MAXIMUM = "SiteMaximum"
    ALL_SITES_EXCLUDED = "AllSitesExcluded"
    ROLLBACK = "Rollback"
    """A site carries more than the SLO guard lets it: taken off at once."""


@dataclass(frozen=True)
class Decision:
    """The shares to have now."""

    shares: Shares
    held_by: Hold | None
    """What keeps them from the plan's; None where they are the plan's."""
    write: bool
    """False: leave the weights as they are."""


def limit(
    current: Mapping[str, float] | None,
    wanted: Mapping[str, float],
    guardrails: Guardrails,
    must_be_zero: frozenset[str],
    now: datetime,
    last_write: datetime | None,
    relief: Mapping[str, float] | None = None,
) -> Decision:
    """Move from the shares in force towards the plan's as the guardrails allow.

    Args:
        current: shares in force, summing to 1; None where there are none (the plan's are taken at once).
        wanted: the plan's shares, summing to 1.
        guardrails: the limits on movement.
        must_be_zero: sites that may have no traffic (forbidden, unhealthy, draining).
        now: the time of this decision.
        last_write: when the weights were written last.
        relief: shares to take at once, whatever else the guardrails say.
    """
    target = _without(wanted, must_be_zero)
    if target is None:
        return Decision(dict(current or wanted), Hold.ALL_SITES_EXCLUDED, write=False)
    target, capped = _cap(target, guardrails.max_site, must_be_zero)
    held = Hold.SITE_MAXIMUM if capped else None
    base = None if current is None else _without(current, must_be_zero)
    if current is None or base is None:
        return Decision(target, held, write=True)
    relieved = None if relief is None else _without(relief, must_be_zero)
    if relieved is not None:
        return Decision(relieved, Hold.ROLLBACK, write=True)
    emergency = any(current.get(site, 0.0) > SMALL for site in must_be_zero)
    blocked = _blocked(base, target, guardrails, now, last_write)
    if blocked is not None:
        return Decision(base, blocked, write=emergency)
    names = sorted({*base, *target})
    distance = sum(abs(target.get(name, 0.0) - base.get(name, 0.0)) for name in names) / 2
    if distance <= guardrails.max_shift + SMALL:
        return Decision(target, held, write=True)
    step = guardrails.max_shift / distance
    moved = {name: base.get(name, 0.0) + step * (target.get(name, 0.0) - base.get(name, 0.0)) for name in names}
    return Decision(moved, Hold.RAMP, write=True)


def _blocked(
    base: Shares, target: Shares, guardrails: Guardrails, now: datetime, last_write: datetime | None
) -> Hold | None:
    """Why there may be no ordinary write now."""
    largest = max(abs(target.get(name, 0.0) - base.get(name, 0.0)) for name in {*base, *target})
    if SMALL < largest < guardrails.deadband:
        return Hold.DEADBAND
    if (
        last_write is not None
        and largest > SMALL
        and (now - last_write).total_seconds() < guardrails.between_writes_seconds
    ):
        return Hold.MIN_WRITE_INTERVAL
    return None


def relieve(
    current: Mapping[str, float],
    over: Mapping[str, float],
    capped: Collection[str],
    planned: Mapping[str, float],
    before: Mapping[str, float] | None,
) -> Shares | None:
    """Shares that take sites back under their caps; None where a rule has nothing to give.

    Args:
        current: shares in force.
        over: sites that carry more than their caps, and which part of what they have above the plan must go.
        capped: all sites with a cap; none of them is given more.
        planned: the plan's shares, which keep the caps where that can be.
        before: shares before the last shift: where it is to blame, it is undone.
    """
    if before is not None:
        undoes = any(before.get(site, 0.0) < current.get(site, 0.0) - SMALL for site in over)
        if undoes and all(before.get(site, 0.0) <= current.get(site, 0.0) + SMALL for site in capped):
            return dict(before)
    names = sorted({*current, *planned})
    above = {site: max(0.0, current.get(site, 0.0) - planned.get(site, 0.0)) for site in over}
    kept = {name: current.get(name, 0.0) - over.get(name, 0.0) * above.get(name, 0.0) for name in names}
    room = {name: max(0.0, planned.get(name, 0.0) - kept[name]) for name in names if name not in over}
    excess = sum(current.values()) - sum(kept.values())
    if excess <= SMALL or sum(room.values()) <= SMALL:
        return None
    return {name: kept[name] + excess * room.get(name, 0.0) / sum(room.values()) for name in names}


def _without(shares: Mapping[str, float], excluded: frozenset[str]) -> Shares | None:
    """The shares with some sites at 0 and the rest renormalised; None where nothing is left."""
    kept = {name: 0.0 if name in excluded else max(0.0, share) for name, share in shares.items()}
    total = sum(kept.values())
    return {name: share / total for name, share in kept.items()} if total > SMALL else None


def _cap(shares: Shares, highest: float, excluded: frozenset[str]) -> tuple[Shares, bool]:
    """No share above ``highest``; the excess goes to the others in proportion, equally where they have none.

    Where there are too few sites for it, equal shares are as near as can be.
    """
    if max(shares.values()) <= highest + SMALL:
        return shares, False
    open_sites = [name for name in shares if name not in excluded]
    if len(open_sites) * highest <= 1.0:
        return {name: 1.0 / len(open_sites) if name in open_sites else 0.0 for name in shares}, True
    result, full = dict(shares), set[str]()
    while max(result.values()) > highest + SMALL:
        full |= {name for name, share in result.items() if share > highest - SMALL}
        rest = [name for name in open_sites if name not in full]
        room = 1.0 - highest * len(full)
        known = sum(result[name] for name in rest)
        spread = {name: result[name] / known * room if known > SMALL else room / len(rest) for name in rest}
        result = {name: highest if name in full else spread.get(name, 0.0) for name in result}
    return result, True
