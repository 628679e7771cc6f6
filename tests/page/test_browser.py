"""The page in a real Chromium: closed, accessible, narrow, dark, and not deceived by names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from green_llm.domain.plan import Diagnosis, LimitKind, Where
from green_llm.domain.request import Backend, DemandArea, DemandEntry, Resources, RouteTarget
from green_llm.domain.routes import Route, RouteKey, RouteRule
from green_llm.domain.topology import Area, Location, NetworkLink, QueryClass, ResourceCapacity
from green_llm.services.outcome import Outcome
from support.browser import chromium, complaints, inaccessible, look, requested, require_chromium
from support.pages import Site, a_site_served
from support.planner import outcomes
from support.resources import ROUTE, a_demand, a_fleet, a_policy, a_site, backend

VIEWS = ("/", "/horizon", "/history", "/account", "/what-if")
EVIL = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>'
EVIL_LINK = '<a href="javascript:window.taken=1">x</a>{{7*7}}%{y}'
WAIT_SECONDS = 60.0


def a_hostile_fleet() -> Resources:
    """Names, classes, areas and messages that try to be markup, as no API server would admit them."""
    near, cheap = f"near{EVIL}", f"cheap{EVIL_LINK}"
    area = Area(EVIL, Location(41.6, -93.6), "America/Chicago", {near: NetworkLink(0.01), cheap: NetworkLink(0.05)})
    plain = a_site("near")
    prices = {near: a_site("near").signals, cheap: a_site("cheap").signals}
    demand = a_demand(
        f"demand{EVIL}",
        classes={EVIL: QueryClass(EVIL, "large", 600.0, 400.0, 4.0, None, 0.1)},
        areas=(
            DemandArea(EVIL, (DemandEntry(EVIL, (1000.0,) * 24),), (RouteTarget(a_key(), {EVIL: EVIL}),)),
        ),
        backends=(Backend(near, backend("near")), Backend(cheap, backend("cheap"))),
        policy=f"policy{EVIL}",
    )  # fmt: skip
    policy = a_policy(name=f"policy{EVIL}", areas={EVIL: area}, slots=24)
    return a_fleet(
        policies={policy.name: policy},
        demands={demand.key: demand},
        sites={name: replace(plain, name=name, signals=signals) for name, signals in prices.items()},
    )


def a_key() -> RouteKey:
    return ROUTE._replace(name=f"route{EVIL}")


def a_hostile_route() -> Route:
    return Route(a_key(), "uid", (RouteRule(EVIL, {backend("near"): 1000, backend("cheap"): 0}),))


async def hostile() -> list[Outcome]:
    name = next(iter(a_hostile_fleet().policies))
    found = await outcomes(a_hostile_fleet(), a_hostile_route(), steps=3, policy=name)
    broken = Diagnosis(
        kind=LimitKind.CAPACITY,
        where=Where(),
        required=1,
        available=0,
        shortfall=1,
        unit="x",
        message=f"message {EVIL}",
    )
    return [*found[:-1], replace(found[-1], broken_in_force=(broken,))]


@pytest.fixture
def browser(chrome: webdriver.Chrome) -> webdriver.Chrome:
    """The browser without what earlier tests left in its logs."""
    chrome.get("about:blank")
    complaints(chrome)
    requested(chrome)
    return chrome


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    require_chromium()
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def site() -> Iterator[Site]:
    with a_site_served() as found:
        yield found


def wait_for(driver: webdriver.Chrome, script: str) -> Any:
    """What a script says, once it says anything but false."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := driver.execute_script(f"return {script}")):
        assert time.monotonic() < end, script
        time.sleep(0.05)
    return found


def draw_all(driver: webdriver.Chrome) -> int:
    """Bring every plot into view; how many there are."""
    count = int(driver.execute_script("return document.querySelectorAll('[data-plot]').length"))
    for place in range(count):
        driver.execute_script(f"document.querySelectorAll('[data-plot]')[{place}].scrollIntoView()")
        wait_for(driver, f"!!document.querySelectorAll('[data-plot]')[{place}].querySelector('.main-svg')")
    return count


async def test_names_stay_names(browser: webdriver.Chrome, site: Site) -> None:
    for outcome in await hostile():
        site.record(outcome)
    look(browser, width=1280)
    shown = {"/": 0, "/horizon": 3, "/history": 6, "/account": 0, "/what-if?ask=1": 1}
    for view, plots in shown.items():
        browser.get(site.address + view)
        assert draw_all(browser) == plots, view
        assert browser.execute_script("return window.taken") is None, view
        assert browser.execute_script("return document.querySelectorAll('main img, main script[src]').length") == 0
        assert browser.execute_script("return document.querySelectorAll('a[href^=javascript]').length") == 0
        assert EVIL in browser.find_element(By.TAG_NAME, "main").text, view
        assert complaints(browser) == [], view
    browser.get(site.address + "/horizon")
    draw_all(browser)
    # Plotly shows the name as it is, markup and all.
    assert EVIL_LINK in browser.execute_script("return document.querySelector('.legend').textContent")
    browser.get(site.address + "/")
    assert f"message {EVIL}" in browser.find_element(By.TAG_NAME, "main").text
    browser.get(f"{site.address}/?policy=<script>window.taken=1</script>&class={EVIL}")
    assert "there is no policy" in browser.find_element(By.TAG_NAME, "main").text
    assert browser.execute_script("return window.taken") is None


