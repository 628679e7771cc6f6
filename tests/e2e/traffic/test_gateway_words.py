"""What a real gateway says of a route is what the demand says; and back-ends of its own kind carry traffic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.cluster_objects import GATEWAY, NS
from support.traffic.load import counts
from support.traffic.world import AREAS, SITES, World, the_cells, the_demand, the_policy, the_routes

PER_SECOND = 20.0


def routed(world: World) -> tuple[str, str, str]:
    """Status, reason and message of Routed."""
    body = world.api.ask("GET", f"/apis/greenllm.dev/v1alpha1/namespaces/{NS}/inferencedemands/assistant")
    found = (body.get("status") or {}).get("conditions") or []
    return next(((c["status"], c["reason"], c["message"]) for c in found if c["type"] == "Routed"), ("", "", ""))


def rung(world: World, name: str) -> str:
    body = world.api.ask("GET", f"/apis/greenllm.dev/v1alpha1/namespaces/{NS}/inferencedemands/assistant")
    return next(
        (route["rung"] for route in (body.get("status") or {}).get("routes") or [] if route["name"] == name), ""
    )


def patch(world: World, name: str, spec: Any) -> None:
    world.plane.kubectl("patch", "httproute", name, "-n", NS, "--type=merge", "-p", json.dumps({"spec": spec}))


@pytest.mark.timeout(240)
def test_what_envoy_gateway_says(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.plane.apply(the_policy(periodSeconds=10), the_demand(PER_SECOND))
    world.operate()
    world.until(lambda: routed(world)[:2] == ("True", "Accepted"), 60, "accepted by the gateway")
    said = []
    # A host name that the listener does not serve.
    patch(world, "paris", {"parentRefs": [{"name": "gateway", "sectionName": "absent"}]})
    world.until(lambda: routed(world)[1] == "RouteNotAccepted", 20, "refused")
    said.append(routed(world))
    assert "Accepted=False" in said[-1][2]
    assert rung(world, "paris") in ("Refused", "")
    patch(world, "paris", {"parentRefs": [{"name": "gateway"}]})
    world.until(lambda: routed(world)[:2] == ("True", "Accepted"), 30, "accepted again")
    # A second route that matches the same: the older one wins.
    (twin,) = (body for body in the_routes(dict.fromkeys(SITES, 1)) if body["metadata"]["name"] == "iowa")
    twin["metadata"]["name"] = "iowa-twin"
    world.plane.apply(twin)
    world.until(lambda: routed(world)[1] == "RouteImpaired", 20, "overlapping")
    said.append(routed(world))
    assert "RouteRulesOverlap" in said[-1][2]
    assert rung(world, "iowa") == "Impaired"
    world.plane.kubectl("delete", "httproute", "iowa-twin", "-n", NS)
    world.until(lambda: routed(world)[:2] == ("True", "Accepted"), 30, "alone again")
    # A back-end that is not there.
    world.plane.kubectl("delete", "service", "llm-third", "-n", NS)
    world.until(lambda: routed(world)[1] == "RouteImpaired", 20, "not resolved")
    said.append(routed(world))
    assert "ResolvedRefs=False" in said[-1][2]
    assert "llm-third" in said[-1][2]
    with capsys.disabled():
        print("\n" + "\n".join(" ".join(entry) for entry in said))


@pytest.mark.timeout(120)
def test_backends_of_envoy_gateways_own_kind(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """``Backend`` references by group and kind: steered, and real traffic follows."""
    group = "gateway.envoyproxy.io"
    backends = [
        {
            "apiVersion": f"{group}/v1alpha1", "kind": "Backend", "metadata": {"name": f"own-{name}", "namespace": NS},
            "spec": {"endpoints": [{"ip": {"address": world.sites[name].address, "port": 8000}}]},
        }
        for name in SITES
    ]  # fmt: skip
    world.plane.apply(*backends)
    own = {"group": group, "kind": "Backend"}
    for area in AREAS:
        rules = world.api.ask("GET", f"/apis/{GATEWAY}/namespaces/{NS}/httproutes/{area}")["spec"]["rules"]
        for rule in rules:
            rule["backendRefs"] = [own | {"name": f"own-{name}", "weight": 1} for name in SITES]
        patch(world, area, {"rules": rules})
    references = [{"site": name, "backendRef": own | {"name": f"own-{name}"}} for name in SITES]
    world.plane.apply(the_policy(guardrails={"maxSitePercent": 60}), the_demand(PER_SECOND, backends=references))
    world.operate()

    def steered() -> bool:
        rules = world.api.ask("GET", f"/apis/{GATEWAY}/namespaces/{NS}/httproutes/iowa")["spec"]["rules"]
        return [ref["weight"] for ref in rules[0]["backendRefs"]] == [200, 600, 200]

    world.until(steered, 60, "planned weights")
    world.until(lambda: routed(world)[:2] == ("True", "Accepted"), 30, "accepted by the gateway")
    world.load(the_cells(PER_SECOND), seconds=3.0).wait()
    answers = world.load(the_cells(PER_SECOND), most=1200).wait()
    assert not [answer for answer in answers if answer.failed]
    found = {site: sum(cell[site] for cell in counts(answers).values()) for site in SITES}
    with capsys.disabled():
        print(f"\nBackend references at 200/600/200: {found}")
    assert abs(found["cheap"] / len(answers) - 0.6) < 0.07
    assert abs(found["near"] / len(answers) - 0.2) < 0.07
    for body in backends:
        world.plane.kubectl("delete", f"backends.{group}", body["metadata"]["name"], "-n", NS)
