"""What figures rest on, and the page that says it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from green_llm.backtest.compare import Backtest, Compared, compare, document
from green_llm.backtest.inputs import CITATION, NOT_SEEN, ORIGIN, Origin, basis, inputs_of
from green_llm.backtest.methods import Method
from green_llm.backtest.report import report
from green_llm.backtest.world import World, read_world
from green_llm.domain.request import Kind, ObjectKey
from green_llm.errors import InvalidInputError
from support.recorded_days import recorded_world, span, static_world

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
    for text in (*NOT_SEEN, "too few days", "Undeclared", "no measured saving", "What nobody could have gone below"):
        assert text in unescape(page)
    said = document(found)
    assert f"{said['methods']['ours']['cost']:,.2f}" in page
    assert page.count('role="img"') == 4
    assert said["not_seen"] == list(NOT_SEEN)
    json.dumps(said)


def test_a_plot_shows_what_was_saved_so_far() -> None:
    found = compared(recorded_world(3))
    by_day = document(found)["methods"]
    saved = by_day["nearest"]["by_day"]["cost"][0] - by_day["ours"]["by_day"]["cost"][0]
    assert saved == pytest.approx(document(found)["savings"]["nearest"]["cost"]["amount"])
    assert re.search(r'"name":"against nearest"', report(found))
