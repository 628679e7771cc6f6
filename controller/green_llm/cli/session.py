"""What long-running commands share: how they end, and the times they are given."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime

from green_llm.cli.errors import Exit
from green_llm.errors import InvalidInputError


def stop_on_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; the second ends the process."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


def moment(text: str, option: str) -> datetime:
    """A time that the user gave; one without an offset is UTC.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f'{option}: "{text}" is not an ISO 8601 time, such as 2026-10-20T12:00Z') from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
