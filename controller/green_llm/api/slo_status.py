"""What a policy's status says of its SLO. Pure."""

from __future__ import annotations

from typing import Any

from green_llm.domain.slo import SiteGuard, Verdict
from green_llm.services.outcome import Outcome

CONDITION = "WithinSLO"
Verdicts = list[tuple[str, str, str, str]]


def condition(outcome: Outcome) -> Verdicts:
    """The condition, worst first: a site is capped, something is not known, all is well. None without an SLO."""
    if outcome.policy.guardrails.slo is None:
        return []
    capped = [(key, guard) for key, guard in _guards(outcome) if guard.cap is not None]
    unknown = [
        f"{site}: {profile}: {judged.message}"
        for (site, profile), judged in sorted(outcome.judged.items())
        if judged.verdict is Verdict.UNKNOWN
    ]
    if capped:
        broke = "; ".join(f"{site}: {profile}: {guard.reason}" for (site, profile), guard in capped)
        more = f"; not known: {'; '.join(unknown)}" if unknown else ""
        return [(CONDITION, "False", "SiteCapped", broke + more)]
    if unknown or not outcome.judged:
        text = "; ".join(unknown) or "no site has a profile that is guarded"
        return [(CONDITION, "Unknown", "MeasurementsMissing", text)]
    if any(judged.verdict is Verdict.SETTLING for judged in outcome.judged.values()):
        return [(CONDITION, "Unknown", "Settling", "a shift is being judged")]
    return [(CONDITION, "True", "WithinLimits", "every site keeps its limits")]


def entries(outcome: Outcome) -> list[dict[str, Any]]:
    """Every guarded site and profile: how it does, and what it may carry."""
    return [_entry(outcome, *found) for found in _guards(outcome) if found[0] in outcome.judged]


def _guards(outcome: Outcome) -> list[tuple[tuple[str, str], SiteGuard]]:
    return sorted(outcome.ledger.guards.items()) if outcome.ledger is not None else []


def _entry(outcome: Outcome, key: tuple[str, str], guard: SiteGuard) -> dict[str, Any]:
    judged = outcome.judged[key]
    text = "; ".join(part for part in (judged.message, judged.note) if part)
    entry: dict[str, Any] = {"site": key[0], "profile": key[1], "verdict": judged.verdict.value}
    entry |= {"message": text} if text else {}
    if guard.cap is not None:
        entry |= {"capTokensPerSecond": round(guard.cap), "broke": guard.reason}
        entry |= {"untilTime": guard.until.strftime("%Y-%m-%dT%H:%M:%SZ")} if guard.until is not None else {}
    return entry
