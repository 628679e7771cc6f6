"""What is exported: well formed, documented, and never falling where it must not."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.amounts import total
from green_llm.domain.request import Kind, ObjectKey, Problem
from green_llm.errors import StoreError
from green_llm.observability.metrics import Recorder
from green_llm.services.admission import admit, wanted_routes
from green_llm.services.outcome import Outcome
from green_llm.services.planning import Planning
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers
from support.resources import NOW, ROUTE, MemoryRoutes, a_budget, a_fleet, a_policy, a_route, static

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def read_text(name: str) -> tuple[str, str]:
    raise StoreError(f"{name}: does not exist")


async def outcomes(price: float = 50.0, steps: int = 3) -> list[Outcome]:
    """Hourly intervals of a fleet with a water budget; the price of the cheap site may be negative."""
    resources = replace(a_fleet(), policies={"default": a_policy(water=a_budget(1000.0))})
    sources = {**resources.sources, "price-cheap": static("price-cheap", price, "USD/MWh")}
    resources = replace(resources, sources=sources)
    routes, ledgers = MemoryRoutes(a_route()), MemoryLedgers()
    collector = Collector(read_text)
    planning = Planning(collector, MeasuredDemand(collector.series), routes, ledgers)
    found = []
    for step in range(steps):
        request = admit(resources, await routes.read(wanted_routes(resources))).requests["default"]
        found.append(await planning.reconcile(request, await routes.read(request.routes), NOW + timedelta(hours=step)))
    return found


def text_of(recorder: Recorder) -> str:
    return generate_latest(recorder.registry).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    found = [v for (n, l), v in samples(text).items() if n == name and labels.items() <= dict(l).items()]  # noqa: E741
    assert found, name
    return sum(found)


async def test_the_numbers_are_those_of_the_outcome() -> None:
    recorder = Recorder()
    for outcome in await outcomes():
        recorder.record(outcome)
    text = text_of(recorder)
    # 1 kWh an hour at the cheap site: 0.05 USD, 400 g, 1 kW, 1 L on site; the nearest site costs 0.10 USD.
    assert value(text, "greenllm_in_force_cost_per_hour", site="cheap", currency="USD") == pytest.approx(0.05)
    assert value(text, "greenllm_nearest_cost_per_hour") == pytest.approx(0.10)
    assert value(text, "greenllm_planned_emissions_grams_per_hour") == pytest.approx(400.0)
    assert value(text, "greenllm_in_force_energy_watts") == pytest.approx(1000.0)
    assert value(text, "greenllm_in_force_water_liters_per_hour", scope="on_site") == pytest.approx(1.0)
    assert value(text, "greenllm_in_force_water_liters_per_hour", scope="off_site") == 0.0
    assert value(text, "greenllm_in_force_delay_seconds", site="cheap") == pytest.approx(0.051)
    # Two hours elapsed: 2 kWh = 7.2 MJ, 2 L.
    assert value(text, "greenllm_in_force_energy_joules_total") == pytest.approx(7.2e6)
    assert value(text, "greenllm_in_force_water_liters_total", scope="on_site") == pytest.approx(2.0)
    assert value(text, "greenllm_nearest_cost_paid_total") == pytest.approx(0.2)
    assert value(text, "greenllm_water_budget_used_liters") == pytest.approx(2.0)
    assert value(text, "greenllm_in_force_weight_ratio", site="cheap", area="iowa") == 1.0
    assert value(text, "greenllm_site_electricity_price_per_kilowatt_hour", site="near", currency="USD") == 0.1
    assert (
        value(text, "greenllm_site_signal_info", site="near", kind="carbonIntensity", source="carbon", quality="static")
        == 1
    )
    assert value(text, "greenllm_plans_total", termination="optimal") == 3
    assert value(text, "greenllm_route_writes_total", result="written") == 1
    assert value(text, "greenllm_plan_timestamp_seconds") == (NOW + timedelta(hours=2)).timestamp()


async def test_money_is_two_counters_and_none_ever_falls() -> None:
    recorder = Recorder()
    before: dict[Any, float] = {}
    for outcome in [*await outcomes(price=-40.0, steps=6)]:
        recorder.record(outcome)
        now = samples(text_of(recorder))
        for key, old in before.items():
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")):
                assert now[key] >= old, key
        before = now
    text = text_of(recorder)
    # The first hour is charged at the weights before the first write had effect (0.1 USD), five at -0.04 USD.
    assert value(text, "greenllm_in_force_cost_earned_total") == pytest.approx(5 * 0.04)
    assert value(text, "greenllm_in_force_cost_paid_total") == pytest.approx(0.0)
    assert value(text, "greenllm_in_force_cost_per_hour") == pytest.approx(-0.04)
    assert not [name for name, _ in before if "saving" in name]


async def test_a_restart_does_not_reset_totals() -> None:
    (*_, last) = await outcomes()
    fresh = Recorder()
    fresh.record(last)
    assert value(text_of(fresh), "greenllm_in_force_energy_joules_total") == pytest.approx(7.2e6)
    assert total(last.ledger.in_force.values()).energy_kwh == pytest.approx(2.0)


async def test_a_policy_that_is_gone_is_exported_no_more() -> None:
    recorder = Recorder()
    recorder.record((await outcomes(steps=1))[0])
    recorder.keep_only([])
    assert not [name for name, labels in samples(text_of(recorder)) if dict(labels).get("policy")]


async def test_the_matrix_of_weights_can_be_left_out() -> None:
    recorder = Recorder(route_matrix=False)
    recorder.record((await outcomes(steps=1))[0])
    assert "weight_ratio" not in text_of(recorder)


async def test_an_interval_without_a_plan_leaves_the_last_plan_s_time() -> None:
    recorder = Recorder()
    (*_, last) = await outcomes()
    recorder.record(last)
    recorder.record(replace(last, now=NOW + timedelta(hours=9), result=None, error="no signals"))
    text = text_of(recorder)
    assert value(text, "greenllm_plan_timestamp_seconds") == (NOW + timedelta(hours=2)).timestamp()
    # Good for three periods of 300 s.
    assert value(text, "greenllm_plan_valid_until_timestamp_seconds") == (NOW + timedelta(hours=2.25)).timestamp()
    assert value(text, "greenllm_plan_degraded") == 1


async def test_endings_that_have_not_happened_are_zero() -> None:
    recorder = Recorder()
    recorder.record((await outcomes(steps=1))[0])
    for ending in ("infeasible", "time_limit", "none"):
        assert value(text_of(recorder), "greenllm_plans_total", termination=ending) == 0


async def test_demands_in_trouble_are_named_with_the_reason() -> None:
    recorder = Recorder()
    (last,) = await outcomes(steps=1)
    demand = ObjectKey(Kind.DEMAND, "inference", "assistant")
    fought = Problem(demand, "spec", "somebody else writes its weights", "Contended")
    suspended = Problem(demand, "spec.suspend", "suspended", "Suspended")
    recorder.record(
        replace(
            last,
            skipped=(fought, suspended),
            writes_failed={ROUTE: "refused"},
            excluded={"inference/other": {"near": "no ready endpoint"}},
        )
    )
    found = {
        (labels["demand"], labels["reason"])
        for (name, pairs), _ in samples(text_of(recorder)).items()
        if name == "greenllm_demand_trouble"
        for labels in [dict(pairs)]
    }
    assert found == {
        ("inference/assistant", "Contended"),
        ("inference/assistant", "WriteFailed"),
        ("inference/other", "SitesUnavailable"),
    }


async def test_the_loop_says_when_it_turned() -> None:
    recorder = Recorder()
    before = time.time()
    recorder.turn()
    assert before <= value(text_of(recorder), "greenllm_loop_turn_timestamp_seconds") <= time.time()


def exported(text: str) -> dict[str, str]:
    return {f.name: f.type for f in text_string_to_metric_families(text)}


async def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    recorder = Recorder()
    for outcome in await outcomes():
        recorder.record(outcome)
    found = {name for name in exported(text_of(recorder)) if name.startswith("greenllm_")}
    documented = set(re.findall(r"`(greenllm_[a-z_]+)`", DOCUMENT.read_text(encoding="utf-8")))
    names = {name.removesuffix("_total") for name in documented}
    assert names == found


def promtool(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
async def test_promtool_has_nothing_to_say_but_what_we_chose() -> None:
    recorder = Recorder()
    for outcome in await outcomes():
        recorder.record(outcome)
    ran = promtool(text_of(recorder))
    complaints = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    # Prices and intensities are per kilowatt hour, the unit everyone quotes them in (docs/adr/0003).
    chosen = [line for line in complaints if "kilowatt" in line or 'use base unit "grams"' in line]
    assert complaints == chosen
