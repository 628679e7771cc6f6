"""Ledgers of a directory run and of a replay."""

from __future__ import annotations

from green_llm.domain.amounts import Ledger
from green_llm.store.directory import DirectoryStore


class DirectoryLedgers:
    """Ledgers in the directory's ``state/``."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store

    async def load(self, policy: str) -> Ledger | None:
        """The ledger as last saved."""
        return self._store.load_ledger(policy)

    async def save(self, policy: str, ledger: Ledger) -> None:
        """Keep the ledger."""
        self._store.save_ledger(policy, ledger)


class MemoryLedgers:
    """Ledgers of a replay: recorded days must not be charged to the real budget."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}

    async def load(self, policy: str) -> Ledger | None:
        """The ledger as last saved."""
        return self._ledgers.get(policy)

    async def save(self, policy: str, ledger: Ledger) -> None:
        """Keep the ledger."""
        self._ledgers[policy] = ledger
