"""A bounded load generator: ``python load.py CONFIG OUTPUT``. Open loop, evenly paced; one line for every query it sent.

A process of its own, so that the tests' own work does not delay what it measures. It ends by itself: after a number of
queries, after some seconds, or when told to.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

import aiohttp

QUERY_SECONDS = 20.0
LONGEST_SECONDS = 600.0
MOST = 60_000
OUTSTANDING = 256
STARTED_SECONDS = 60.0


@dataclass(frozen=True)
class Cell:
    """Queries of one class from one area, and how the gateway tells them."""

    area: str
    query_class: str
    per_second: float
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    input_tokens: int = 8
    output_tokens: int = 8


@dataclass(frozen=True)
class Answer:
    """One query; times are ``time.monotonic()``, which all processes of a machine share."""

    sent: float
    done: float
    area: str
    query_class: str
    site: str
    """As the site said; empty where nobody answered."""
    status: int
    """0: no answer."""

    @property
    def failed(self) -> bool:
        return self.status != 200


class Load:
    """A running generator; ``answers`` may be read at any time."""

    def __init__(
        self, url: str, cells: Sequence[Cell], folder: Path, *, most: int = MOST, seconds: float = 120.0
    ) -> None:
        self._output = folder / f"load-{time.monotonic_ns()}.txt"
        self._output.touch()
        self._read, self._answers = 0, list[Answer]()
        config = {"url": url, "cells": [asdict(cell) for cell in cells], "most": min(most, MOST),
                  "seconds": min(seconds, LONGEST_SECONDS)}  # fmt: skip
        self._process = subprocess.Popen([sys.executable, __file__, json.dumps(config), str(self._output)])
        end = time.monotonic() + STARTED_SECONDS
        while not self._output.stat().st_size and self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)

    @property
    def answers(self) -> list[Answer]:
        with self._output.open() as lines:
            lines.seek(self._read)
            text, _, _ = lines.read().rpartition("\n")
        if text:
            self._read += len(text) + 1
            self._answers += [parse(line) for line in text.splitlines()]
        return self._answers

    def wait(self) -> list[Answer]:
        """Until it has sent all."""
        self._process.wait(LONGEST_SECONDS + QUERY_SECONDS + 10)
        assert self._process.returncode == 0
        return self.answers

    def stop(self) -> list[Answer]:
        """End it: what is under way is waited for."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def parse(line: str) -> Answer:
    sent, done, area, query_class, site, status = line.split("\t")
    return Answer(float(sent), float(done), area, query_class, site, int(status))


def after(answers: Iterable[Answer], moment: float) -> list[Answer]:
    """Those sent later than ``moment``."""
    return [answer for answer in answers if answer.sent > moment]


def counts(answers: Iterable[Answer]) -> dict[tuple[str, str], Counter[str]]:
    """Answers by (area, class) and site."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for answer in answers:
        found.setdefault((answer.area, answer.query_class), Counter())[answer.site] += 1
    return found


async def _ask(session: aiohttp.ClientSession, cell: Cell, output: TextIO) -> None:
    words = " ".join(["word"] * cell.input_tokens)
    body = {"model": "model", "messages": [{"role": "user", "content": words}], "max_tokens": cell.output_tokens}
    sent, site, status = time.monotonic(), "", 0
    try:
        async with session.post(cell.path, json=body, headers=cell.headers) as answer:
            await answer.read()
            site, status = answer.headers.get("x-site", ""), answer.status
    except (aiohttp.ClientError, TimeoutError):
        pass
    output.write(f"{sent}\t{time.monotonic()}\t{cell.area}\t{cell.query_class}\t{site}\t{status}\n")


async def _send(config: Any, output: TextIO) -> None:
    cells = [Cell(**cell) for cell in config["cells"]]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    connector, timeout = aiohttp.TCPConnector(limit=OUTSTANDING), aiohttp.ClientTimeout(total=QUERY_SECONDS)
    async with aiohttp.ClientSession(config["url"], connector=connector, timeout=timeout) as session:
        begun, sent, under_way = time.monotonic(), 0, set[asyncio.Task[None]]()
        due = [begun + n / len(cells) / cell.per_second for n, cell in enumerate(cells)]
        while not stopped.is_set() and sent < config["most"] and time.monotonic() - begun < config["seconds"]:
            following = min(range(len(cells)), key=due.__getitem__)
            pause = due[following] - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            if len(under_way) >= OUTSTANDING:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(_ask(session, cells[following], output))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due[following] += 1.0 / cells[following].per_second
            sent += 1
        if under_way:
            await asyncio.wait(under_way)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", buffering=1) as lines:
        asyncio.run(_send(json.loads(sys.argv[1]), lines))
