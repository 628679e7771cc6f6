"""What the data path needs from the outside world: at most three methods each. ``bootstrap`` binds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from green_llm.domain.amounts import Ledger
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.audit import AuditBatch
from green_llm.domain.request import DemandEntry, Policy, Source, SourceRef
from green_llm.domain.routes import BackendKey, Route, RouteKey, RouteWrite
from green_llm.domain.series import Measure, MeasureKey, Point, Series, SignalBook, SignalQuery
from green_llm.domain.time import Slots
from green_llm.domain.topology import Area, Site


class SignalProvider(Protocol):
    """One configured source."""

    async def fetch(self, query: SignalQuery) -> Series:
        """The points that touch the query's interval and were visible at its ``now``.

        Raises:
            SignalError: there is none to be had.
        """
        ...


class SignalCollector(Protocol):
    """Fills a horizon from the chains of the sites."""

    async def collect(
        self, policy: Policy, sites: Collection[Site], sources: Mapping[str, Source], slots: Slots, now: datetime
    ) -> SignalBook:
        """A value per slot for each kind a site has a chain for; None and a problem where no source has one.

        A failing source never raises: it is a problem in the book.
        """
        ...

    async def measured(
        self, sites: Collection[Site], sources: Mapping[str, Source], now: datetime
    ) -> Mapping[MeasureKey, float]:
        """What servers have measured over the past hour, where a site says who asks them; what is not known is left out."""
        ...

    async def recent(
        self, site: Site, reference: SourceRef, sources: Mapping[str, Source], now: datetime
    ) -> Mapping[Measure, Sequence[Point] | str]:
        """What a source says of a site's last minutes, by measure; or in words why it says nothing."""
        ...


class DemandCollector(Protocol):
    """Says how many queries arrive."""

    async def collect(
        self,
        entry: DemandEntry,
        area: Area,
        namespace: str,
        sources: Mapping[str, Source],
        slots: Slots,
        now: datetime,
    ) -> Arrivals:
        """Queries per slot; ``namespace`` is the demand's.

        Raises:
            SignalError: the entry's source has no value for a slot.
        """
        ...

    async def served(
        self,
        entry: DemandEntry,
        namespace: str,
        backends: Mapping[str, Sequence[BackendKey]],
        in_force: Mapping[str, float],
        sources: Mapping[str, Source],
        since: datetime,
        now: datetime,
    ) -> Mapping[str, float] | None:
        """Shares by site of the queries sent to each site's back-ends since then; None where nobody counts them.

        ``in_force`` are the shares by weight: a site without any that is not counted had nothing.
        """
        ...


class LedgerStore(Protocol):
    """Keeps a policy's ledger outside the process."""

    async def load(self, policy: str) -> Ledger | None:
        """The ledger as last saved; None where there is none yet.

        Raises:
            StoreError: it cannot be read; it is never begun anew without the user's doing.
        """
        ...

    async def save(self, policy: str, ledger: Ledger) -> None:
        """Keep the ledger, all or nothing."""
        ...


class AuditStore(Protocol):
    """Keeps the rows behind a ledger."""

    async def append(self, batch: AuditBatch) -> None:
        """Keep what a ledger is about to be charged with; it replaces what begins there or later.

        Raises:
            StoreError: it cannot be written now; it is kept for the next time.
        """
        ...


class Routes(Protocol):
    """The routes of a cluster or a directory."""

    async def read(self, keys: Collection[RouteKey]) -> Mapping[RouteKey, Route]:
        """The routes that exist, read now."""
        ...

    async def write(self, change: RouteWrite) -> Route:
        """Change the weights of some rules and nothing else, all or nothing; returns the route as it then is.

        Raises:
            StoreError: the route has changed since it was read, or cannot be written.
        """
        ...
