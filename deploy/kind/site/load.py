"""Sends what an InferenceDemand says arrives now, through a gateway: ``python load.py DEMAND.yaml URL``.

Every pair of area and class is paced evenly by its profile at the area's hour. The area's host is AREA.llm.example.com, its
class the header x-class. An answer is not waited for before the next query is sent; beyond a number that are under way
queries are dropped. What happened is said once a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import yaml

ZONES = {"seattle": "America/Los_Angeles", "new-york": "America/New_York"}
"""As the policy has them."""
OUTSTANDING = 256
QUERY_SECONDS = 30.0


@dataclass(frozen=True)
class Pair:
    """Queries of one class from one area."""

    area: str
    query_class: str
    queries_per_hour: tuple[float, ...]
    input_tokens: int
    output_tokens: int

    @property
    def pause_seconds(self) -> float:
        """Between two queries, at this hour of the area's clock; its profile has 24 hours, or those of a week."""
        now = datetime.now(ZoneInfo(ZONES[self.area]))
        hour = (now.weekday() * 24 + now.hour) % len(self.queries_per_hour)
        return 3600.0 / max(self.queries_per_hour[hour], 1.0)


def pairs_of(demand: dict[str, Any]) -> list[Pair]:
    """Every pair of a demand."""
    classes = {entry["name"]: entry for entry in demand["spec"]["classes"]}
    return [
        Pair(
            area["name"], entry["class"], tuple(entry["profile"]["queriesPerHour"]),
            classes[entry["class"]]["inputTokens"], classes[entry["class"]]["outputTokens"],
        )
        for area in demand["spec"]["areas"]
        for entry in area["demand"]
    ]  # fmt: skip


class Load:
    """All pairs at once; ``seen`` counts answers by area, class and site (or what went wrong)."""

    def __init__(self, url: str, speedup: float) -> None:
        self._url, self._speedup = url.rstrip("/") + "/v1/chat/completions", speedup
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, pairs: list[Pair]) -> None:
        """Send until cancelled."""
        timeout = aiohttp.ClientTimeout(total=QUERY_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(self._pace(session, pair) for pair in pairs), self._report())

    async def _pace(self, session: aiohttp.ClientSession, pair: Pair) -> None:
        while True:
            await asyncio.sleep(pair.pause_seconds / self._speedup)
            if len(self._under_way) >= OUTSTANDING:
                self.seen[pair.area, pair.query_class, "dropped"] += 1
                continue
            task = asyncio.create_task(self._send(session, pair))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _send(self, session: aiohttp.ClientSession, pair: Pair) -> None:
        body = {
            "model": "llama-70b", "max_tokens": pair.output_tokens,
            "messages": [{"role": "user", "content": "word " * pair.input_tokens}],
        }  # fmt: skip
        headers = {"host": f"{pair.area}.llm.example.com", "x-area": pair.area, "x-class": pair.query_class}
        try:
            async with session.post(self._url, json=body, headers=headers) as answer:
                await answer.read()
                site = answer.headers.get("x-site", "") if answer.ok else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            site = type(error).__name__
        self.seen[pair.area, pair.query_class, site] += 1

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(60)
            words = ", ".join(f"{'/'.join(key)} {count}" for key, count in sorted(self.seen.items()))
            print(words or "nothing was sent", file=sys.stderr, flush=True)
            self.seen.clear()


def main() -> None:
    """Send until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demand", type=Path, help="the InferenceDemand")
    parser.add_argument("url", help="the gateway, http://HOST:PORT")
    parser.add_argument("--speedup", type=float, default=1.0, help="send this many times as much")
    given = parser.parse_args()
    demand = yaml.safe_load(given.demand.read_text(encoding="utf-8"))
    asyncio.run(Load(given.url, given.speedup).run(pairs_of(demand)))


if __name__ == "__main__":
    main()
