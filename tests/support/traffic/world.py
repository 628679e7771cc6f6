"""A user's whole set-up on real traffic: sites, routes by area and class, a policy, the operator, load."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.cluster_objects import GATEWAY, NS, demand, policy, site, source
from support.control_plane import TOKEN, ControlPlane
from support.operator_process import Operator, until
from support.traffic.gateway import EnvoyGateway
from support.traffic.load import Cell, Load
from support.traffic.sites import TrafficSite

SITES = ("near", "cheap", "third")
AREAS = ("iowa", "osaka", "paris")
CLASSES = ("chat", "code")
PARIS = "paris.llm.test"
PRICES = {"near": 60, "cheap": 40, "third": 80}
LATENCY_MS = {
    "iowa": {"near": 10, "cheap": 30, "third": 50},
    "osaka": {"near": 50, "cheap": 30, "third": 10},
    "paris": {"near": 30, "cheap": 10, "third": 50},
}
INPUT_TOKENS, OUTPUT_TOKENS = 8, 8
EXAMPLE = Path(__file__).parents[3] / "examples" / "us-nine-sites" / "demand.yaml"
NOON = 12
Rates = float | Mapping[tuple[str, str], float]
SETTLED_SECONDS = 3.0
"""Real traffic follows a written weight within this."""


class Api:
    """The API server over one connection: reading weights must cost less than what they steer."""

    def __init__(self, plane: ControlPlane) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=context, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/merge-patch+json") -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
        text = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, text, headers)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException):  # the server has closed it: it was idle for long
            self._connection.close()
            self._connection.request(method, path, text, headers)
            answer = self._connection.getresponse()
        told = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {told.decode()}")
        return json.loads(told)

    def close(self) -> None:
        self._connection.close()


def example_rates(all_per_second: float) -> dict[tuple[str, str], float]:
    """Queries per second by area and class: the example's at noon in its first areas, scaled to this many in all."""
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    found = {
        (area, entry["class"]): float(entry["profile"]["queriesPerHour"][NOON])
        for area, given in zip(AREAS, spec["areas"], strict=False)
        for entry in given["demand"]
        if entry["class"] in CLASSES
    }
    return {pair: all_per_second * rate / sum(found.values()) for pair, rate in found.items()}


def by_pair(per_second: Rates) -> Mapping[tuple[str, str], float]:
    """Queries per second by area and class; one number is that of each."""
    return per_second if isinstance(per_second, Mapping) else {(a, c): per_second for a in AREAS for c in CLASSES}


def the_demand(per_second: Rates, **changes: Any) -> dict[str, Any]:
    """One application."""
    rates = by_pair(per_second)
    areas = [
        {
            "name": area,
            "demand": [
                {"class": name, "profile": {"queriesPerHour": [round(rates[area, name] * 3600)] * 24}}
                for name in CLASSES
            ],
            "routes": [{"targetRef": {"name": area}, "rules": [{"class": name, "rule": name} for name in CLASSES]}],
        }
        for area in AREAS
    ]
    classes = [
        {
            "name": name, "profile": "large", "inputTokens": INPUT_TOKENS, "outputTokens": OUTPUT_TOKENS,
            "delayPenaltyPerSecond": "0.01",
        }
        for name in CLASSES
    ]  # fmt: skip
    backends = [{"site": name, "backendRef": {"name": f"llm-{name}", "port": 8000}} for name in SITES]
    return demand(**({"classes": classes, "areas": areas, "backends": backends} | changes))


def the_policy(**changes: Any) -> dict[str, Any]:
    """Cost alone, no guardrails; the areas with their network."""
    areas = [
        {
            "name": area, "location": {"latitude": "41.6", "longitude": "-93.6"}, "timeZone": "America/Chicago",
            "network": [{"site": name, "latencyMilliseconds": delay} for name, delay in LATENCY_MS[area].items()],
        }
        for area in AREAS
    ]  # fmt: skip
    return policy(**({"areas": areas, "horizon": {"slotSeconds": 3600, "slots": 1}} | changes))


def the_routes(weights: Mapping[str, int]) -> list[dict[str, Any]]:
    """Areas by header or by hostname, classes by header or by path; an area's class without a name of its own is chat."""
    references = [{"name": f"llm-{name}", "port": 8000, "weight": weight} for name, weight in weights.items()]
    found = []
    for area in AREAS:
        by_host = area == "paris"
        own = [] if by_host else [{"name": "x-area", "value": area}]
        code: dict[str, Any] = {"headers": [*own, {"name": "x-class", "value": "code"}]}
        filters: list[dict[str, Any]] = []
        if by_host:
            code = {"path": {"type": "PathPrefix", "value": "/code"}}
            rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
            filters = [{"type": "URLRewrite", "urlRewrite": rewrite}]
        rules = [
            {
                "name": "chat",
                "matches": [{"headers": own} if own else {"path": {"type": "PathPrefix", "value": "/v1"}}],
            },
            {"name": "code", "matches": [code], "filters": filters},
        ]
        for rule in rules:
            rule |= {"backendRefs": references, "timeouts": {"request": "60s"}}
        spec = {"parentRefs": [{"name": "gateway"}], "rules": rules} | ({"hostnames": [PARIS]} if by_host else {})
        found.append(
            {"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": {"name": area, "namespace": NS}, "spec": spec}
        )
    return found


