"""The last days of every policy in an embedded database that stays within its bounds. It is of use, never of need.

Everything runs in a thread of its own, in order, so that no disk is ever in the planner's way.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from green_llm.domain.amounts import Amounts, total
from green_llm.services.outcome import Outcome

logger = logging.getLogger("green_llm.history")
MOST_WAITING = 200
"""Intervals that wait for the disk; more are dropped, and it is said."""
DROPPED_AT_ONCE = 0.1
"""Of the intervals, oldest first, where the file is too large."""
_TABLE = """create table if not exists interval (
    at integer not null, policy text not null, document text not null, primary key (at, policy)) without rowid"""


SIDES = ("in_force", "nearest", "static")
"""The weights in force; every query at its nearest site; the weights found at adoption."""
Totals = Mapping[str, Amounts]
"""Amounts by side."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One interval as it is kept."""

    at: datetime
    planned: bool
    """Whether there was a plan that keeps every limit."""
    rates: Totals
    """Per hour."""
    totals: Totals
    """Since the ledger began."""
    queries: Mapping[str, float]
    """Per hour in force, by site."""


class History:
    """Keeps intervals; what goes wrong is said in ``trouble`` and in the log."""

    def __init__(self, path: Path | None, *, days: float = 7.0, largest_bytes: int = 67_108_864) -> None:
        """``path`` None keeps them in memory, for as long as the process lives."""
        self.path, self._days, self._largest_bytes = path, days, largest_bytes
        self.trouble: str | None = None
        self._database: sqlite3.Connection | None = None
        self._waiting = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")

    def record(self, outcome: Outcome) -> None:
        """Keep an interval, soon."""
        if self._waiting >= MOST_WAITING:
            self._say(f"{self._name} does not keep up; intervals are left out")
            return
        self._waiting += 1
        at, policy, document = int(outcome.now.timestamp()), outcome.policy.name, _document(outcome)
        self._thread.submit(self._keep, at, policy, document)

    def read(self, policy: str, hours: float) -> Future[list[Kept]]:
        """The intervals of a policy within ``hours`` of its last one, in order; what was recorded before is there."""
        return self._thread.submit(self._read, policy, hours)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._thread.submit(self._close)
        self._thread.shutdown()

    @property
    def _name(self) -> str:
        return str(self.path) if self.path else "the history in memory"

    def _say(self, trouble: str | None) -> None:
        if trouble and trouble != self.trouble:
            logger.warning("history: %s", trouble)
        self.trouble = trouble

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path or ":memory:")
            database.execute("pragma auto_vacuum = full")
            database.execute(_TABLE)
            self._database = database
        return self._database

    def _keep(self, at: int, policy: str, document: str) -> None:
        self._waiting -= 1
        try:
            database = self._open()
            with database:
                database.execute("insert or replace into interval values (?, ?, ?)", (at, policy, document))
                database.execute("delete from interval where at < ?", (at - int(self._days * 86400),))
            self._shrink(database)
        except (OSError, sqlite3.Error) as error:
            self._close()
            self._say(f"{self._name} cannot be written: {error}; free the disk, or delete the file if it is damaged")
        else:
            self._say(None)

    def _shrink(self, database: sqlite3.Connection) -> None:
        """Remove the oldest intervals until the file is within its size."""
        while _bytes(database) > self._largest_bytes:
            (count,) = database.execute("select count(*) from interval").fetchone()
            if count <= 1:
                return
            with database:
                database.execute(
                    "delete from interval where (at, policy) in (select at, policy from interval order by at limit ?)",
                    (max(1, int(count * DROPPED_AT_ONCE)),),
                )

    def _read(self, policy: str, hours: float) -> list[Kept]:
        try:
            rows = self._open().execute(
                "select at, document from interval where policy = ?1 and at >= "
                "(select max(at) from interval where policy = ?1) - ?2 order by at",
                (policy, int(timedelta(hours=hours).total_seconds())),
            )
            return [_kept(at, document) for at, document in rows]
        except (OSError, sqlite3.Error) as error:
            self._close()
            self._say(f"{self._name} cannot be read: {error}; delete the file if it is damaged")
            return []

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _bytes(database: sqlite3.Connection) -> int:
    (pages,), (size,) = (database.execute(f"pragma {name}").fetchone() for name in ("page_count", "page_size"))
    return int(pages) * int(size)


def _document(outcome: Outcome) -> str:
    ledger = outcome.ledger
    return json.dumps({
        "planned": not outcome.degraded,
        "rates": {side: asdict(total(getattr(outcome, side).values())) for side in SIDES},
        "totals": {side: asdict(total(getattr(ledger, side).values())) for side in SIDES} if ledger else {},
        "queries": {site: found.queries for site, found in outcome.in_force.items()},
    })  # fmt: skip


def _kept(at: int, document: str) -> Kept:
    found = json.loads(document)
    return Kept(
        at=datetime.fromtimestamp(at, UTC),
        planned=bool(found["planned"]),
        rates={side: _amounts(found["rates"].get(side, {})) for side in SIDES},
        totals={side: _amounts(found["totals"].get(side, {})) for side in SIDES},
        queries=found["queries"],
    )


def _amounts(fields: Mapping[str, Any]) -> Amounts:
    """Amounts of an older file may lack a field, those of a newer one have others."""
    return Amounts(**{name: value for name, value in fields.items() if name in Amounts.__dataclass_fields__})
