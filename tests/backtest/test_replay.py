"""Replays: no decision knows more than anyone knew, and an interruption changes nothing."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from green_llm.backtest.methods import Method
from green_llm.backtest.replay import Decisions, Task, replay
from green_llm.backtest.run import run
from green_llm.backtest.world import World, read_world
from green_llm.domain.request import DemandArea, DemandEntry, Guardrails, LiveSettings, RouteTarget, SourceRef
from green_llm.domain.series import Point, Quality
from green_llm.signals.recordings import Question, Recordings
from support.recorded_days import BEGIN, HEADER, moment, recorded_world, span
from support.resources import ROUTE

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-sites"


def task(world: World, method: Method = Method.OURS, days: float = 1, step: int = 3600, **changes: object) -> Task:
    return replace(Task(world=world, policy="default", method=method, span=span(days, step)), **changes)  # type: ignore[arg-type]


def unseen_changed(world: World, at: datetime) -> World:
    """The same, with every value that was not visible at ``at`` altered."""
    texts, changed = {}, 0
    for name, text in world.texts.items():
        lines = [HEADER.strip()]
        lag = timedelta(seconds=3600)  # at least every source's publication lag
        for n, row in enumerate(csv.DictReader(io.StringIO(text))):
            issued, end = row["issued_at"], datetime.fromisoformat(row["end"])
            if (datetime.fromisoformat(issued) if issued else end + lag) > at:
                row["value"] = f"{float(row['value']) * (0.2 if 'cheap' in name else 3.0) + n % 7:.3f}"
                changed += 1
            lines.append(",".join(row.values()))
        texts[name] = "\n".join(lines) + "\n"
    assert changed > 100
    return replace(world, texts=texts)


def same(one: Decisions, other: Decisions) -> bool:
    return np.array_equal(one.shares, other.shares, equal_nan=True) and one.terminations == other.terminations


def measured_demand(hours: int) -> tuple[dict[str, object], dict[str, str]]:
    """A demand that is measured, hour by hour, and its file."""
    lines = [
        f"{moment(BEGIN + timedelta(hours=h))},{moment(BEGIN + timedelta(hours=h + 1))},{900 + 37 * (h * 7 % 11)},queries/h,measured,"
        for h in range(hours)
    ]
    entry = DemandEntry("chat", source=SourceRef("carbon", {"site": "demand"}))
    areas = (DemandArea("iowa", (entry,), (RouteTarget(ROUTE, {"chat": "chat"}),)),)
    return {"areas": areas}, {"carbon-demand.csv": HEADER + "\n".join(lines) + "\n"}


def test_values_that_were_not_yet_visible_change_no_decision() -> None:
    demand, file = measured_demand(24 * 4)
    world = recorded_world(4, demand=demand)
    sources = {
        name: replace(s, allowed_namespaces=world.resources.policies["default"].sites)
        for name, s in world.resources.sources.items()
    }
    world = replace(world, texts={**world.texts, **file}, resources=replace(world.resources, sources=sources))
    whole = replay(task(world, days=1.5))
    for hours in (25, 13, 7):
        at = span(2).start + timedelta(hours=hours)
        altered = replay(task(unseen_changed(world, at), days=1.5))
        known = slice(0, hours + 1)  # the interval at ``at`` itself, too
        assert np.array_equal(whole.shares[known], altered.shares[known])
    # The alteration is no empty one: decisions and charges after it differ.
    assert not np.array_equal(whole.shares, altered.shares)


def recorded_by_a_service(world: World, root: Path, at: datetime | None = None) -> World:
    """The world's files as Parquet recordings of a live service; with ``at``, all that was not known by then altered."""
    sources = {
        name: replace(source, settings=LiveSettings("EnergyCharts", "https://api.energy-charts.info", 1800.0))
        for name, source in world.resources.sources.items()
    }
    recordings, questions, changed = Recordings(root), [], 0
    for site in world.resources.sites.values():
        for kind, (reference,) in site.signals.items():
            question = Question(reference.source, kind, reference.params)
            for row in csv.DictReader(io.StringIO(world.texts[f"{reference.source}-{site.name}.csv"])):
                start, end = datetime.fromisoformat(row["start"]), datetime.fromisoformat(row["end"])
                issued = datetime.fromisoformat(row["issued_at"]) if row["issued_at"] else end
                known = issued if row["issued_at"] else end + timedelta(minutes=30)
                late = at is not None and known > at
                value = float(row["value"]) * ((0.2 if site.name == "cheap" else 3.0) if late else 1.0)
                point = Point(start, end, value, Quality(row["quality"]), issued)
                recordings.add(question, row["unit"], reference.basis or "", [(point, known)])
                changed += late
            questions.append(question)
    assert at is None or changed > 100
    recordings.flush()
    tables = {question.key: table for question in questions if (table := recordings.table(question)) is not None}
    assert len(tables) == len(questions), "and they are read back from the files"
    return replace(world, texts={}, tables=tables, resources=replace(world.resources, sources=sources))


