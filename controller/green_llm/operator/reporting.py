"""From outcomes and verdicts to status in the cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from green_llm.api import status
from green_llm.bootstrap.cluster import ClusterParts
from green_llm.domain.request import Kind, ObjectKey, Problem
from green_llm.errors import StoreError
from green_llm.services.admission import Admission
from green_llm.services.outcome import Outcome

logger = logging.getLogger("green_llm.operator")
AT_A_TIME = 8


async def report(parts: ClusterParts, outcome: Outcome) -> None:
    """Write the status of a policy, its demands and its sites. One that fails does not stop the others."""
    previous = parts.statuses.all_known()
    policy = ObjectKey(Kind.POLICY, "", outcome.policy.name)
    found = {policy: status.policy_status(outcome, previous.get(policy))}
    found |= status.demand_statuses(outcome, previous) | status.site_statuses(outcome, previous)
    await _write_all(parts, found, outcome.now)
    try:
        await parts.all_weights.write(outcome.policy.name, status.tables_of_weights(outcome))
    except StoreError as error:
        logger.warning("%s", error)


async def report_rejected(parts: ClusterParts, admission: Admission) -> None:
    """Write the verdict on objects that no plan reports: what does not parse, and demands without a policy."""
    if not parts.lease("").held:
        return
    reported = {problem for request in admission.requests.values() for problem in request.skipped}
    by_key: dict[ObjectKey, list[Problem]] = {}
    for problem in admission.problems:
        if problem not in reported:
            by_key.setdefault(problem.key, []).append(problem)
    now = datetime.now(UTC)
    found = {key: status.rejected_status(problems, now, parts.statuses.known(key)) for key, problems in by_key.items()}
    await _write_all(parts, found, now)


async def report_sources(parts: ClusterParts) -> None:
    """Write how the live sources do."""
    if not parts.lease("").held:
        return
    now = datetime.now(UTC)
    keys = {ObjectKey(Kind.SOURCE, "", name): health for name, health in parts.hub.health.items()}
    found = {key: status.source_status(health, now, parts.statuses.known(key)) for key, health in keys.items()}
    await _write_all(parts, found, now)


async def _write_all(parts: ClusterParts, found: Mapping[ObjectKey, status.Status], now: datetime) -> None:
    """Some at a time: a thousand statuses one after another would take longer than an interval."""
    some = asyncio.Semaphore(AT_A_TIME)

    async def write(key: ObjectKey, content: status.Status) -> None:
        async with some:
            await _write(parts, key, content, now)

    await asyncio.gather(*(write(key, content) for key, content in found.items()))


async def _write(parts: ClusterParts, key: ObjectKey, content: status.Status, now: datetime) -> None:
    try:
        await parts.statuses.write(key, content, now)
    except StoreError as error:
        logger.warning("%s", error)
        parts.mirror.changed.set()  # said again at the next pass
