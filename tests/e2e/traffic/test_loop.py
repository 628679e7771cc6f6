"""The closed loop: what arrives is measured at the gateway and planned with; and the model beside what was measured."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from support.cluster_objects import NS, ours, site
from support.control_plane import free_port
from support.traffic.scraping import query, scraping
from support.traffic.sites import MODEL
from support.traffic.world import (
    AREAS,
    CLASSES,
    INPUT_TOKENS,
    LATENCY_MS,
    OUTPUT_TOKENS,
    SETTLED_SECONDS,
    SITES,
    World,
    example_rates,
    the_cells,
    the_demand,
    the_policy,
)

ALL_PER_SECOND = 60.0
TOKENS = INPUT_TOKENS + OUTPUT_TOKENS
THROUGHPUT = TOKENS * 3600 * 100.0
"""By the model a query takes a hundredth of a second for each that comes every second."""
STEP_SECONDS = 10
"""Envoy brings its histograms up to date every 5 s."""
STEADY_SECONDS = 15.0
LEAST, MOST = 0.85, 1.1
"""Of what is sent, in a mean over the past, on a machine that may be busy."""
MILLIJOULES = 3600
"""Per token, as the sites say."""


RATES = example_rates(ALL_PER_SECOND)
DEMAND = "greenllm_demand_queries_per_hour"
MODEL_DELAY, MEASURED = (f"greenllm_demand_{kind}_delay_seconds" for kind in ("model", "measured"))
WATTS, DRAWN = (f"greenllm_site_{kind}_it_power_watts" for kind in ("model", "measured"))


def gauges(scraped: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """A metric's values by some of its labels."""
    found = {}
    for text, value in re.findall(rf"^{name}\{{(.*)\}} (.*)$", scraped, re.MULTILINE):
        given = dict(re.findall(r'(\w+)="([^"]*)"', text))
        found[tuple(given[label] for label in labels)] = float(value)
    return found


def of_pairs(scraped: str, name: str) -> dict[tuple[str, ...], float]:
    """A metric's values by area and class."""
    return gauges(scraped, name, "area", "class")


def at_gateway(host: str) -> dict[tuple[str, str], float]:
    """Queries per second of every rule in the last 20 s, by Envoy's own counters."""
    name = 'envoy_cluster_upstream_rq_total{{envoy_cluster_name=~"httproute/inference/{}/rule/{}(/.*)?"}}'
    return {
        (area, query_class): query(host, f"sum(rate({name.format(area, number)}[20s]))") or 0.0
        for area in AREAS
        for number, query_class in enumerate(CLASSES)
    }


def measuring(host: str) -> list[dict[str, Any]]:
    """Sources that read Prometheus, and sites whose servers it scrapes."""
    common = {"provider": "Prometheus", "baseUrl": f"http://{host}", "pollPeriodSeconds": 10, "allowedNamespaces": {}}
    performance = site("near")["spec"]["performance"][0] | {"throughputTokensPerSecond": round(THROUGHPUT)}
    return [
        *(
            ours("SignalSource", name, common | {"prometheus": {"template": template, "stepSeconds": STEP_SECONDS}})
            for name, template in (("gateway", "EnvoyGateway"), ("servers", "Vllm"))
        ),
        *(
            site(n, performance=[
                performance | {"measurements": {"source": "servers", "params": {"model": MODEL, "site": n}}}
            ])
            for n in SITES
        ),
    ]  # fmt: skip


def measured_demand() -> dict[str, Any]:
    """The demand of every area and class from its route rule."""
    body = the_demand(RATES)
    for area in body["spec"]["areas"]:
        area["demand"] = [
            {"class": name, "source": {"name": "gateway", "params": {"route": area["name"], "rule": str(number)}}}
            for number, name in enumerate(CLASSES)
        ]
    return body


