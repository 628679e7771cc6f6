"""HTTP, read-only: ``/metrics``, and what is mounted beside it, in a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from green_llm.errors import InvalidInputError

logger = logging.getLogger("green_llm.http")
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEADERS = {
    # No inline script or style, nothing from elsewhere, in no frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def application(registry: CollectorRegistry, address: str, token_file: str = "") -> web.Application:
    """``/metrics`` behind the checks that count for everything served with it.

    A server on a loopback address answers to its own names only, so that no page of somebody else's can read it under a
    name of theirs. With ``token_file``, every request must bring the token in it.

    Raises:
        InvalidInputError: the file cannot be read, or is empty.
    """
    if token_file:
        _token(token_file)
    checks = [_names_check(address), *([_token_check(token_file)] if token_file else [])]
    app = web.Application(middlewares=checks)
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    return app


@contextmanager
def served(app: web.Application, port: int, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve while the context lasts; gives the port (0 picks a free one).

    Raises:
        InvalidInputError: the port is taken.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="http", daemon=True)
    thread.start()
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    def call(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        yield call(_start(runner, port, address))
    finally:
        call(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(runner: web.AppRunner, port: int, address: str) -> int:
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InvalidInputError(
            f"--metrics-port {port}: cannot be served on {address}: {reason}; take another"
        ) from error
    return int(runner.addresses[0][1])


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers.update(HEADERS)


def _names_check(address: str) -> Any:
    """Refuse other names than a loopback address's own."""
    local = address == "localhost" or ("." in address and ip_address(address).is_loopback) or address == "::1"

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.host.lower() if request.host.endswith("]") else request.host.lower().rsplit(":", 1)[0]
        if local and name not in LOCAL_NAMES | {address}:
            raise web.HTTPMisdirectedRequest(text=f"this server is {address}; ask it by that name\n")
        return await handler(request)

    return check


def _token_check(token_file: str) -> Any:
    """Refuse requests without the token: as a Bearer token, or as the password of a browser that asks its user."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            wanted = _token(token_file)
        except InvalidInputError as error:
            logger.warning("%s", error)
            raise web.HTTPServiceUnavailable(text="the token file cannot be read\n") from error
        if not hmac.compare_digest(_given(request.headers.get("Authorization", "")), wanted):
            raise web.HTTPUnauthorized(
                text="bring the token: as a Bearer token, or as the password with any user name\n",
                headers={"WWW-Authenticate": 'Basic realm="green-llm", charset="UTF-8"'},
            )
        return await handler(request)

    return check


def _given(authorization: str) -> bytes:
    """The token in an ``Authorization`` header; empty where there is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _token(token_file: str) -> bytes:
    """The token as the file has it now: it may be exchanged at any time.

    Raises:
        InvalidInputError: the file cannot be read, or is empty.
    """
    try:
        found = Path(token_file).read_bytes().strip()
    except OSError as error:
        raise InvalidInputError(f"GREEN_LLM_TOKEN_FILE {token_file}: cannot be read: {error.strerror}") from error
    if not found:
        raise InvalidInputError(f"GREEN_LLM_TOKEN_FILE {token_file}: is empty; write a token into it")
    return found
