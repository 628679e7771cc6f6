"""The stand-in for a site's inference server, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.control_plane import free_port

SERVER = Path(__file__).parents[2] / "deploy" / "kind" / "site" / "server.py"
QUERY = {"model": "m", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 7}


@pytest.fixture
async def site() -> AsyncIterator[aiohttp.ClientSession]:
    port = free_port()
    command = [sys.executable, SERVER, "--name", "near", "--host", "127.0.0.1", "--port", str(port), "--model", "m",
               "--load-window-seconds", "0.5"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*map(str, command))
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with asyncio.timeout(20):
                while True:
                    try:
                        async with session.get("/health"):
                            break
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.05)
            yield session
    finally:
        process.terminate()
        await process.wait()


async def control(site: aiohttp.ClientSession, **change: Any) -> int:
    async with site.post("/control", json=change) as answer:
        return answer.status


async def ask(site: aiohttp.ClientSession, **headers: str) -> tuple[int, Any]:
    async with site.post("/v1/chat/completions", json=QUERY, headers=headers) as answer:
        assert answer.headers["x-site"] == "near"
        return answer.status, await answer.json()


async def test_an_answer_and_its_metrics(site: aiohttp.ClientSession) -> None:
    status, body = await ask(site)
    assert (status, body["usage"]) == (200, {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10})
    for accept in ("text/plain", "application/openmetrics-text;version=1.0.0"):
        async with site.get("/metrics", headers={"Accept": accept}) as exposed:
            assert 'vllm:prompt_tokens_total{model_name="m"} 3.0\n' in await exposed.text(), accept
    async with site.post("/v1/chat/completions", json=QUERY | {"stream": True}) as answer:
        events = [line[6:] async for line in answer.content if line.startswith(b"data: ")]
    assert len(events) == 8
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 7
    assert events[-1].strip() == b"[DONE]"
    async with site.get("/metrics") as answer:
        text = await answer.text()
    assert 'vllm:prompt_tokens_total{model_name="m"} 6.0' in text
    assert 'vllm:generation_tokens_total{model_name="m"} 14.0' in text
    assert 'vllm:request_success_total{finished_reason="length",model_name="m"} 2.0' in text
    assert 'vllm:e2e_request_latency_seconds_count{model_name="m"} 2.0' in text


async def test_its_delay_is_the_models(site: aiohttp.ClientSession) -> None:
    """10 tokens × 3600 queries/h ÷ 180,000 tokens/s = 0.2 s at one query per second, and 0.1 s from that area."""
    assert await control(site, throughput_tokens_per_second=180_000.0, network_seconds={"far": 0.1}) == 200
    begun = time.monotonic()
    await ask(site)
    assert time.monotonic() - begun >= 0.2
    begun = time.monotonic()
    await ask(site, **{"x-class": "third", "x-area": "far"})
    assert time.monotonic() - begun >= 0.3, "the network comes on top"
    begun = time.monotonic()
    await asyncio.gather(*(ask(site, **{"x-class": "fourth"}) for _ in range(5)))
    assert time.monotonic() - begun >= 0.5, "it grows with the load of the class"


async def test_it_fails_hangs_and_comes_back(site: aiohttp.ClientSession) -> None:
    assert await control(site, state="fail") == 200
    assert (await ask(site))[0] == 500
    assert await control(site, state="hang") == 200
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await ask(site)
    assert await control(site, state="serve", error_ratio=1.0) == 200
    assert (await ask(site))[0] == 500
    assert await control(site, error_ratio=0.0) == 200
    assert (await ask(site))[0] == 200
    assert await control(site, state="sleep") == 400
    assert await control(site, nothing=1) == 400
    assert await control(site, base_seconds=1e9) == 400
    async with site.post("/v1/chat/completions", data=b"no JSON") as answer:
        assert answer.status == 400
