"""Every Kopf handler. None holds a decision."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import kopf

from green_llm.bootstrap.cluster import ClusterParts, cluster_parts
from green_llm.bootstrap.common import web_server
from green_llm.kube.kinds import FIELD_SELECTORS, WATCHED
from green_llm.operator.loop import Loop
from green_llm.settings import Settings


class _Backoffs:
    """Pauses between tries of Kopf's own requests, for ever: a list that ends would end its watching."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.1, 0.5, 1.0, 2.0)
        while True:
            yield 5.0


class _Running:
    """What lives between startup and cleanup."""

    parts: ClusterParts
    loop: Loop
    task: asyncio.Task[None]
    stack: contextlib.ExitStack


running = _Running()


@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Configure Kopf, log in, start the loops."""
    settings.posting.enabled = False
    settings.persistence.finalizer = "greenllm.dev/kopf"
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10.0
    settings.watching.reconnect_backoff = 1.0
    for resource, selector in FIELD_SELECTORS.items():
        settings.watching.field_selectors[resource.group, resource.version, resource.plural] = selector
    own = Settings()
    for chatter in (
        "kopf.objects",
        "kopf.activities.probe",
        "aiohttp.access",
    ):  # a line per watch event and per probe says nothing
        logging.getLogger(chatter).setLevel(logging.WARNING)
    logging.getLogger("green_llm.decisions").setLevel(logging.INFO if own.decision_log else logging.WARNING)
    running.parts = cluster_parts(own)
    running.loop = Loop(running.parts)
    running.stack = contextlib.ExitStack()
    running.stack.enter_context(web_server(own, running.parts.recorder, running.parts.page, own.metrics_port))
    running.task = asyncio.create_task(running.loop.run(), name="green-llm")


@kopf.on.cleanup()
async def stop(**_: Any) -> None:
    """End the loops and give the leases back."""
    running.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running.task
    running.stack.close()


@kopf.on.probe(id="loop", errors=kopf.ErrorsMode.PERMANENT)
async def probe(**_: Any) -> str:
    """Fails the liveness request when the loop is stuck, not logged in, or has not seen its first lists."""
    if not running.loop.healthy:
        raise kopf.PermanentError("the planning loop has not seen its first lists, or is stuck")
    return "turning"


async def on_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's name
    """Take over what changed."""
    mirror = running.parts.mirror
    if type is None and mirror.synced:
        mirror.relist_wanted.set()  # Kopf has listed anew: what was deleted in the gap it does not say
    if type == "DELETED":
        metadata = body["metadata"]
        mirror.drop(str(body["kind"]), (str(metadata.get("namespace") or ""), str(metadata["name"])))
    else:
        mirror.put(dict(body))


for _resource in WATCHED:
    kopf.on.event(_resource.group, _resource.version, _resource.plural, id=_resource.plural)(on_event)