def the_cells(per_second: Rates) -> list[Cell]:
    """Every area and class, as its users call it."""
    rates, found = by_pair(per_second), []
    for area in AREAS:
        for name in CLASSES:
            headers = {"x-area": area, "x-class": name}
            path = "/v1/chat/completions"
            if area == "paris":
                headers |= {"Host": PARIS}
                path = "/code" + path if name == "code" else path
            found.append(Cell(area, name, rates[area, name], headers, path, INPUT_TOKENS, OUTPUT_TOKENS))
    return found


class World:
    """What a test plays in."""

    def __init__(self, plane: ControlPlane, gateway: EnvoyGateway, sites: Mapping[str, TrafficSite]) -> None:
        self.plane, self.gateway, self.sites, self.api = plane, gateway, dict(sites), Api(plane)
        self._operators: list[Operator] = []
        self._loads: list[Load] = []

    def lay(self) -> None:
        """Back-ends that are ready, routes, signals, sites."""
        for name, one in self.sites.items():
            one.behave(
                state="serve", base_seconds=0.0, error_ratio=0.0, network_seconds={}, throughput_tokens_per_second=1e9
            )
            self.plane.apply(*self.sites[name].documents())
        prices = [source(f"price-{name}", str(price), "USD/MWh") for name, price in PRICES.items()]
        self.plane.apply(*prices, *(site(name) for name in SITES))
        self.lay_routes({"near": 400, "cheap": 300, "third": 300})
        self.gateway.admin()

    def lay_routes(self, weights: Mapping[str, int]) -> None:
        """Every rule with these weights, accepted."""
        self.plane.apply(*the_routes(weights))
        until(self._all_accepted, 30, f"accepted routes\n{self.gateway.log.read_text()[-2000:]}")

    def _all_accepted(self) -> bool:
        return all(
            {c["type"]: c["status"] for parent in self._route(area).get("status", {}).get("parents", []) for c in
             parent["conditions"] if c["observedGeneration"] == self._route(area)["metadata"]["generation"]}.get("Accepted")
            == "True"
            for area in AREAS
        )  # fmt: skip

    def _route(self, area: str) -> Any:
        return self.api.ask("GET", f"/apis/{GATEWAY}/namespaces/{NS}/httproutes/{area}")

    def weights(self, area: str = "iowa", rule: str = "chat") -> dict[str, int]:
        """Weights of a rule by site."""
        (found,) = (entry for entry in self._route(area)["spec"]["rules"] if entry["name"] == rule)
        return {ref["name"].removeprefix("llm-"): ref["weight"] for ref in found["backendRefs"]}

    def generation(self, area: str) -> int:
        """It grows with every change of the route."""
        return int(self._route(area)["metadata"]["generation"])

    def set_price(self, name: str, price: float) -> float:
        """Change a price; ``time.monotonic()`` just before the API server was told."""
        begun = time.monotonic()
        path = f"/apis/greenllm.dev/v1alpha1/signalsources/price-{name}"
        self.api.ask("PATCH", path, {"spec": {"static": {"value": f"{price:g}"}}})
        return begun

    def operate(self, server: str | None = None, **settings: str) -> Operator:
        """Start an operator."""
        found = Operator(self.plane, 20 + len(self._operators), server, **settings)
        self._operators.append(found)
        return found

    def load(self, cells: Sequence[Cell], **bounds: Any) -> Load:
        """Start a load."""
        found = Load(self.gateway.url, cells, self.plane.root, **bounds)
        self._loads.append(found)
        return found

    def until(self, done: Callable[[], object], seconds: float, what: str) -> float:
        """Wait; what the operator said where it takes too long."""
        return until(done, seconds, what, self._operators[-1] if self._operators else None)

    def close_operators(self) -> None:
        """End every operator."""
        for operator in self._operators:
            operator.stop()

    def close(self) -> None:
        """End everything that this test has started; sites serve again."""
        for load in self._loads:
            load.__exit__()
        self.close_operators()
        self.api.close()
        self.plane.kubectl("delete", "services,endpointslices", "--all", "-n", NS, "--wait=false", check=False)
