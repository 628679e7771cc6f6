"""Values as they were known: which of them one could see at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from green_llm.domain.instance import FloatArray
from green_llm.domain.series import Point, Quality, SignalQuery
from green_llm.domain.units import convert
from green_llm.errors import SignalError

LAST_QUESTIONS = 16
"""Between two plans most windows hold the same rows."""


@dataclass(frozen=True, eq=False)
class Table:
    """Values of one question: seconds since 1970, ascending by start."""

    start: FloatArray
    end: FloatArray
    value: FloatArray
    visible_from: FloatArray
    issued: FloatArray
    """Issue of a forecast; the end of the interval for an actual; NaN for what does not age."""
    actual: NDArray[np.bool_]
    unit: tuple[str, ...]
    quality: tuple[Quality, ...]
    longest: float
    """Longest interval, s: how far before a window a row can begin that reaches into it."""
    points: dict[tuple[int, str, tuple[tuple[str, float], ...]], Point] = field(default_factory=dict, repr=False)
    """What was made of the rows that the last questions chose."""
    chosen: dict[tuple[bytes, str, tuple[tuple[str, float], ...]], tuple[Point, ...]] = field(
        default_factory=dict, repr=False
    )
    """What was chosen from rows that were visible, of the last questions."""

    def visible(self, query: SignalQuery, where: str) -> tuple[Point, ...]:
        """Rows that touch the query's interval and were known at its ``now``, without overlap.

        Actuals before forecasts, newer issues before older ones, later knowledge before earlier.

        Raises:
            SignalError: a unit cannot be converted; ``where`` begins the message.
        """
        start, end, now = query.start.timestamp(), query.end.timestamp(), query.now.timestamp()
        first, last = np.searchsorted(self.start, [start - self.longest, end])
        rows = np.arange(first, last)
        rows = rows[(self.end[rows] > start) & (self.visible_from[rows] <= now)]
        key = (rows.tobytes(), query.unit, tuple(query.exchange_rates.items()))
        if key not in self.chosen:
            if len(self.chosen) >= LAST_QUESTIONS:
                self._forget()
            self.chosen[key] = tuple(self._point(row, query, where) for row in self._best(rows))
        return self.chosen[key]

    def _forget(self) -> None:
        """The last questions, and every point but theirs: in a year of replays each row would have one."""
        used = {id(point) for points in self.chosen.values() for point in points}
        for key in [key for key, point in self.points.items() if id(point) not in used]:
            del self.points[key]
        self.chosen.clear()

    def _best(self, rows: NDArray[np.intp]) -> list[int]:
        """Of rows that overlap, the one to believe; ascending."""
        issued = np.nan_to_num(self.issued[rows], nan=np.inf)
        best = rows[np.lexsort((self.visible_from[rows], issued, self.actual[rows]))][::-1]
        first = best[np.unique(self.start[best], return_index=True)[1]]
        if (self.end[first][:-1] <= self.start[first][1:]).all():
            return [int(row) for row in first]
        taken: list[int] = []
        begun: set[float] = set()
        for row in best.tolist():
            if self.start[row] in begun:
                continue
            if all(self.end[row] <= self.start[other] or self.start[row] >= self.end[other] for other in taken):
                taken.append(row)
                begun.add(float(self.start[row]))
        return sorted(taken)

    def _point(self, row: int, query: SignalQuery, where: str) -> Point:
        key = (row, query.unit, tuple(query.exchange_rates.items()))
        if key not in self.points:
            self.points[key] = self._made(row, query, where)
        return self.points[key]

    def _made(self, row: int, query: SignalQuery, where: str) -> Point:
        try:
            value = convert(float(self.value[row]), self.unit[row], query.unit, query.exchange_rates)
        except ValueError as error:
            raise SignalError(f"{where}: unit: {error}") from error
        issued = self.issued[row]
        return Point(
            start=datetime.fromtimestamp(self.start[row], UTC),
            end=datetime.fromtimestamp(self.end[row], UTC),
            value=value,
            quality=self.quality[row],
            issued_at=None if np.isnan(issued) else datetime.fromtimestamp(issued, UTC),
        )