async def test_nothing_is_asked_of_others(browser: webdriver.Chrome, site: Site) -> None:
    for outcome in await outcomes(a_fleet(), steps=2):
        site.record(outcome)
    for view in VIEWS:
        browser.get(site.address + view)
        draw_all(browser)
    addresses = {url for url in requested(browser) if not url.startswith("data:")}
    assert len(addresses) > len(VIEWS)
    assert {url for url in addresses if not url.startswith((site.address, "about:"))} == set()


@pytest.mark.parametrize(("width", "dark"), [(380, False), (380, True), (1280, False), (1280, True)])
async def test_it_is_accessible_and_fits(browser: webdriver.Chrome, site: Site, width: int, *, dark: bool) -> None:
    sites = {
        name: replace(a_site(f"{name}-with-a-long-name"), signals=a_site(name).signals) for name in ("near", "cheap")
    }
    fleet = a_fleet(
        sites={entry.name: entry for entry in sites.values()},
        demands={
            "inference/assistant": a_demand(backends=tuple(Backend(s.name, backend(n)) for n, s in sites.items()))
        },
    )
    for outcome in await outcomes(fleet, steps=3):
        site.record(outcome)
    look(browser, width=width, dark=dark, mobile=width < 500)
    for view in VIEWS:
        browser.get(site.address + view)
        draw_all(browser)
        # Nothing but tables in their own frames is wider than the screen.
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, view
        assert inaccessible(browser) == [], view


async def test_the_keyboard_is_enough(browser: webdriver.Chrome, site: Site) -> None:
    for outcome in await outcomes(a_fleet(), steps=2):
        site.record(outcome)
    look(browser, width=1280)
    browser.get(site.address + "/horizon")
    draw_all(browser)
    browser.execute_script("window.scrollTo(0, 0)")

    def press(key: str) -> Any:
        browser.switch_to.active_element.send_keys(key)
        return browser.execute_script("return document.activeElement.textContent.trim()")

    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    order = [browser.execute_script("return document.activeElement.textContent.trim()")]
    order += [press(Keys.TAB) for _ in range(7)]
    assert order == ["To the content", "Now", "Horizon", "History", "Account", "What if", "Live", "The numbers"]
    press(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, "details[open] table").is_displayed()
    live = browser.find_element(By.ID, "live")
    live.send_keys(Keys.SPACE)
    assert (live.get_attribute("aria-pressed"), live.text) == ("false", "Paused")


async def test_it_follows_the_planner(browser: webdriver.Chrome, site: Site) -> None:
    first, second = await outcomes(a_fleet(), steps=2)
    site.record(first)
    look(browser, width=1280)
    browser.get(site.address + "/")
    browser.execute_script("window.here = true")
    assert "2026-10-20 12:10 UTC" in browser.find_element(By.TAG_NAME, "main").text
    site.record(second)
    wait_for(browser, "document.getElementById('main').innerText.includes('2026-10-20 13:10 UTC')")
    assert browser.execute_script("return window.here") is True  # it was not loaded anew
    assert browser.find_element(By.ID, "said").get_attribute("textContent") == "Updated"
    assert complaints(browser) == []


async def test_an_update_keeps_the_focus_and_where_one_has_scrolled_to(browser: webdriver.Chrome, site: Site) -> None:
    first, second = await outcomes(a_fleet(), steps=2)
    site.record(first)
    look(browser, width=380, mobile=True)
    browser.get(site.address + "/")
    browser.execute_script(
        "const frame = document.querySelector('[aria-labelledby=signals].scroll'); frame.focus(); frame.scrollLeft = 40;"
    )
    site.record(second)
    wait_for(browser, "document.getElementById('main').innerText.includes('2026-10-20 13:10 UTC')")
    focus = browser.switch_to.active_element
    assert focus.get_attribute("aria-labelledby") == "signals"
    assert browser.execute_script("return arguments[0].scrollLeft", focus) == 40


async def test_a_server_that_is_gone_is_seen(browser: webdriver.Chrome) -> None:
    (outcome,) = await outcomes(a_fleet())
    look(browser, width=1280)
    with a_site_served() as site:
        port = site.port
        browser.get(site.address + "/")  # nothing is planned yet
        assert "nothing has been planned here yet" in browser.find_element(By.TAG_NAME, "main").text
        site.record(outcome)
        wait_for(browser, "document.querySelector('h1').textContent === 'default'")
    wait_for(browser, "document.getElementById('live').textContent === 'No answer'")
    said = browser.find_element(By.ID, "said")
    assert said.is_displayed()
    assert "what is shown is what it said last" in said.text
    assert inaccessible(browser) == []
    with a_site_served(port=port) as site:
        site.record(outcome)
        wait_for(browser, "document.getElementById('live').textContent === 'Live'")
        assert browser.find_element(By.ID, "said").size["width"] <= 1, "for screen readers only"


@pytest.mark.parametrize("dark", [False, True])
async def test_troubles_are_accessible_and_fit_too(browser: webdriver.Chrome, site: Site, *, dark: bool) -> None:
    sites = {name: a_site(name, capacity=(ResourceCapacity("gpu", 0.1),)) for name in ("near", "cheap")}
    look(browser, width=380, dark=dark, mobile=True)
    for outcome in (*await outcomes(a_fleet(sites=sites)), *await outcomes(replace(a_fleet(), sources={}))):
        site.record(outcome)
        site.page.failures = {"default": f"ledger of default: {'x' * 200}"}
        for view in ("/", "/horizon", "/account"):
            browser.get(site.address + view)
            found = browser.find_element(By.TAG_NAME, "main").text
            assert "The last interval came to nothing" in found or "has no plan now" in found, view
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 380, view
            assert inaccessible(browser) == [], view
