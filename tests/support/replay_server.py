"""A real HTTP server on loopback that answers as a service would, or as one in trouble."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ReplayServer:
    """``answer`` says what comes back; ``seen`` is every request."""

    answer: Answer
    seen: list[web.Request] = field(default_factory=list)
    host: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        address: Any = site._server  # type: ignore[union-attr]
        self.host = f"127.0.0.1:{address.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.answer(request)


def always(body: bytes, status: int = 200, **headers: str) -> Answer:
    """The same answer to everything."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return answer


@contextmanager
def in_thread(answer: Answer) -> Iterator[ReplayServer]:
    """The server in a thread of its own, for tests that are not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    found = ReplayServer(answer)
    asyncio.run_coroutine_threadsafe(found.__aenter__(), loop).result(10)
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(found.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def electricity_maps(key: str, value: Callable[[], float]) -> Answer:
    """Electricity Maps for one key: the same intensity for every hour to come."""

    async def answer(request: web.Request) -> web.StreamResponse:
        given = request.headers.get("auth-token")
        if given != key:
            return web.Response(status=401, body=f"unknown {given}".encode())
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        rows = [{"carbonIntensity": value(), "datetime": (now + timedelta(hours=n)).isoformat()} for n in range(30)]
        forecast = {"zone": "DE", "forecast": rows, "updatedAt": now.isoformat(), "temporalGranularity": "hourly"}
        return web.json_response(forecast if request.path.endswith("/forecast") else {"zone": "DE", "history": []})

    return answer
