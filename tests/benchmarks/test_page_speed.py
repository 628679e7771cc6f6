"""How fast the live page loads, in Chromium: 50 areas x 50 sites over 24 slots against two sites, within one run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver

from green_llm.domain import instance_file
from green_llm.domain.plan import Objective, Order, Tolerance
from green_llm.domain.request import Backend, DemandArea, DemandEntry, Resources, RouteTarget
from green_llm.domain.routes import Route, RouteKey, RouteRule
from green_llm.domain.topology import Area, Location
from green_llm.page.what_if import asked
from support.browser import chromium, look, require_chromium
from support.instances import random_instance
from support.pages import Site, a_site_served
from support.planner import outcomes
from support.resources import a_demand, a_fleet, a_policy, a_site, backend, static

pytestmark = pytest.mark.benchmark
COUNT, ROUNDS = 50, 9
VIEWS = ("/", "/horizon", "/history", "/account")
LOADED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


def a_large_fleet() -> tuple[Resources, list[Route]]:
    """Fifty areas, each with its route, and fifty sites of different prices and places."""
    sites = [f"site-{place:02}" for place in range(COUNT)]
    areas = [f"area-{place:02}" for place in range(COUNT)]
    places = {name: Location(-60.0 + 2.4 * number, 7.2 * number - 180.0) for number, name in enumerate(sites)}
    keys = {area: RouteKey("gateway.networking.k8s.io", "HTTPRoute", "inference", area) for area in areas}
    plain = a_site("near")
    fleet = a_fleet(
        policies={
            "default": a_policy(
                slots=24,
                order=Order((Objective.COST,), (Tolerance(0.0),)),
                areas={area: Area(area, places[site], "UTC") for area, site in zip(areas, sites, strict=True)},
            )
        },
        sites={name: a_site(name, location=places[name], capacity=plain.capacity) for name in sites},
        sources={
            f"price-{name}": static(f"price-{name}", 40.0 + number, "USD/MWh") for number, name in enumerate(sites)
        }
        | {"carbon": static("carbon", 400.0, "g/kWh")},
        demands={
            "inference/assistant": a_demand(
                areas=tuple(
                    DemandArea(
                        area, (DemandEntry("chat", (1000.0,) * 24),), (RouteTarget(keys[area], {"chat": "chat"}),)
                    )
                    for area in areas
                ),
                backends=tuple(Backend(site, backend(site)) for site in sites),
            )
        },
    )
    routes = [
        Route(keys[area], "uid", (RouteRule("chat", {backend(site): 20 for site in sites}),)) for area in areas
    ]  # fmt: skip
    return fleet, routes


def loads(driver: webdriver.Chrome, site: Site, view: str) -> float:
    """Seconds from the request to the end of loading, median; what the browser can keep is kept."""
    found = []
    for _ in range(ROUNDS):
        driver.get(site.address + view)
        while not (milliseconds := driver.execute_script(LOADED)):
            time.sleep(0.01)
        found.append(milliseconds / 1000.0)
    return statistics.median(found)


async def test_fifty_by_fifty_loads_like_two_sites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_chromium()
    fleet, routes = a_large_fleet()
    with a_site_served() as large, a_site_served() as small, chromium(tmp_path) as driver:
        for outcome in await outcomes(fleet, *routes, steps=2):
            large.record(outcome)
        for outcome in await outcomes(a_fleet(), steps=2):
            small.record(outcome)
        look(driver, width=1280)
        found = {view: (loads(driver, large, view), loads(driver, small, view)) for view in VIEWS}
    with capsys.disabled():
        print()
        for view, (fifty, two) in found.items():
            print(f"{view}: 50 x 50 {fifty * 1e3:.0f} ms, two sites {two * 1e3:.0f} ms, {fifty / two:.1f} x")
    assert all(fifty <= 10.0 * two for fifty, two in found.values())


def test_a_question_costs_the_planner_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What the planner's process does for a What if of 20,000 pairs, against writing the instance as JSON."""
    instance, limits = random_instance(0, areas=2000, sites=3, classes=10, slots=24, plain=True), {"time_limit_s": 30.0}

    def seconds(work: Callable[[], object]) -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    ours = statistics.median(seconds(lambda: asked(instance, [], limits)) for _ in range(5))
    text = seconds(lambda: json.dumps(instance_file.dump(instance)))
    with capsys.disabled():
        print(f"\na question of 2000-3-10-24: {ours * 1e3:.0f} ms, as JSON {text * 1e3:.0f} ms")
    assert ours <= 0.1 * text
