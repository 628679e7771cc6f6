"""A planner on resources in memory: real signals, real solver, real guardrails."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.request import Resources
from green_llm.domain.routes import Route
from green_llm.errors import StoreError
from green_llm.services.admission import admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.services.ports import AuditStore, DemandCollector
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers
from support.resources import NOW, ROUTE, MemoryRoutes, a_demand, a_fleet, a_policy, a_route, a_site


class Planner:
    """A process that plans: what it keeps over intervals, and nothing else."""

    def __init__(self, *routes: Route, files: dict[str, str] | None = None, audit: AuditStore | None = None) -> None:
        self.routes = MemoryRoutes(*(routes or (a_route(),)))
        self.ledgers = MemoryLedgers()
        self.files = files or {}
        self.audit = audit
        self.demand: DemandCollector | None = None
        """In place of what the sources say."""
        self.restart()

    def restart(self) -> None:
        def read_text(name: str) -> tuple[str, str]:
            if name not in self.files:
                raise StoreError(f"{name}: does not exist")
            return str(hash(self.files[name])), self.files[name]

        collector = Collector(read_text)
        demand = self.demand or MeasuredDemand(collector.series)
        self.planning = Planning(collector, demand, self.routes, self.ledgers, audit=self.audit)

    async def plan(self, resources: Resources, now: datetime = NOW, policy: str = "default") -> Outcome:
        routes = await self.routes.read(wanted_routes(resources))
        request = admit(resources, routes).requests[policy]
        return await self.planning.reconcile(request, await self.routes.read(request.routes), now)

    @property
    def weights(self) -> dict[str, int]:
        return {key.name: weight for key, weight in self.routes.routes[ROUTE].rules[0].weights.items()}


def fleet(policy: dict[str, Any] | None = None, demand: dict[str, Any] | None = None, **sites: Any) -> Resources:
    """The fleet with changes to its policy, its demand and, by name, its sites."""
    plain = a_fleet()
    return replace(
        plain,
        policies={"default": a_policy(**policy or {})},
        demands={"inference/assistant": a_demand(**demand or {})},
        sites={name: a_site(name, **sites.get(name, {})) for name in plain.sites},
    )


async def outcomes(
    resources: Resources, *routes: Route, steps: int = 1, start: datetime = NOW, policy: str = "default"
) -> list[Outcome]:
    """Hourly intervals of one policy."""
    planner = Planner(*routes)
    return [await planner.plan(resources, start + timedelta(hours=step), policy) for step in range(steps)]