def test_recordings_of_live_services_look_no_further_either(tmp_path: Path) -> None:
    files, at = recorded_world(3), span(2).start + timedelta(hours=7)
    whole = replay(task(recorded_by_a_service(files, tmp_path / "as-it-was"), days=1.5))
    altered = replay(task(recorded_by_a_service(files, tmp_path / "altered", at), days=1.5))
    known = slice(0, 8)  # the interval at ``at`` itself, too
    assert np.array_equal(whole.shares[known], altered.shares[known])
    assert not np.array_equal(whole.shares, altered.shares), "what came later is another world"
    assert same(whole, replay(task(files, days=1.5))), "the same values from CSV files, the same decisions"


def test_the_example_looks_no_further_either() -> None:
    world = read_world(EXAMPLE)
    start = datetime(2026, 10, 29, 6, tzinfo=UTC)
    wanted = Task(
        world=world, policy="default", method=Method.OURS,
        span=replace(span(1), start=start, end=start + timedelta(hours=6)),
    )  # fmt: skip
    altered = replay(replace(wanted, world=unseen_changed(world, start + timedelta(hours=5))))
    assert same(replay(wanted), altered)


def test_actual_values_are_charged_and_forecasts_are_not() -> None:
    world = recorded_world(3)
    plain = run(task(world))
    doubled = {
        name: HEADER + "".join(
            f"{a},{b},{2 * float(v)},{u},{q},{i}\n" if q == "measured" else f"{a},{b},{v},{u},{q},{i}\n"
            for a, b, v, u, q, i in csv.reader(text.splitlines()[1:])
        )
        for name, text in world.texts.items()
    }  # fmt: skip
    static = [run(task(w, Method.STATIC)).tally.amounts() for w in (world, replace(world, texts=doubled))]
    assert static[1].emissions_kg == pytest.approx(2 * static[0].emissions_kg)
    assert static[1].cost == pytest.approx(static[0].cost)  # a day-ahead price is what is paid
    assert plain.tally.amounts().queries == pytest.approx(24 * 1000)


def test_it_follows_the_price_and_foresight_is_no_worse() -> None:
    world = recorded_world(3)
    found = {
        method: run(task(world, method)).tally.amounts() for method in (Method.OURS, Method.FORESIGHT, Method.STATIC)
    }
    assert found[Method.OURS].cost < 0.8 * found[Method.STATIC].cost
    assert found[Method.FORESIGHT].cost <= found[Method.OURS].cost * (1 + 1e-6)


def test_shadow_is_tested_as_if_it_wrote() -> None:
    world = read_world(EXAMPLE)
    assert {pair.demand.mode.value for pair in world.request(None).pairs} == {"Active"}


def test_an_interruption_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("green_llm.backtest.replay.SAVE_SECONDS", 0.0)
    world = recorded_world(3, policy={"guardrails": Guardrails(max_shift=0.25, min_write_seconds=60)})
    wanted = task(world)
    file = tmp_path / "ours.json"
    seen: list[int] = []

    def killed(done: int, _all: int) -> None:
        seen.append(done)
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(replace(wanted, checkpoint=file), killed)
    assert file.exists()
    again: list[int] = []
    resumed = replay(replace(wanted, checkpoint=file), lambda done, _all: again.append(done))
    assert again[0] == 9, "it goes on with the interval that was not kept"
    whole = replay(wanted)
    assert same(whole, resumed)
    assert whole.ledger == resumed.ledger


def test_five_minutes_and_an_hour_agree_where_nothing_moves() -> None:
    world = recorded_world(3, price=lambda site, _hour: 60.0 if site == "near" else 50.0)
    hourly = run(task(world, Method.NEAREST)).tally.amounts()
    fine = run(task(world, Method.NEAREST, step=300)).tally.amounts()
    for name in ("cost", "emissions_kg", "water_l", "energy_kwh", "queries", "delay_penalty", "mean_delay_s"):
        assert getattr(fine, name) == pytest.approx(getattr(hourly, name)), name
