"""A stand-in for a site's inference server: OpenAI's chat completions, vLLM's metrics, and the delay of the Green-LLM model.

A query takes (input + output tokens) × (queries per hour of its class here) ÷ throughput, the model's v, beside a constant and
the network delay of its area. It computes nothing: the text of an answer is filler. ``POST /control`` changes how it behaves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

disable_created_metrics()
STATES = ("serve", "hang", "fail")
LONGEST_SECONDS = 600.0
LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Behaviour:
    """What ``/control`` sets; every field may be given alone."""

    state: str = "serve"
    """serve; hang: take the query and never answer; fail: answer 500."""
    throughput_tokens_per_second: float = 1e9
    """Of the model: v is its inverse, for an hour of load."""
    base_seconds: float = 0.0
    network_seconds: Mapping[str, float] = field(default_factory=dict)
    """Round trip by area, as the header x-area names it."""
    error_ratio: float = 0.0
    """Share of queries answered with 500 while it serves."""

    def changed(self, change: Mapping[str, Any]) -> Behaviour:
        """With some fields replaced.

        Raises:
            ValueError: a field is unknown or out of its range.
        """
        unknown = set(change) - set(asdict(self))
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: unknown; known are {', '.join(asdict(self))}")
        found = replace(self, **change)
        if found.state not in STATES:
            raise ValueError(f"state: {found.state} is none of {', '.join(STATES)}")
        numbers = (found.base_seconds, found.error_ratio, *found.network_seconds.values())
        if found.throughput_tokens_per_second <= 0 or any(not 0 <= number <= LONGEST_SECONDS for number in numbers):
            raise ValueError("a throughput must be positive, a delay 0 … 600 s, a ratio 0 … 1")
        return found


class Load:
    """Queries per second of each class: arrivals, fading with a time constant."""

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._begun = time.monotonic()
        self._known: dict[str, tuple[float, float]] = {}

    def arrived(self, query_class: str) -> float:
        """Count one; the rate now. Before a whole window has passed, the mean so far."""
        now = time.monotonic()
        amount, last = self._known.get(query_class, (0.0, now))
        amount = amount * math.exp((last - now) / self._window) + 1.0
        self._known[query_class] = (amount, now)
        seen = self._window * -math.expm1((self._begun - now) / self._window)
        return amount / max(seen, 1.0)


class Metrics:
    """The families that vLLM's servers export and planners read."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        names, self._model = ["model_name"], model

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"vllm:{name}", text, names, buckets=LATENCY_BUCKETS, registry=self.registry).labels(model)

        self._finished = Counter(
            "vllm:request_success", "Finished requests", [*names, "finished_reason"], registry=self.registry
        )
        self._prompt = Counter("vllm:prompt_tokens", "Prompt tokens", names, registry=self.registry).labels(model)
        self._generated = Counter("vllm:generation_tokens", "Generated tokens", names, registry=self.registry).labels(
            model
        )
        self._answered = Counter(
            "http_requests", "Answers by status", ["handler", "method", "status"], registry=self.registry
        )
        self.running = Gauge(
            "vllm:num_requests_running", "Requests being served", names, registry=self.registry
        ).labels(model)
        Gauge("vllm:num_requests_waiting", "Requests waiting", names, registry=self.registry).labels(model).set(0)
        self._first = histogram("time_to_first_token_seconds", "Time to the first token")
        self._between = histogram("inter_token_latency_seconds", "Time between two tokens")
        self._whole = histogram("e2e_request_latency_seconds", "Time from arrival to the last token")

    def answered(self, handler: str, status: int) -> None:
        """One request was answered, or its client has gone; as vLLM's instrumentator counts it."""
        self._answered.labels(handler, "POST", f"{status // 100}xx").inc()

    def finished(self, prompt: int, generated: int, first_seconds: float, whole_seconds: float) -> None:
        """One query was answered in full."""
        self._finished.labels(self._model, "length").inc()
        self._prompt.inc(prompt)
        self._generated.inc(generated)
        self._first.observe(first_seconds)
        self._whole.observe(whole_seconds)
        if generated > 1:
            self._between.observe((whole_seconds - first_seconds) / (generated - 1))