@pytest.mark.timeout(400)
def test_what_is_measured_is_planned_with(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, one in world.sites.items():
        network = {area: LATENCY_MS[area][name] / 1000 for area in AREAS}
        one.behave(throughput_tokens_per_second=THROUGHPUT, network_seconds=network)
    world.lay_routes({"near": 0, "cheap": 1000, "third": 0})
    host = f"127.0.0.1:{free_port()}"
    load = world.load(the_cells(RATES), seconds=300.0)
    begun = time.monotonic()
    operator = world.operate(GREEN_LLM_SIGNAL_HOSTS=host)
    world.until(operator.healthy, 120, "an operator")
    # Until the sites' own load is steady: then Prometheus begins to look.
    time.sleep(max(0.0, begun + STEADY_SECONDS - time.monotonic()))
    with scraping(tmp_path, world.gateway.admin(), world.sites, host):
        world.plane.apply(*measuring(host), the_policy(periodSeconds=10), measured_demand())

        def complete() -> bool:
            text = operator.scrape()
            return len(of_pairs(text, MEASURED)) == len(of_pairs(text, DEMAND)) == len(RATES) and (
                ("cheap",) in gauges(text, DRAWN, "site")
            )

        world.until(complete, 120, "measured demand, delays and power")
        time.sleep(15.0)
        text = operator.scrape()
        before, model, measured = (of_pairs(text, name) for name in (DEMAND, MODEL_DELAY, MEASURED))
        watts, drawn = (gauges(text, name, "site")["cheap",] for name in (WATTS, DRAWN))
        # All of a class is at one site, whose delay grows with all of it; the model's with a pair's own queries alone.
        there = {c: sum(RATES[area, c] for area in AREAS) * TOKENS * 3600 / THROUGHPUT for c in CLASSES}
        lines = []
        for (area, query_class), value in sorted(before.items()):
            way, sent = LATENCY_MS[area]["cheap"] / 1000, 3600 * RATES[area, query_class]
            whole = way + there[query_class]
            lines.append(
                f"{area} {query_class}: arriving {value:.0f}/h (sent {sent:.0f}/h), delay: model "
                f"{1000 * model[area, query_class]:.0f} ms, measured {1000 * measured[area, query_class]:.0f} ms"
            )
            assert LEAST * sent < value < MOST * sent, lines[-1]
            assert model[area, query_class] == pytest.approx(way + value * TOKENS / THROUGHPUT, rel=0.01)
            assert 0.85 * whole < measured[area, query_class] < 1.5 * whole, lines[-1]
        expected = ALL_PER_SECOND * TOKENS * MILLIJOULES / 1000
        lines.append(f"IT power at cheap: model {watts:.0f} W, measured {drawn:.0f} W, as sent {expected:.0f} W")
        assert all(LEAST * expected < power < MOST * expected for power in (watts, drawn)), lines[-1]
        arriving = at_gateway(host)
        assert arriving == {pair: pytest.approx(rate, rel=0.2) for pair, rate in RATES.items()}
        # The loop is closed: traffic moves, what arrives stays, and the plan stays where it is.
        world.set_price("near", 20.0)
        world.until(lambda: all(world.weights(a, c)["near"] == 1000 for a in AREAS for c in CLASSES), 30, "all moved")
        time.sleep(SETTLED_SECONDS + 2 * STEP_SECONDS)
        generations = [world.generation(area) for area in AREAS]
        after = of_pairs(operator.scrape(), DEMAND)
        still = at_gateway(host)
        time.sleep(25.0)
        assert [world.generation(area) for area in AREAS] == generations, "two more plans have written nothing"
        assert still == {pair: pytest.approx(rate, rel=0.2) for pair, rate in arriving.items()}
        assert all(LEAST * rate < after[pair] / 3600 < MOST * rate for pair, rate in RATES.items()), after
        answers = load.stop()
        assert not [answer for answer in answers if answer.failed]
        pair = ("iowa", "chat")
        lines.append(
            f"iowa chat at the gateway: {3600 * arriving[pair]:.0f}/h, after all has moved {3600 * still[pair]:.0f}/h, "
            f"planned with {after[pair]:.0f}/h"
        )
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert world.plane.get("greenpol", "default")["status"]["plan"]["termination"] == "optimal"
    assert world.plane.get("idem", "assistant", "-n", NS)["status"]["perHour"]
