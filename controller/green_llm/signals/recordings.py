"""Recorded signals in Parquet files: every value with its interval, issue, unit, quality, and from when it was known.

A file a day (UTC, by when its values became known), and small ones for what is young; these are merged now and then, and the
oldest days are removed beyond a size. Files are written whole and then renamed: a crash loses what was not yet written, and no
more.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np

from green_llm.domain.request import Source
from green_llm.domain.series import Place, Point, Quality, Quantity, SignalKind, SignalQuery
from green_llm.errors import StoreError
from green_llm.signals.table import Table

logger = logging.getLogger("green_llm.signals")
FLUSH_AFTER = timedelta(minutes=5)
MOST_BUFFERED = 50_000
MOST_PARTS = 48
LARGEST_BYTES = 512 * 1024 * 1024
COLUMNS = """source VARCHAR, kind VARCHAR, params VARCHAR, place VARCHAR, start_s DOUBLE, end_s DOUBLE, value DOUBLE,
    unit VARCHAR, basis VARCHAR, quality VARCHAR, issued_s DOUBLE, known_s DOUBLE, revised BOOLEAN"""
"""Times in seconds since 1970; ``issued_s`` is NULL for what does not age. ``known_s``: when it was first seen (recorded) or
published (imported). ``revised``: a measured value that has replaced another."""
AHEAD = (Quality.FORECAST, Quality.PERSISTENCE, Quality.PROFILE)


@dataclass(frozen=True)
class Question:
    """What was asked of which source."""

    source: str
    kind: Quantity
    params: Mapping[str, str]
    place: Place | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As the files have it."""
        place = "" if self.place is None else json.dumps(asdict(self.place), sort_keys=True)
        return self.source, self.kind.value, json.dumps(dict(self.params), sort_keys=True), place


def basis_of(source: Source, query: SignalQuery) -> str:
    """What recorded values count: how a source counts carbon, or a price's basis; empty where there is none."""
    if query.kind is SignalKind.CARBON_INTENSITY and source.accounting is not None:
        return "/".join(vars(source.accounting).values())
    return query.basis or ""


class Recorded(Protocol):
    """What was recorded, wherever it is kept."""

    def table(self, question: Question) -> Table | None:
        """Everything recorded of a question; None where there is nothing.

        Raises:
            StoreError: it cannot be read.
        """
        ...


class Recordings:
    """One directory of recordings; one process writes it."""

    def __init__(self, root: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        self.root = self._root = root
        self._largest = largest_bytes
        self._rows: list[tuple[Any, ...]] = []
        self._flushed = datetime.now(UTC)
        self._tables: dict[tuple[str, str, str, str], tuple[tuple[str, ...], Table | None]] = {}

    def add(
        self,
        question: Question,
        unit: str,
        basis: str,
        points: Iterable[tuple[Point, datetime]],
        *,
        revised: bool = False,
    ) -> None:
        """Keep values, each with when it became known; they are written after some minutes, or by ``flush``."""
        for point, known in points:
            issued = None if point.issued_at is None else point.issued_at.timestamp()
            moment = (point.start.timestamp(), point.end.timestamp())
            self._rows.append(
                (
                    *question.key,
                    *moment,
                    point.value,
                    unit,
                    basis,
                    point.quality.value,
                    issued,
                    known.timestamp(),
                    revised,
                )
            )
        if len(self._rows) >= MOST_BUFFERED or datetime.now(UTC) - self._flushed > FLUSH_AFTER:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, merge what is small, and remove what is beyond the size.

        Raises:
            StoreError: it cannot be written; what is buffered is kept for the next time.
        """
        self._flushed = datetime.now(UTC)
        if not self._rows:
            return
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            days: dict[str, list[tuple[Any, ...]]] = {}
            for row in self._rows:
                days.setdefault(_day(row[-2]), []).append(row)
            for day, rows in days.items():
                self._write(self._root / f"{day}.{uuid.uuid4().hex[:12]}.part.parquet", rows)
            self._rows.clear()
            self._merge()
            self._bound()
        except (OSError, duckdb.Error) as error:
            raise StoreError(f"{self._root}: recordings cannot be written: {error}") from error

    def table(self, question: Question) -> Table | None:
        """Everything recorded of a question; None where there is nothing.

        Raises:
            StoreError: a file cannot be read.
        """
        files = tuple(str(path) for path in self.files())
        known = self._tables.get(question.key)
        if known is None or known[0] != files:
            try:
                known = (files, _table(files, question) if files else None)
            except duckdb.Error as error:
                raise StoreError(f"{self._root}: recordings cannot be read: {error}") from error
            self._tables[question.key] = known
        return known[1]

    def files(self) -> list[Path]:
        """The files, oldest day first."""
        return sorted(self._root.glob("*.parquet"))

    def _write(self, path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
        with duckdb.connect() as db:
            db.execute(f"CREATE TABLE fresh ({COLUMNS})")
            columns = list(zip(*rows, strict=True))
            fresh = {f"c{n}": _column(column) for n, column in enumerate(columns)}
            db.register("given", fresh)
            db.execute("INSERT INTO fresh SELECT * FROM given")
            _put(db.table("fresh"), path)

    def _merge(self) -> None:
        """One file for each day that is over, and one for today when there are many."""
        today = _day(datetime.now(UTC).timestamp())
        days: dict[str, list[Path]] = {}
        for path in self.files():
            days.setdefault(path.name[:10], []).append(path)
        for day, paths in days.items():
            if len(paths) == 1 or (day == today and len(paths) < MOST_PARTS):
                continue
            with duckdb.connect() as db:
                merged = self._root / f"{day}.{uuid.uuid4().hex[:12]}.day.parquet"
                _put(db.read_parquet([str(path) for path in paths]).distinct(), merged)
            for path in paths:
                path.unlink()

    def _bound(self) -> None:
        files = self.files()
        size = sum(path.stat().st_size for path in files)
        for path in files[:-1]:
            if size <= self._largest:
                return
            logger.warning("recordings are larger than %d bytes; %s is removed", self._largest, path.name)
            size -= path.stat().st_size
            path.unlink()


def _column(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Numbers as numbers, with NaN (which becomes NULL) for None."""
    if isinstance(values[0], bool):
        return np.array(values, dtype=bool)
    if all(value is None or isinstance(value, float) for value in values):
        found = np.array([np.nan if value is None else value for value in values])
        return np.ma.masked_invalid(found)
    return np.array(values, dtype=object)


def _put(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    """Rows as a file that is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    rows.order("source, kind, params, place, start_s, known_s").write_parquet(str(temporary), compression="zstd")
    temporary.replace(path)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _table(files: Sequence[str], question: Question) -> Table | None:
    with duckdb.connect() as db:
        rows = db.read_parquet(list(files))  # noqa: F841 - named in the statement below
        found = db.execute(
            "SELECT DISTINCT start_s, end_s, value, known_s, issued_s, unit, quality FROM rows "
            "WHERE source = ? AND kind = ? AND params = ? AND place = ? ORDER BY start_s, known_s",
            list(question.key),
        ).fetchall()
    if not found:
        return None
    start, end, value, known, issued = (
        np.array([np.nan if row[n] is None else row[n] for row in found], dtype=np.float64) for n in range(5)
    )
    quality = tuple(Quality(row[6]) for row in found)
    return Table(
        start=start,
        end=end,
        value=value,
        visible_from=known,
        issued=issued,
        actual=np.array([entry not in AHEAD for entry in quality]),
        unit=tuple(row[5] for row in found),
        quality=quality,
        longest=float((end - start).max(initial=0.0)),
    )
