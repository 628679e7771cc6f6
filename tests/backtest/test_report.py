"""What figures rest on, and the page that says it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from green_llm.backtest.compare import Backtest, Compared, compare, document
from green_llm.backtest.inputs import CITATION, NOT_SEEN, ORIGIN, QUERIES, Origin, basis, inputs_of
from green_llm.backtest.methods import Method
from green_llm.backtest.report import report
from green_llm.backtest.world import World, read_world
from green_llm.cli.backtest_report import incomplete
from green_llm.domain.plan import Objective
from green_llm.domain.request import Kind, ObjectKey
from green_llm.errors import InvalidInputError
from support.browser import chromium, complaints, inaccessible, look, requested, require_chromium
from support.recorded_days import BEGIN, recorded_world, span, static_world

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT_IN_A_NAME = "<script>alert(1)</script>"


def compared(world: World) -> Compared:
    wanted = Backtest(world=world, policy="default", span=span(1), against=(Method.NEAREST, Method.UNIFORM), bounds=())
    return compare(replace(wanted, against=(Method.NEAREST, Method.UNIFORM)), lambda *_: None)


@pytest.mark.parametrize("example", ["three-sites", "us-nine-sites"])
def test_the_examples_say_that_they_are_synthetic(example: str) -> None:
    world = read_world(EXAMPLES / example)
    found = inputs_of(world.request(None), world.annotations)
    assert basis(found) is Origin.SYNTHETIC
    assert {entry.origin for entry in found if "carbonIntensity" in entry.what} == {Origin.SYNTHETIC}
    factors = [entry for entry in found if entry.object.startswith("InferenceSite")]
    assert len(factors) == len(world.resources.sites)
    assert all(entry.citation and "PUE" in entry.values for entry in factors), "every site's factors have a source"
    (network,) = [entry for entry in found if entry.object.startswith("GreenPolicy")]
    assert network.values == "estimated"
    assert {entry.what for entry in found if entry.object.startswith("InferenceDemand")} >= {QUERIES}
    assert all(entry.citation for entry in found if entry.origin is Origin.ASSUMED), "no figure is without a source"


def test_a_recording_that_says_nothing_is_no_measurement() -> None:
    world = recorded_world(3)
    found = inputs_of(world.request(None), {})
    assert basis(found) is Origin.UNDECLARED
    told = {
        ObjectKey(Kind.SOURCE, "", name): {ORIGIN: "Measured", CITATION: "our meters"} for name in ("price", "carbon")
    }
    assert basis(inputs_of(world.request(None), told)) is Origin.ASSUMED, "demand by wall clock is assumed"
    demand = {ObjectKey(Kind.DEMAND, "inference", "assistant"): {ORIGIN: "Measured"}}
    assert basis(inputs_of(world.request(None), told | demand)) is Origin.MEASURED
    assert basis(inputs_of(static_world().request(None), {})) is Origin.ASSUMED


def test_an_unknown_origin_is_refused() -> None:
    wrong = {ObjectKey(Kind.SOURCE, "", "price"): {ORIGIN: "Guessed"}}
    with pytest.raises(InvalidInputError, match=r'"Guessed" is unknown \(known: Synthetic, Assumed, Measured\)'):
        inputs_of(recorded_world(3).request(None), wrong)


class _Page(HTMLParser):
    """Texts of a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href") and value]


def test_the_page_needs_no_network_and_says_everything() -> None:
    annotations = {ObjectKey(Kind.SITE, "", "near"): {CITATION: SCRIPT_IN_A_NAME}}
    found = compared(replace(recorded_world(3), annotations=annotations, name=SCRIPT_IN_A_NAME))
    page = report(found)
    parsed = _Page()
    parsed.feed(page)
    assert set(parsed.loaded) <= {"data:,"}
    assert SCRIPT_IN_A_NAME not in page, "texts of resources are escaped"
    assert "&lt;script&gt;alert(1)" in page
    for text in (
        *NOT_SEEN,
        "Too few days for intervals: 1 whole ones, 28 are needed.",
        "Undeclared",
        "no measured saving",
        "What nobody could have gone below",
    ):
        assert text in unescape(page)
    said = document(found)
    assert f"{said['methods']['ours']['cost']:,.2f}" in page
    assert page.count('role="figure"') == 4
    assert said["not_seen"] == list(NOT_SEEN)
    json.dumps(said)


def test_a_plot_shows_what_was_saved_so_far() -> None:
    found = compared(recorded_world(3))
    by_day = document(found)["methods"]
    saved = by_day["nearest"]["by_day"]["cost"][0] - by_day["ours"]["by_day"]["cost"][0]
    assert saved == pytest.approx(document(found)["savings"]["nearest"]["cost"]["amount"])
    assert re.search(r'"name":"against nearest"', report(found))


def test_what_is_missing_is_said() -> None:
    world = recorded_world(4)
    gap = {f"{BEGIN + timedelta(days=2, hours=hour):%Y-%m-%dT%H:%MZ}" for hour in (3, 4, 5)}
    texts = {
        name: "".join(line for line in text.splitlines(keepends=True) if line.split(",")[0] not in gap)
        for name, text in world.texts.items()
    }
    found = compare(
        Backtest(
            world=replace(world, texts=texts), policy="default", span=span(3), against=(Method.NEAREST,),
            bounds=(Objective.COST,),
        ),
        lambda *_: None,
    )  # fmt: skip
    said = document(found)
    assert said["methods"]["nearest"]["uncharged_intervals"] == 3
    assert said["bounds"]["cost"]["days_left_out"] == 1
    assert said["bounds"]["cost"]["ours_above_percent"] is None, "ours has a day more"
    assert incomplete(said)[-1] == "nearest is not charged in full in 3 intervals: some value is not known"
    page = report(found)
    assert "intervals not charged in full: some value is not known" in page
    assert "1 days left out" in page
    assert "not charged in full" not in report(compared(recorded_world(3)))


def test_in_a_browser_it_is_drawn_and_fits(tmp_path: Path) -> None:
    require_chromium()
    page = tmp_path / "report.html"
    page.write_text(report(compared(recorded_world(3))), encoding="utf-8")
    with chromium(tmp_path / "profile") as driver:
        for width in (1200, 380):
            look(driver, width=width, mobile=width == 380)
            driver.get(page.as_uri())
            assert len(driver.find_elements("css selector", ".main-svg .trace")) >= 4, "every plot has its lines"
            wide = driver.execute_script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide == 0, "tables scroll by themselves"
        assert complaints(driver) == []
        assert inaccessible(driver) == []
        asked = {url for url in requested(driver) if url.startswith(("http:", "https:"))}
        assert asked == set(), "it needs no network"
