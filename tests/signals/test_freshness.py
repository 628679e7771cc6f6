"""The last measurement of a source stands for the present slot until it is stale; then the next source of the chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from green_llm.domain.request import CarbonAccounting, CsvSettings, Source
from green_llm.domain.series import SignalBook, SignalKind, SignalRef
from green_llm.domain.time import slots_from
from green_llm.signals.collect import Collector
from support.resources import a_policy, a_site, static

CARBON, PRICE = SignalKind.CARBON_INTENSITY, SignalKind.ELECTRICITY_PRICE
NOON = datetime(2026, 10, 20, 12, tzinfo=UTC)
HEADER = "start,end,value,unit,quality,issued_at\n"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def rows(until: int, unit: str = "g/kWh", step: int = 5) -> str:
    """Measured every five minutes: the value is the minute at which it begins, from 11:00 on."""
    return HEADER + "".join(
        f"{at(m).isoformat()},{at(m + step).isoformat()},{200 + m},{unit},measured,\n" for m in range(-60, until, step)
    )


async def book(text: str, now: datetime, kind: SignalKind = CARBON, basis: str | None = None) -> SignalBook:
    unit = "g/kWh" if kind is CARBON else "USD/MWh"
    source = Source(
        name="meter", settings=CsvSettings("meter.csv"), accounting=CarbonAccounting(), stale_after_seconds=3600.0
    )
    chain = (SignalRef("meter", basis=basis), SignalRef("else", basis=basis))
    site = a_site("near")
    site = replace(site, signals={kind: chain})
    sources = {"meter": source, "else": static("else", 999.0, unit)}
    return await Collector(lambda name: (name, text)).collect(
        a_policy(), [site], sources, slots_from(now, 3600, 3), now
    )


async def test_the_last_measurement_stands_for_the_present_slot_and_no_other() -> None:
    # At 12:20 with values up to 12:10: ten minutes of them, and the last one for the other fifty.
    found = (await book(rows(10), at(20))).values["near", CARBON]
    assert found[0] is not None
    assert found[0].value == pytest.approx((200 * 5 + 205 * 55) / 60)
    assert (found[0].source, found[0].quality.value, found[0].issued_at) == ("meter", "measured", at(5))
    assert found[0].basis == "Average/Lifecycle/Consumption"
    assert [value.source for value in found[1:] if value] == ["else", "else"]


async def test_a_measurement_from_before_the_slot_counts_until_it_is_stale() -> None:
    text = rows(-30)  # the last one ends at 11:30
    assert (await book(text, at(25))).values["near", CARBON][0].value == pytest.approx(165.0)
    assert (await book(text, at(31))).values["near", CARBON][0].source == "else"


async def test_what_follows_counts_more() -> None:
    forecast = f"{at(0).isoformat()},{at(60).isoformat()},500,g/kWh,forecast,{at(-10).isoformat()}\n"
    assert (await book(rows(0) + forecast, at(20))).values["near", CARBON][0].value == pytest.approx(500.0)


@pytest.mark.parametrize(("basis", "source"), [("DayAhead", "else"), ("Retail", "else"), ("RealTime", "meter")])
async def test_an_agreed_price_stands_for_its_own_hours(basis: str, source: str) -> None:
    found = (await book(rows(0, "USD/MWh"), at(20), PRICE, basis)).values["near", PRICE]
    assert (found[0].source, found[0].basis) == (source, basis)


async def test_an_old_value_that_nobody_would_believe_hurts_no_slot() -> None:
    text = rows(10).replace(",155,", ",99999,")  # at 11:15
    assert (await book(text, at(20))).values["near", CARBON][0].source == "meter"


async def test_an_entry_whose_basis_nobody_knows_or_that_differs_is_left_out() -> None:
    text = rows(10, "USD/MWh")
    site, now = a_site("near"), at(5)
    source = Source(name="meter", settings=CsvSettings("meter.csv"))
    sources = {"meter": source, "else": static("else", 999.0, "USD/MWh")}
    for bases, used, fault in (
        (("RealTime", "RealTime"), "else", None),
        ((None, None), "else", ("meter", "names no basis")),
        (("RealTime", None), None, ("else", "its basis Retail differs from RealTime")),
    ):
        chain = tuple(SignalRef(name, basis=basis) for name, basis in zip(("meter", "else"), bases, strict=True))
        found = await Collector(lambda name: (name, text)).collect(
            a_policy(), [replace(site, signals={PRICE: chain})], sources, slots_from(now, 3600, 3), now
        )
        values = found.values["near", PRICE][1:]
        assert [value and value.source for value in values] == [used, used]
        refused = [(problem.source, problem.message) for problem in found.problems if problem.source is not None]
        assert [name for name, _ in refused] == ([] if fault is None else [fault[0]])
        assert fault is None or fault[1] in refused[0][1]
