"""The audit as Parquet files, a directory for each policy: exactly what its ledger was charged with.

A file is named by the time it covers and is there whole or not at all. It is written before the ledger is kept: what a ledger
is charged with again after a crash begins where the ledger ended, and replaces what began there or later. Files that the
ledger has passed are joined, by the day, into rows of an hour.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np

from green_llm.domain.audit import (
    COLUMNS,
    FACTORS,
    FACTS,
    NUMBERS,
    SUMS,
    TEXTS,
    TIMES,
    AuditBatch,
    Column,
    Rows,
    joined,
)
from green_llm.errors import StoreError
from green_llm.store import files

logger = logging.getLogger("green_llm.audit")
LARGEST_BYTES = 512 * 1024 * 1024
MOST_PARTS = 12
"""Files of the day that is not over, before they are joined."""
MOST_WAITING = 1000
"""Batches that wait for a disk that cannot be written."""
_STAMP = "%Y%m%dT%H%M%S%fZ"
_KEYS = ", ".join(f'"{name}"' for name in (*TIMES, *TEXTS, *FACTS))
_MEANS = ", ".join(
    f"coalesce(sum({name} * {weight}) / nullif(sum({weight}) FILTER ({name} IS NOT NULL), 0), avg({name})) AS {name}"
    for name, weight in FACTORS.items()
)
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
_JOINED = f"SELECT {_KEYS}, {_MEANS}, {_SUMS} FROM rows GROUP BY {_KEYS}"  # noqa: S608 - names of ours
_COLUMNS = ", ".join(f'"{name}"' for name in COLUMNS)
_ORDER = 'start_time, side, site, demand, "class"'


@dataclass(frozen=True, order=True)
class Piece:
    """A file, and the time that it covers."""

    begun: datetime
    until: datetime
    path: Path


class AuditFiles:
    """Implements ``services.ports.AuditStore``; one process writes a policy's directory."""

    def __init__(self, root: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        """``largest_bytes`` bounds each policy's files: beyond it the oldest go."""
        self.root, self._largest = root, largest_bytes
        self._waiting: list[AuditBatch] = []

    def require_writable(self) -> None:
        """See that it can be kept, before anything is charged.

        Raises:
            StoreError: the directory cannot be written to.
        """
        files.require_writable(self.root)

    async def append(self, batch: AuditBatch) -> None:
        """Keep what a ledger is about to be charged with.

        Raises:
            StoreError: it cannot be written; it is kept for the next time.
        """
        self._waiting = [*self._waiting, batch][-MOST_WAITING:]
        await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.pop(0)
        except (OSError, duckdb.Error) as error:
            raise StoreError(f"{self.root}: the audit cannot be written: {error}") from error

    def policies(self) -> list[str]:
        """Of which there are files."""
        return sorted({path.parent.name for path in self.root.glob("*/*--*.parquet")})

    def read(self, policy: str, start: datetime, end: datetime) -> Rows:
        """The rows that begin in ``[start, end)``.

        Raises:
            StoreError: a file cannot be read.
        """
        for again in (True, False):
            pieces = [piece for piece in self.pieces(policy) if piece.until > start and piece.begun < end]
            try:
                return _read([piece.path for piece in pieces], start, end)
            except duckdb.IOException as error:
                if not again:
                    raise StoreError(f"{self.root / policy}: the audit cannot be read: {error}") from error
            except duckdb.Error as error:
                raise StoreError(f"{self.root / policy}: the audit cannot be read: {error}") from error
        return joined([])

    def pieces(self, policy: str) -> list[Piece]:
        """The files that count, in order: none that lies within another."""
        found: list[Piece] = []
        for piece in sorted(_pieces(self.root / policy), key=lambda p: (p.begun, -p.until.timestamp())):
            if not found or piece.until > found[-1].until:
                found.append(piece)
        return found

    def _write(self, batch: AuditBatch) -> None:
        directory = self.root / batch.policy
        directory.mkdir(parents=True, exist_ok=True)
        before = _pieces(directory)
        target = _path(directory, batch.begun, batch.until)
        if len(batch.rows["site"]):
            with _one_thread() as db:
                db.register("rows", {name: _masked(values) for name, values in batch.rows.items()})
                _put(db.table("rows").select(_COLUMNS), target)
        for piece in before:
            if piece.path != target and piece.until > batch.begun:
                self._give_way(piece, batch.begun)
        self._join(batch.policy, batch.begun)
        self._bound(batch.policy)

    def _give_way(self, piece: Piece, begun: datetime) -> None:
        """Take out of a file what is charged anew."""
        if piece.begun < begun:
            logger.warning("audit: the ledger was put back to %s; later rows of %s go", begun, piece.path.name)
            with _one_thread() as db:
                rows = db.read_parquet(str(piece.path)).filter(f"start_time < TIMESTAMP '{_naive(begun)}'")
                _put(rows, _path(piece.path.parent, piece.begun, begun))
        piece.path.unlink()

    def _join(self, policy: str, charged: datetime) -> None:
        """One file for each day that is over, and one for today when there are many; none that may still give way."""
        days: dict[str, list[Piece]] = {}
        known = self.pieces(policy)
        for piece in known:
            if piece.until <= charged:
                days.setdefault(f"{piece.begun:%Y-%m-%d}", []).append(piece)
        for day, pieces in days.items():
            if len(pieces) == 1 or (day == f"{charged:%Y-%m-%d}" and len(pieces) < MOST_PARTS):
                continue
            with _one_thread() as db:
                rows = db.read_parquet([str(piece.path) for piece in pieces])  # noqa: F841 - named in the statement
                _put(db.sql(_JOINED).select(_COLUMNS), _path(self.root / policy, pieces[0].begun, pieces[-1].until))
            for piece in pieces:
                piece.path.unlink()
        for piece in set(_pieces(self.root / policy)) - set(self.pieces(policy)):
            piece.path.unlink()  # what a crash has left between joining and removing

    def _bound(self, policy: str) -> None:
        pieces = self.pieces(policy)
        size = sum(piece.path.stat().st_size for piece in pieces)
        for piece in pieces[:-1]:
            if size <= self._largest:
                return
            logger.warning("audit of %s is larger than %d bytes; %s is removed", policy, self._largest, piece.path.name)
            size -= piece.path.stat().st_size
            piece.path.unlink()


def write_csv(rows: Rows, path: Path) -> None:
    """Rows as CSV, as ``docs/account.md`` lists the columns.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        with _one_thread() as db:
            db.register("rows", {name: _masked(values) for name, values in rows.items()})
            db.table("rows").select(_COLUMNS).order(_ORDER).write_csv(str(path))
    except (OSError, duckdb.Error) as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error


def _read(paths: Sequence[Path], start: datetime, end: datetime) -> Rows:
    if not paths:
        return joined([])
    with _one_thread() as db:
        rows = db.read_parquet([str(path) for path in paths])
        rows = rows.filter(f"start_time >= TIMESTAMP '{_naive(start)}' AND start_time < TIMESTAMP '{_naive(end)}'")
        found = db.sql(f"{_JOINED} ORDER BY {_ORDER}").fetchnumpy()
    return {
        name: np.ma.filled(found[name], np.nan) if name in NUMBERS else np.ma.filled(found[name]) for name in COLUMNS
    }


def _pieces(directory: Path) -> list[Piece]:
    found = []
    for path in directory.glob("*--*.parquet"):
        begun, _, until = path.stem.partition("--")
        found.append(Piece(_moment(begun), _moment(until), path))
    return found


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)


def _path(directory: Path, begun: datetime, until: datetime) -> Path:
    return directory / f"{begun.astimezone(UTC):{_STAMP}}--{until.astimezone(UTC):{_STAMP}}.parquet"


def _one_thread() -> duckdb.DuckDBPyConnection:
    """Sums of one thread are the same to the last digit each time; those of several depend on which ends first."""
    return duckdb.connect(config={"threads": 1})


def _naive(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


def _masked(values: Column) -> Column:
    """NaN is no value."""
    return np.ma.masked_invalid(values) if values.dtype == np.float64 else values


def _put(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    """Rows as a file that is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    rows.order(_ORDER).write_parquet(str(temporary), compression="zstd")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