class Site:
    """One site's server."""

    def __init__(self, name: str, model: str, behaviour: Behaviour, load_window_seconds: float) -> None:
        self._name, self._model, self._behaviour = name, model, behaviour
        self._load, self._metrics = Load(load_window_seconds), Metrics(model)
        self._random = random.Random(0)  # noqa: S311 - picks which queries fail
        self._numbers = 0

    def application(self) -> web.Application:
        """Its paths."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_post("/v1/chat/completions", self._counted)
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._expose)
        application.router.add_get("/control", self._control)
        application.router.add_post("/control", self._control)
        return application

    async def _counted(self, request: web.Request) -> web.StreamResponse:
        status = 500
        try:
            response = await self._chat(request)
            status = response.status
        finally:
            self._metrics.answered(request.path, status)
        return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        headers = {"x-site": self._name}
        try:
            asked = await request.json()
            prompt = sum(len(str(message["content"]).split()) for message in asked["messages"])
            generated = min(4096, max(1, int(asked.get("max_tokens", 16))))
        except (ValueError, TypeError, KeyError) as error:
            fault = f"the body is no chat completion request: {error!r}"
            return web.json_response({"error": {"message": fault}}, status=400, headers=headers)
        query_class = request.headers.get("x-class", self._model)
        per_second = self._load.arrived(query_class)
        behaviour = self._behaviour
        if behaviour.state == "hang":
            with self._metrics.running.track_inprogress():
                await asyncio.sleep(LONGEST_SECONDS)
        if behaviour.state == "fail" or self._random.random() < behaviour.error_ratio:
            return web.json_response({"error": {"message": "told to fail"}}, status=500, headers=headers)
        whole = (prompt + generated) * 3600.0 * per_second / behaviour.throughput_tokens_per_second
        whole += behaviour.base_seconds + behaviour.network_seconds.get(request.headers.get("x-area", ""), 0.0)
        self._numbers += 1
        common = {"id": f"chatcmpl-{self._name}-{self._numbers}", "created": int(time.time()), "model": self._model}
        usage = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
        with self._metrics.running.track_inprogress():
            if asked.get("stream"):
                return await self._stream(request, headers, common, usage, min(whole, LONGEST_SECONDS))
            await asyncio.sleep(min(whole, LONGEST_SECONDS))
        took = time.monotonic() - began
        self._metrics.finished(prompt, generated, took, took)
        message = {"role": "assistant", "content": " ".join(["token"] * generated)}
        choices = [{"index": 0, "message": message, "finish_reason": "length"}]
        body = common | {"object": "chat.completion", "choices": choices, "usage": usage}
        return web.json_response(body, headers=headers)

    async def _stream(
        self, request: web.Request, headers: Mapping[str, str], common: Mapping[str, Any], usage: Mapping[str, int],
        whole_seconds: float,
    ) -> web.StreamResponse:  # fmt: skip
        """Server-sent events, a token each, evenly over the time that the query takes."""
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        began, first, generated = time.monotonic(), 0.0, usage["completion_tokens"]
        for number in range(1, generated + 1):
            due = began + whole_seconds * number / generated
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            last = number == generated
            choice = {"index": 0, "delta": {"content": "token "}, "finish_reason": "length" if last else None}
            event = {**common, "object": "chat.completion.chunk", "choices": [choice]} | (
                {"usage": usage} if last else {}
            )
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            first = first or time.monotonic() - began
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        self._metrics.finished(usage["prompt_tokens"], generated, first, time.monotonic() - began)
        return response

    async def _health(self, _request: web.Request) -> web.Response:
        if self._behaviour.state == "hang":
            await asyncio.sleep(LONGEST_SECONDS)
        return web.Response(status=500 if self._behaviour.state == "fail" else 200)

    async def _expose(self, request: web.Request) -> web.Response:
        if "openmetrics" in request.headers.get("Accept", ""):
            # The default would write the colon of vLLM's names as an underscore.
            body = openmetrics(self._metrics.registry, escaping="allow-utf-8")
            return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
        return web.Response(body=generate_latest(self._metrics.registry), content_type="text/plain")

    async def _control(self, request: web.Request) -> web.Response:
        try:
            if request.method == "POST":
                self._behaviour = self._behaviour.changed(await request.json())
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(asdict(self._behaviour))


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="the site's name; answers carry it in the header x-site")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - in a pod or namespace
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default="model", help="the model's name in answers and metrics")
    parser.add_argument("--behaviour", default="{}", help="a JSON object, as POST /control takes it")
    parser.add_argument("--load-window-seconds", type=float, default=10.0, help="time constant of the load")
    given = parser.parse_args()
    site = Site(given.name, given.model, Behaviour().changed(json.loads(given.behaviour)), given.load_window_seconds)
    web.run_app(
        site.application(), host=given.host, port=given.port, print=None, access_log=None, shutdown_timeout=1.0,
        handler_cancellation=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
