"""Ledgers as JSON text."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

from green_llm.domain.amounts import Amounts, Ledger, Month, Promise
from green_llm.domain.plan import Spent
from green_llm.domain.slo import SiteGuard
from green_llm.errors import StoreError

FORMAT = "green-llm-ledger/1"
TOTALS = ("in_force", "nearest", "static")


def dump(ledger: Ledger) -> str:
    """The ledger as text that ``load`` reads back unchanged."""
    document = {"format": FORMAT, **asdict(replace(ledger, guards={}))}
    guards = sorted(ledger.guards.items())
    document["guards"] = [{"site": site, "profile": profile, **asdict(guard)} for (site, profile), guard in guards]
    for name in TOTALS:
        document[name] = {site: _short(amounts) for site, amounts in document[name].items()}
    for month in document["months"].values():
        month |= {name: _short(month[name]) for name in TOTALS}
        month["by_class"] = {name: _short(amounts) for name, amounts in month["by_class"].items()}
    return json.dumps(document, indent=1, default=_time) + "\n"


def load(text: str, source: str) -> Ledger:
    """The ledger in a text; ``source`` begins every message.

    Raises:
        StoreError: it is damaged. It is never begun anew by itself: the water budget hangs on it.
    """
    try:
        return _ledger(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{source}: the ledger is damaged ({error}); restore it from a copy, or delete it to begin a new period"
        ) from error


def _ledger(document: dict[str, Any]) -> Ledger:
    if document.pop("format") != FORMAT:
        raise ValueError(f"the format is not {FORMAT}")
    known = {field.name for field in fields(Ledger)}
    if set(document) - known:
        raise ValueError(f'unknown field "{min(set(document) - known)}"')
    values: dict[str, Any] = dict(document)
    for name in ("charged_until", "period_start", "slot_start", "promised_at"):
        if values.get(name) is not None:
            values[name] = _moment(values[name])
    for name in TOTALS:
        values[name] = _amounts(values.get(name, {}))
    values["months"] = {name: _month(month) for name, month in values.get("months", {}).items()}
    for name in ("held_since", "last_write"):
        values[name] = {key: _moment(text) for key, text in values.get(name, {}).items()}
    values["guards"] = {(entry.pop("site"), entry.pop("profile")): _guard(entry) for entry in values.get("guards", [])}
    values["spent"] = {name: Spent(**entry) for name, entry in values.get("spent", {}).items()}
    values["promised"] = {name: Promise(**entry) for name, entry in values.get("promised", {}).items()}
    return Ledger(**values)


def _month(document: dict[str, Any]) -> Month:
    totals = {name: Amounts(**document[name]) for name in TOTALS}
    return Month(**{**document, **totals, "by_class": _amounts(document["by_class"])})


def _amounts(document: dict[str, Any]) -> dict[str, Amounts]:
    return {name: Amounts(**amounts) for name, amounts in document.items()}


def _short(amounts: dict[str, float]) -> dict[str, float]:
    """What is not zero: a ledger has to fit into a ConfigMap."""
    return {name: value for name, value in amounts.items() if value}


def _guard(entry: dict[str, Any]) -> SiteGuard:
    if "since" in entry:  # as written before a guard remembered more than its present load
        entry["loads"] = [(entry.pop("since"), entry.pop("load"))]
        entry.pop("felt_until", None)
    entry["loads"] = tuple((_moment(begun), load) for begun, load in entry["loads"])
    for name in ("until", "broke_at"):
        entry[name] = None if entry.get(name) is None else _moment(entry[name])
    return SiteGuard(**entry)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a ledger")
