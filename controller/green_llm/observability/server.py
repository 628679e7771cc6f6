"""``/metrics`` over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from green_llm.errors import InvalidInputError


@contextmanager
def metrics_server(registry: CollectorRegistry, port: int, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve the registry while the context lasts; gives the port (0 picks a free one).

    Raises:
        InvalidInputError: the port is taken.
    """
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise InvalidInputError(
            f"--metrics-port {port}: cannot be served on {address}: {error.strerror}; take another"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
