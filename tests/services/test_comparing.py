"""The model beside what was measured: worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest

from green_llm.cli.run_report import outcome_document, print_outcome
from green_llm.demand.measured import MeasuredDemand
from green_llm.domain.arrivals import Arrivals
from green_llm.domain.request import Mode
from green_llm.domain.series import Measure, MeasureKey
from green_llm.domain.topology import Performance
from green_llm.errors import StoreError
from green_llm.observability.metrics import Recorder
from green_llm.services.admission import admit, wanted_routes
from green_llm.services.outcome import Compared, Outcome
from green_llm.services.planning import Planning
from green_llm.signals.collect import Collector
from green_llm.store.ledgers import MemoryLedgers
from support.resources import NOW, MemoryRoutes, a_fleet, a_policy, a_route, a_site

PAIR = ("inference/assistant", "iowa", "chat")


def no_file(name: str) -> tuple[str, str]:
    raise StoreError(name)


class Servers(Collector):
    """Signals as ever, and what servers would have measured."""

    def __init__(self, found: Mapping[MeasureKey, float]) -> None:
        super().__init__(no_file)
        self._found = found

    async def measured(self, *_: Any) -> Mapping[MeasureKey, float]:
        return self._found


class Gateway(MeasuredDemand):
    """Demand as ever, and the delay that a gateway would have measured."""

    async def collect(self, *asked: Any) -> Arrivals:
        return replace(await super().collect(*asked), mean_delay_s=1.2)


async def outcome(near: int, cheap: int, found: Mapping[MeasureKey, float]) -> Outcome:
    """1,000 queries of 600 + 400 tokens an hour at 1 mWh per token; v of 1,000,000 tokens/s: 1 s at either site."""
    sites = {
        n: a_site(n, performance={"large": Performance("large", 1e6, 1e-6, 1e-6, {})}, capacity=())
        for n in ("near", "cheap")
    }
    resources = a_fleet(policies={"default": a_policy(mode=Mode.SHADOW)}, sites=sites)
    routes, collector = MemoryRoutes(a_route(near, cheap)), Servers(found)
    planning = Planning(collector, Gateway(collector.series), routes, MemoryLedgers())
    request = admit(resources, await routes.read(wanted_routes(resources)), frozenset()).requests["default"]
    return await planning.reconcile(request, await routes.read(request.routes), NOW)


async def test_what_is_in_force_is_compared() -> None:
    servers = {
        ("near", "large", Measure.FINISHED): 500.0, ("near", "large", Measure.INPUT_TOKENS): 500.0,
        ("near", "large", Measure.OUTPUT_TOKENS): 400.0, ("near", "large", Measure.MEAN_DELAY): 0.8,
        ("cheap", "large", Measure.FINISHED): 9.0,
    }  # fmt: skip
    found = (await outcome(600, 400, servers)).comparison
    # 10 ms from near, 50 ms from cheap: 0.6 × 0.01 + 0.4 × 0.05 + 1 s.
    assert found.pair_delays_s[PAIR].model == pytest.approx(1.026)
    assert found.pair_delays_s[PAIR].measured == 1.2
    assert found.site_delays_s["near", "large"].model == pytest.approx(1.0)
    assert found.site_delays_s["near", "large"].measured == 0.8
    # 600 queries × 1000 tokens × 1 mWh; 500 × 900 × 1 mWh were measured; the plan sends all to cheap.
    near = found.site_it_watts["near", "large"]
    assert (near.model, near.measured, near.planned) == pytest.approx((600.0, 450.0, 0.0))
    cheap = found.site_it_watts["cheap", "large"]
    assert (cheap.model, cheap.planned) == pytest.approx((400.0, 1000.0))
    assert cheap.measured is None, "the tokens of its queries are not known"


async def test_a_site_without_traffic_has_no_delay_in_the_model() -> None:
    found = (await outcome(0, 1000, {("near", "large", Measure.MEAN_DELAY): 0.4})).comparison
    assert found.site_delays_s["near", "large"] == Compared(None, 0.4)


async def test_it_is_exported_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    made = await outcome(600, 400, {("near", "large", Measure.MEAN_DELAY): 0.8})
    recorder = Recorder()
    recorder.record(made)
    text = generate_latest(recorder.registry).decode()
    labels = 'area="iowa",class="chat",demand="inference/assistant",policy="default"'
    assert f"greenllm_demand_model_delay_seconds{{{labels}}} 1.026" in text
    assert f"greenllm_demand_measured_delay_seconds{{{labels}}} 1.2" in text
    assert 'greenllm_site_measured_delay_seconds{policy="default",profile="large",site="near"} 0.8' in text
    assert 'greenllm_site_model_it_power_watts{policy="default",profile="large",site="near"} 600.0' in text
    assert "greenllm_site_measured_it_power_watts{" not in text
    document = outcome_document(made)["comparison"]
    assert {
        "quantity": "pair_delay_s",
        "of": list(PAIR),
        "model": pytest.approx(1.026),
        "measured": 1.2,
        "planned": None,
    } in document
    print_outcome(made)
    shown = capsys.readouterr().out
    assert "iowa / chat: delay ms" in shown
    assert "IT power" not in shown, "nothing was measured of it"
