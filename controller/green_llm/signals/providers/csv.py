"""Recorded values from CSV files: ``start,end,value,unit,quality,issued_at``.

A row is visible at τ only if it was published by then: a forecast at its ``issued_at``, an actual (no ``issued_at``) at
its end plus the source's publication lag. So a replay knows no more than anyone knew at the time.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

import numpy as np

from green_llm.domain.request import CsvSettings
from green_llm.domain.series import Quality, Series, SignalQuery
from green_llm.errors import SignalError
from green_llm.signals.table import Table

ReadText = Callable[[str], tuple[str, str]]
"""Gives (version, text) of a file by its name; the same version means the same text. Raises StoreError."""
QUALITIES = {quality.value: quality for quality in Quality}
COLUMNS = ("start", "end", "value", "unit", "quality", "issued_at")


class CsvProvider:
    """One source of recorded values; files are parsed once per version."""

    def __init__(self, name: str, settings: CsvSettings, read_text: ReadText) -> None:
        self._name, self._settings, self._read_text = name, settings, read_text
        self._tables: dict[str, tuple[str, Table]] = {}

    async def fetch(self, query: SignalQuery) -> Series:
        """Visible rows that touch the query's interval: actuals before forecasts, newer issues before older ones.

        Raises:
            SignalError: the file cannot be read, or a row is wrong; names file, line and column.
        """
        file = file_of(self._settings, query.params)
        points = self._table(file).visible(query, f"SignalSource {self._name}: {file}")
        return Series(query.kind, self._name, query.unit, points)

    def _table(self, file: str) -> Table:
        version, text = self._read_text(file)
        known = self._tables.get(file)
        if known is None or known[0] != version:
            known = (version, parse(text, f"SignalSource {self._name}: {file}", self._settings.publication_lag_seconds))
            self._tables[file] = known
        return known[1]


def file_of(settings: CsvSettings, params: Mapping[str, str]) -> str:
    """The file's name with its place-holders filled."""
    return re.sub(r"\{(\w+)\}", lambda match: params.get(match[1], match[0]), settings.file)


def parse(text: str, source: str, publication_lag_seconds: float = 0.0) -> Table:
    """A file's rows; ``source`` begins every message.

    Raises:
        SignalError: names the line, the column and the fault.
    """
    reader = csv.reader(io.StringIO(text))
    head = tuple(next(reader, ()))
    if head != COLUMNS:
        raise SignalError(f"{source}: line 1: the columns must be {','.join(COLUMNS)}, not {','.join(head)}")
    rows = [_row(row, source, reader.line_num) for row in reader if row]
    rows.sort(key=lambda row: row[0])
    start, end, value, issued = (np.array([row[n] for row in rows], dtype=np.float64) for n in range(4))
    actual = np.isnan(issued)
    return Table(
        start=start,
        end=end,
        value=value,
        visible_from=np.where(actual, end + publication_lag_seconds, issued),
        issued=np.where(actual, end, issued),
        actual=actual,
        unit=tuple(row[4] for row in rows),
        quality=tuple(row[5] for row in rows),
        longest=float((end - start).max(initial=0.0)),
    )


def _row(row: list[str], source: str, line: int) -> tuple[float, float, float, float, str, Quality]:
    if len(row) != len(COLUMNS):
        raise SignalError(f"{source}: line {line}: must have {len(COLUMNS)} columns")
    begun, ended, number, unit, named, published = row
    try:
        start, end = _time(begun, "start"), _time(ended, "end")
        issued = _time(published, "issued_at") if published else np.nan
        value = _number(number)
        quality = QUALITIES[named] if named else Quality.MEASURED if np.isnan(issued) else Quality.FORECAST
    except ValueError as error:
        raise SignalError(f"{source}: line {line}: {error}") from None
    except KeyError:
        known = ", ".join(QUALITIES)
        raise SignalError(f'{source}: line {line}: quality: "{named}" is unknown (known: {known})') from None
    if end <= start:
        raise SignalError(f"{source}: line {line}: end: must be after start")
    return start, end, value, issued, unit, quality


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f'value: "{text}" is not a number; leave the row out where there is none')
    return value


def _time(text: str, column: str) -> float:
    try:
        return _seconds(text)
    except ValueError as error:
        raise ValueError(f'{column}: "{text}" {error}') from None


@lru_cache(maxsize=1024)
def _seconds(text: str) -> float:
    """Since 1970. An end is the next start, and many forecasts have one issue: most were read before."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not an ISO 8601 time") from None
    if moment.tzinfo is None:
        raise ValueError("has no UTC offset; write 2026-10-05T00:00Z")
    return moment.timestamp()
