"""How far and how often weights may move. Taking traffic off a site that must not have it is never delayed."""

from __future__ import annotations

from collections.abc import Mapping
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
) -> Decision:
    """Move from the shares in force towards the plan's as the guardrails allow.

    Args:
        current: shares in force, summing to 1; None where there are none (the plan's are taken at once).
        wanted: the plan's shares, summing to 1.
        guardrails: the limits on movement.
        must_be_zero: sites that may have no traffic (forbidden, unhealthy, draining).
        now: the time of this decision.
        last_write: when the weights were written last.
    """
    target = _without(wanted, must_be_zero)
    if target is None:
        return Decision(dict(current or wanted), Hold.ALL_SITES_EXCLUDED, write=False)
    target, capped = _cap(target, guardrails.max_site, must_be_zero)
    held = Hold.SITE_MAXIMUM if capped else None
    base = None if current is None else _without(current, must_be_zero)
    if current is None or base is None:
        return Decision(target, held, write=True)
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
    if last_write is not None and largest > SMALL and (now - last_write).total_seconds() < guardrails.min_write_seconds:
        return Hold.MIN_WRITE_INTERVAL
    return None


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
