"""The loops of the operator: plan when something changed or is due, guard health, compare with fresh lists, hold leases.

Level-based: every pass looks at all there is. Nothing is remembered that is not in the cluster but what makes it faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from green_llm.bootstrap.cluster import ClusterParts
from green_llm.domain.request import Kind
from green_llm.errors import GreenLLMError
from green_llm.kube.kinds import OWN
from green_llm.observability.decisions import log_decision
from green_llm.operator import deletion, managed, reporting
from green_llm.services.admission import Admission, PolicyRequest, admit, wanted_routes

logger = logging.getLogger("green_llm.operator")
DEBOUNCE_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0
RELIST_DEBOUNCE_SECONDS = 1.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 30.0
STUCK_SECONDS, PLAN_STUCK_SECONDS = 60.0, 900.0
RENEW_SECONDS = 4.0


class Loop:
    """All loops of one replica."""

    def __init__(self, parts: ClusterParts) -> None:
        self._parts = parts
        self._due: dict[str, float] = {}
        self._requests: Mapping[str, PolicyRequest] = {}
        """As last admitted."""
        self._failures: dict[str, int] = {}
        self._again: set[str] = set()
        """Policies for which something has changed since their running interval began."""
        self._plans: dict[str, asyncio.Task[None]] = {}
        self._begun: dict[str, float] = {}
        self._beat = time.monotonic()

    @property
    def healthy(self) -> bool:
        """Whether the planning loop turns, has seen its first lists, and no interval hangs."""
        now = time.monotonic()
        hangs = any(now - begun > PLAN_STUCK_SECONDS for name, begun in self._begun.items() if self._running(name))
        return self._parts.mirror.synced and now - self._beat < STUCK_SECONDS and not hangs

    async def run(self) -> None:
        """Run until cancelled; a loop that fails is started again."""
        await _until_done(self._relist, "first lists")
        loops = (self._plan_forever, self._guard_forever, self._relist_forever, self._renew_forever)
        try:
            await asyncio.gather(*(_supervised(loop) for loop in loops))
        finally:
            for task in self._plans.values():
                task.cancel()
            await asyncio.gather(*self._plans.values(), return_exceptions=True)
            await asyncio.gather(*(lease.release() for lease in self._parts.leases.values()))
            await self._parts.hub.close()

    async def _relist(self) -> None:
        await self._parts.mirror.relist(self._parts.cluster)

    async def _relist_forever(self) -> None:
        wanted = self._parts.mirror.relist_wanted
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wanted.wait(), self._parts.settings.relist_seconds)
                await asyncio.sleep(RELIST_DEBOUNCE_SECONDS)
            wanted.clear()
            await self._relist()

    async def _renew_forever(self) -> None:
        while True:
            leases = list(self._parts.leases.values())
            before = [lease.held for lease in leases]
            held = await asyncio.gather(*(lease.renew() for lease in leases))
            if list(held) != before:
                self._parts.mirror.changed.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._parts.lease_added.wait(), RENEW_SECONDS)
            self._parts.lease_added.clear()

    async def _guard_forever(self) -> None:
        """Take traffic off sites whose back-ends have no ready endpoint, whatever the solver is doing."""
        parts = self._parts
        while True:
            await parts.mirror.health_changed.wait()
            parts.mirror.health_changed.clear()
            admission = await self._admission()
            for request in admission.requests.values():
                if parts.lease(request.policy.name).held:
                    routes = await parts.routes.read(request.routes)
                    failed = await parts.planning.guard(request, routes, datetime.now(UTC))
                    for key, message in failed.items():
                        logger.warning("guard: %s: %s", key, message)
                        parts.mirror.health_changed.set()

    async def _plan_forever(self) -> None:
        mirror = self._parts.mirror
        while True:
            self._beat = time.monotonic()
            self._parts.recorder.turn()
            dirty = mirror.changed.is_set()
            mirror.changed.clear()
            dirty = await self._slo_moved() or dirty
            if dirty or self._soonest() <= self._beat:
                await self._pass(dirty=dirty)
            wait = min(max(self._soonest() - time.monotonic(), DEBOUNCE_SECONDS), LONGEST_WAIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(mirror.changed.wait(), wait)
                await asyncio.sleep(DEBOUNCE_SECONDS)

    async def _slo_moved(self) -> bool:
        """Whether a site of a policy that is ours has come to break its limits, or to keep them."""
        now, parts = datetime.now(UTC), self._parts
        held = [
            request for name, request in self._requests.items() if parts.lease(name).held and not self._running(name)
        ]
        return any([await parts.planning.slo_moved(request, now) for request in held])

    def _soonest(self) -> float:
        """When the next policy is due whose last interval has ended."""
        return min((due for name, due in self._due.items() if not self._running(name)), default=float("inf"))

    def _running(self, name: str) -> bool:
        task = self._plans.get(name)
        return task is not None and not task.done()

    async def _pass(self, *, dirty: bool) -> None:
        """Look at everything there is; where that fails, again."""
        try:
            admission = await self._admission()
            await deletion.finish(self._parts)
            await reporting.report_rejected(self._parts, admission)
            await reporting.report_sources(self._parts)
        except Exception:
            self._parts.mirror.changed.set()
            raise
        self._start(admission, dirty=dirty)
        held, page = {name for name in admission.requests if self._parts.lease(name).held}, self._parts.page
        self._parts.recorder.keep_only(held)
        page.failures = {name: why for name, why in page.failures.items() if name in held}

    async def _admission(self) -> Admission:
        """Who takes part now; recordings that sources name are read on the way."""
        parts = self._parts
        resources = parts.mirror.resources()
        await parts.texts.refresh(resources.sources.values())
        routes = await parts.routes.read(wanted_routes(resources))
        before = await parts.accepted.refresh(resources.policies)
        return admit(resources, routes, parts.mirror.unhealthy(), before)

    def _start(self, admission: Admission, *, dirty: bool) -> None:
        """Start a plan for every policy that is due or has changed, each in a task of its own."""
        now = time.monotonic()
        self._requests = admission.requests
        self._due = {name: due for name, due in self._due.items() if name in admission.requests}
        for name, request in admission.requests.items():
            if self._running(name):
                if dirty:
                    self._again.add(name)
                continue
            due, lease = self._due.get(name, now) <= now, self._parts.lease(name)
            held = lease.held
            if lease.asked and ((dirty and held) or due):
                self._due[name] = now + request.policy.period_seconds
                self._begun[name] = now
                self._plans[name] = asyncio.create_task(self._interval(request, held=held), name=f"plan {name}")

    async def _interval(self, request: PolicyRequest, *, held: bool) -> None:
        """One interval; what has changed meanwhile is planned next."""
        await (self._plan(request) if held else self._rehearse(request))
        if request.policy.name in self._again:
            self._again.discard(request.policy.name)
            self._parts.mirror.changed.set()

    async def _plan(self, request: PolicyRequest) -> None:
        """One interval of one policy."""
        parts, name = self._parts, request.policy.name
        try:
            await self._prepare(request)
            now = datetime.now(UTC)
            routes = await parts.routes.read(request.routes)
            outcome = await parts.planning.reconcile(request, routes, now)
            parts.recorder.record(outcome)
            parts.page.history.record(outcome)
            log_decision(outcome)
            await reporting.report(parts, outcome)
        except GreenLLMError as error:
            logger.warning("policy %s: %s; tried again in %g s", name, error, self._retry(name))
            self._failed(name, str(error))
        except Exception as error:
            # A defect in one policy's interval must not stop the others; it is logged whole and tried again.
            logger.exception("policy %s: failed; tried again in %g s", name, self._retry(name))
            self._failed(name, f"{type(error).__name__}: {error}")
        else:
            self._failed(name, None)
            if outcome.writes_failed:
                self._retry(name)
            else:
                self._failures.pop(name, None)

    def _failed(self, name: str, message: str | None) -> None:
        """Have the page say why an interval came to nothing; None: it did not."""
        others = {other: why for other, why in self._parts.page.failures.items() if other != name}
        self._parts.page.failures = others if message is None else others | {name: message}

    async def _prepare(self, request: PolicyRequest) -> None:
        """What must be in the cluster before weights are written."""
        parts, name = self._parts, request.policy.name
        demands = parts.mirror.by_key(OWN[Kind.DEMAND])
        accepted = {key: demands[key] for key in request.accepted & demands.keys()}
        await parts.accepted.keep(name, accepted, demands.keys())
        await deletion.ensure_finalizers(parts, request)
        await managed.keep(parts, request)

    async def _rehearse(self, request: PolicyRequest) -> None:
        """What a replica does that stands by."""
        parts, name = self._parts, request.policy.name
        try:
            await parts.planning.rehearse(request, await parts.routes.read(request.routes), datetime.now(UTC))
        except GreenLLMError as error:
            logger.warning("policy %s: rehearsal: %s", name, error)
        if parts.lease(name).held:
            self._again.add(name)

    def _retry(self, name: str) -> float:
        """Plan again soon, and each time later; in how many seconds."""
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** (failures - 1), LONGEST_RETRY_SECONDS)
        self._due[name] = min(self._due.get(name, float("inf")), time.monotonic() + wait)
        return wait


async def _supervised(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop for ever; what it raises is logged, and it begins anew."""
    while True:
        await _until_done(loop, loop.__name__)


async def _until_done(work: Callable[[], Awaitable[None]], name: str) -> None:
    """Repeat until it ends without an error."""
    while True:
        try:
            await work()
        except GreenLLMError as error:
            logger.warning("%s: %s", name, error)
        except Exception:
            logger.exception("%s: failed", name)
        else:
            return
        await asyncio.sleep(1.0)
