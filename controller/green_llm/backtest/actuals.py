"""What came, seen afterwards: the days on which decisions are charged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from green_llm.backtest.replay import Span, Task, afterwards
from green_llm.domain.request import Policy
from green_llm.domain.series import SignalBook
from green_llm.domain.time import Slots
from green_llm.errors import SignalError
from green_llm.services import valuing
from green_llm.services.admission import PolicyRequest
from green_llm.services.assemble import Assembled, Traffic, assemble
from green_llm.services.weighing import pair_shares, static_shares

DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Day:
    """Some consecutive intervals of one day (UTC), with what really came."""

    request: PolicyRequest
    first: int
    """The place of its first interval in the back-test."""
    book: SignalBook
    traffic: tuple[Traffic, ...]
    pairs: tuple[int, ...]
    """The place in the request of each traffic; pairs whose arrivals nobody knows are left out."""

    @property
    def last(self) -> int:
        """One past its last interval."""
        return self.first + self.book.slots.count

    def ground(self) -> Assembled:
        """To value given shares on: all sites, values that nobody knows as NaN."""
        return valuing.ground(self.request, self.traffic, self.book, (0, self.book.slots.count))

    def free(self) -> Assembled:
        """To find the best shares on, with what cannot be steered fixed as it was at adoption.

        No other weights are in force: a plan that stays close to some would give up a little for it.
        """
        window = (0, self.book.slots.count)
        traffic = [entry if entry.fixed else replace(entry, current=None) for entry in self.traffic]
        return assemble(self.request.policy.name, self.request.sites, traffic, self.book, window)


async def days(task: Task) -> AsyncIterator[Day]:
    """The days of a back-test in order, on a grid of its intervals."""
    world, request, span = task.world, task.request(), task.span
    signals, demand = afterwards(task)
    first = 0
    while first < span.count:
        start = span.slots.slot_start(first)
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
        until = min(midnight, _period_end(start, span, request.policy))
        inside = max(1, int((until - start).total_seconds() // span.step_seconds))
        slots = Slots(start, span.step_seconds, min(inside, span.count - first))
        book = await signals.collect(request.policy, request.sites, request.sources, slots, start)
        traffic, pairs = [], []
        for number, pair in enumerate(request.pairs):
            try:
                arrivals = await demand.collect(
                    pair.entry, pair.area, pair.demand.namespace, request.sources, slots, start
                )
            except SignalError:
                continue  # what nobody has counted is nobody's traffic; the report says how many pairs
            traffic.append(Traffic(pair, arrivals, pair_shares(pair, world.routes), static_shares(pair, world.routes)))
            pairs.append(number)
        yield Day(request=request, first=first, book=book, traffic=tuple(traffic), pairs=tuple(pairs))
        first += slots.count


def period_of(interval: int, span: Span, policy: Policy) -> int:
    """The water period of an interval, from 0; the first begins with the back-test."""
    if policy.water is None:
        return 0
    return int((span.slots.slot_start(interval) - span.start) // timedelta(days=policy.water.period_days))


def _period_end(moment: datetime, span: Span, policy: Policy) -> datetime:
    if policy.water is None:
        return span.end
    length = timedelta(days=policy.water.period_days)
    return span.start + ((moment - span.start) // length + 1) * length
