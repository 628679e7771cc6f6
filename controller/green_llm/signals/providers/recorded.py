"""What a live source said at the time, from recordings: for replays and back-tests."""

from __future__ import annotations

from green_llm.domain.series import Series, SignalQuery
from green_llm.errors import SignalError, StoreError
from green_llm.signals.recordings import Question, Recorded


class RecordedProvider:
    """Implements ``services.ports.SignalProvider`` for one live source."""

    def __init__(self, name: str, recordings: Recorded) -> None:
        self._name, self._recordings = name, recordings

    async def fetch(self, query: SignalQuery) -> Series:
        """What was known at the query's ``now``.

        Raises:
            SignalError: nothing was recorded of it.
        """
        try:
            table = self._recordings.table(Question(self._name, query.kind, query.params, query.place))
        except StoreError as error:
            raise SignalError(f"SignalSource {self._name}: {error}") from error
        if table is None:
            raise SignalError(
                f"SignalSource {self._name}: has no recordings of {query.kind.value}; record it or import its history"
            )
        return Series(query.kind, self._name, query.unit, table.visible(query, f"SignalSource {self._name}"))
