"""The account: what was used, once, by demand and class, beside two baselines, with every factor."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from green_llm.demand.measured import MeasuredDemand
from green_llm.domain import ledger_file
from green_llm.domain.amounts import OTHER_CLASSES, Amounts, Ledger, total
from green_llm.domain.audit import AMOUNTS, IN_FORCE, NEAREST, STATIC, Rows
from green_llm.domain.request import (
    CarbonAccounting,
    DemandArea,
    DemandEntry,
    LiveSettings,
    Mode,
    Resources,
    RouteTarget,
    Source,
    SourceRef,
)
from green_llm.domain.routes import Route, RouteRule
from green_llm.domain.series import Measure, Point, Quality, Series, SignalKind, SignalQuery, SignalRef
from green_llm.domain.time import Slots
from green_llm.domain.topology import QueryClass, Renewable, RenewableType, Selector
from green_llm.errors import SignalError, StoreError
from green_llm.services.accounting import MOST_CLASSES, SlotCharges, charge, open_ledger
from green_llm.store.audit_files import AuditFiles
from support.planner import Planner, fleet
from support.resources import NOW, ROUTE, a_demand, backend, static

HOUR = timedelta(hours=1)
EVER = (NOW - timedelta(days=40), NOW + timedelta(days=40))


def two_classes() -> Resources:
    """A fleet with sun at the near site, a negative price at the cheap one, and two demands of unequal classes."""
    small = QueryClass("code", "large", 100.0, 100.0, 4.0, None, 0.2)
    demands = {
        "inference/assistant": a_demand(),
        "inference/coder": a_demand(
            "coder",
            classes={"code": small},
            areas=(DemandArea("iowa", (DemandEntry("code", (500.0,) * 24),), (RouteTarget(ROUTE, {"code": "code"}),)),),
        ),
    }
    sun = {"renewables": (Renewable(RenewableType.SOLAR, 0.4),)}
    plain = fleet(near=sun, cheap={"pue": 1.25, "ewif_l_per_kwh": 2.0, "market_kg_per_kwh": 0.01})
    near = replace(plain.sites["near"], signals={
        **plain.sites["near"].signals, SignalKind.SOLAR_OUTPUT: (SignalRef("sun"),)
    })  # fmt: skip
    sources = {**plain.sources, "sun": static("sun", 0.5, "kW/kW"), "price-cheap": static("price-cheap", -5, "USD/MWh")}
    return replace(plain, demands=demands, sites={**plain.sites, "near": near}, sources=sources)


def rules(near: int = 600, cheap: int = 400) -> Route:
    weights = {backend("near"): near, backend("cheap"): cheap}
    return Route(ROUTE, "uid", (RouteRule("chat", weights), RouteRule("code", weights)))


async def charged(
    planner: Planner, resources: Resources, until: datetime, step: timedelta = timedelta(minutes=25)
) -> Ledger:
    now = NOW
    while True:
        outcome = await planner.plan(resources, now)
        assert outcome.audit_error is None
        if now >= until:
            assert outcome.ledger is not None
            return outcome.ledger
        now = min(now + step, until)


def sums(rows: Rows, side: str, **where: str) -> Amounts:
    chosen = rows["side"] == side
    for name, value in where.items():
        chosen &= rows[name.rstrip("_")] == value
    return Amounts(**{name: float(np.nansum(rows[name][chosen])) for name in AMOUNTS})


def same(found: Amounts, expected: Amounts) -> None:
    for name in AMOUNTS:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-12), name


async def test_sums_by_class_equal_the_sites_and_the_audit_equals_the_ledger(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    planner = Planner(rules(), audit=files)
    ledger = await charged(planner, two_classes(), NOW + 5 * HOUR)
    rows = files.read("default", *EVER)
    (month,) = ledger.months.values()
    same(total(month.by_class.values()), total(ledger.in_force.values()))
    for side, of_sites in ((IN_FORCE, ledger.in_force), (NEAREST, ledger.nearest), (STATIC, ledger.static)):
        assert total(of_sites.values()).energy_kwh > 0
        for site, amounts in of_sites.items():
            same(sums(rows, side, site=site), amounts)
        same(getattr(month, side), total(of_sites.values()))
    for name, amounts in month.by_class.items():
        demand, _, query_class = name.rpartition("/")
        same(sums(rows, IN_FORCE, demand=demand, class_=query_class), amounts)
    # 1,000 queries x 1,000 tokens and 500 x 200 an hour, for five hours.
    assert month.by_class["inference/assistant/chat"].tokens == pytest.approx(5e6)
    assert month.by_class["inference/coder/code"].tokens == pytest.approx(5e5)
    assert month.in_force.cost_earned > 0


async def test_every_amount_is_a_quantity_times_a_factor_that_has_a_source(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    await charged(Planner(rules(), audit=files), two_classes(), NOW + 2 * HOUR)
    rows = files.read("default", *EVER)
    grid, energy = rows["grid_energy_kwh"], rows["energy_kwh"]
    assert rows["cost_paid"] - rows["cost_earned"] == pytest.approx(rows["price_per_kwh"] * grid)
    assert rows["emissions_kg"] == pytest.approx(rows["carbon_kg_per_kwh"] * grid)
    assert rows["water_on_site_l"] == pytest.approx(rows["wue_l_per_kwh"] / rows["pue"] * energy)
    assert rows["water_off_site_l"] == pytest.approx(rows["ewif_l_per_kwh"] * grid)
    assert set(rows["carbon_source"]) == {"carbon"}
    assert set(rows["carbon_quality"]) == {"static"}
    assert set(rows["carbon_basis"]) == {"Average/Lifecycle/Consumption"}
    assert set(rows["wue_source"]) == {"InferenceSite"}
    assert set(rows["price_source"]) == {"price-near", "price-cheap"}
    assert set(rows["solar_source"][rows["site"] == "near"]) == {"sun"}
    assert set(rows["currency"]) == {"USD"}
    # What the site has contracted stands beside; where it has declared nothing there is nothing.
    cheap = rows["site"] == "cheap"
    assert rows["market_emissions_kg"][cheap] == pytest.approx(0.01 * grid[cheap])
    assert np.isnan(rows["market_emissions_kg"][~cheap]).all()
    # From 12:10 to 14:10: pieces of the hours 12, 13 and 14.
    assert sorted(set(rows["start_time"].astype(str))) == [f"2026-10-20T{h}:00:00.000000" for h in (12, 13, 14)]
    assert rows["seconds"].max() == 3600


async def test_the_static_baseline_is_the_weights_found_at_adoption() -> None:
    planner = Planner(rules())
    resources = two_classes()
    outcome = await planner.plan(resources)
    assert planner.weights == {"llm-near": 0, "llm-cheap": 1000}
    assert outcome.static["near"].queries == pytest.approx(0.6 * 1500)
    outcome = await planner.plan(resources, NOW + HOUR)
    assert outcome.ledger.static["cheap"].queries == pytest.approx(0.4 * 1500)
    assert outcome.ledger.in_force["cheap"].queries == pytest.approx(1500)


async def test_in_shadow_nothing_is_adopted_and_the_static_baseline_is_what_is_in_force() -> None:
    planner = Planner(rules())
    resources = replace(two_classes(), policies={"default": replace(fleet().policies["default"], mode=Mode.SHADOW)})
    await planner.plan(resources)
    ledger = (await planner.plan(resources, NOW + HOUR)).ledger
    same(total(ledger.static.values()), total(ledger.in_force.values()))


class Forgetful:
    """Ledgers of a process that ends before it can keep one."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    async def load(self, policy: str) -> Ledger | None:
        return await self._kept.load(policy)

    async def save(self, policy: str, ledger: Ledger) -> None:
        del policy, ledger
        raise StoreError("the process ends here")


async def test_a_process_that_ends_before_the_ledger_is_kept_counts_nothing_twice(tmp_path: Path) -> None:
    files, resources = AuditFiles(tmp_path), two_classes()
    planner = Planner(rules(), audit=files)
    await charged(planner, resources, NOW + HOUR)
    kept = planner.ledgers
    planner.ledgers = Forgetful(kept)
    planner.restart()
    with pytest.raises(StoreError, match="the process ends here"):
        await planner.plan(resources, NOW + 1.5 * HOUR)
    planner.ledgers, planner.audit = kept, AuditFiles(tmp_path)
    planner.restart()
    ledger = (await planner.plan(resources, NOW + 2 * HOUR)).ledger
    found = AuditFiles(tmp_path).read("default", *EVER)
    assert total(ledger.in_force.values()).queries == pytest.approx(2 * 1500)
    same(sums(found, IN_FORCE), total(ledger.in_force.values()))


async def test_an_audit_that_cannot_be_written_stops_no_plan_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file is in the way")
    planner = Planner(rules(), audit=AuditFiles(tmp_path / "audit"))
    await planner.plan(two_classes())
    outcome = await planner.plan(two_classes(), NOW + HOUR)
    assert "audit cannot be written" in (outcome.audit_error or "")
    assert total(outcome.ledger.in_force.values()).queries == pytest.approx(1500)


async def test_marginal_emissions_are_in_no_row(tmp_path: Path) -> None:
    marginal = CarbonAccounting("Marginal", "Direct", "Consumption")
    resources = two_classes()
    resources = replace(
        resources,
        policies={"default": replace(resources.policies["default"], accounting=marginal)},
        sources={
            **resources.sources,
            "carbon": replace(static("carbon", 400.0, "g/kWh"), accounting=marginal),
        },
    )
    files = AuditFiles(tmp_path)
    await charged(Planner(rules(), audit=files), resources, NOW + HOUR)
    rows = files.read("default", *EVER)
    assert np.isnan(rows["emissions_kg"]).all()
    assert np.isnan(rows["carbon_cost"]).all()
    assert set(rows["carbon_basis"]) == {"Marginal/Direct/Consumption"}
    assert rows["carbon_kg_per_kwh"] == pytest.approx(0.4)


def test_months_are_apart_survive_a_restart_and_are_bounded() -> None:
    start = datetime.fromisoformat("2026-10-31T22:00Z")
    ledger = open_ledger(start, 7200)
    for n in range(6):  # slots of two hours, the second one from 00:00 on the first of November
        one = ({"near": Amounts(energy_kwh=2.0, queries=20.0)}, False)
        entry = SlotCharges(in_force=one, nearest=one, static=one, by_class={"a/b/c": one[0]["near"]})
        slots = Slots(start + n * 2 * HOUR, 7200, 1)
        ledger = charge(ledger, slots.end, slots, [entry], None)
        ledger = ledger_file.load(ledger_file.dump(ledger), "test")
    assert {name: month.in_force.energy_kwh for name, month in ledger.months.items()} == {
        "2026-10": 2.0,
        "2026-11": 10.0,
    }
    assert ledger.months["2026-11"].by_class["a/b/c"].queries == pytest.approx(100.0)
    many = {f"a/b/c{n:04}": Amounts(energy_kwh=1.0) for n in range(2 * MOST_CLASSES)}
    for _ in range(20):
        slots = Slots(ledger.charged_until, 7200, 12 * 20)  # twenty days
        one = ({"near": Amounts(energy_kwh=float(len(many)))}, False)
        entry = SlotCharges(in_force=one, nearest=one, static=one, by_class=many)
        ledger = charge(ledger, slots.end, replace(slots, count=1), [entry], None)
        ledger = replace(ledger, charged_until=slots.end)
    assert len(ledger.months) == 13
    detailed = [month for month in ledger.months.values() if month.by_class]
    assert len(detailed) == 2
    assert all(len(month.by_class) == MOST_CLASSES + 1 for month in detailed)
    assert detailed[-1].by_class[OTHER_CLASSES].energy_kwh > 0
    same(total(detailed[-1].by_class.values()), replace(detailed[-1].in_force))
    assert len(ledger_file.dump(ledger)) < 300_000


def test_an_older_ledger_is_read() -> None:
    older = '{"format": "green-llm-ledger/1", "charged_until": "2026-10-20T12:00:00+00:00", "in_force": {"near": {"queries": 7}}}'
    ledger = ledger_file.load(older, "test")
    assert ledger.in_force["near"].queries == 7
    assert ledger.months == {}


async def test_measured_shares_count_where_a_gateway_has_counted(tmp_path: Path) -> None:
    # The gateway has sent 900 queries an hour to the near site and 100 to the cheap one; the weights say otherwise.
    counts = {"": 1000.0, "llm-near": 900.0, "llm-cheap": 100.0}

    async def count(source: Source, _reference: SourceRef, query: SignalQuery) -> Series:
        backend_name = query.params.get("backend", "")
        if backend_name not in counts:
            raise SignalError("nothing is counted")
        point = Point(query.start, query.end, counts[backend_name], Quality.MEASURED, query.end)
        return Series(query.kind, source.name, query.unit, (point,))

    queries = {Measure.DEMAND: "d", Measure.SERVED: "s"}
    gateway = Source(
        name="gateway",
        settings=LiveSettings("Prometheus", "http://prometheus", 60.0, queries=queries),
        allowed_namespaces=Selector(),
    )
    entry = DemandEntry("chat", source=SourceRef("gateway", {}))
    area = DemandArea("iowa", (entry,), (RouteTarget(ROUTE, {"chat": "chat"}),))
    resources = replace(fleet(), demands={"inference/assistant": a_demand(areas=(area,))})
    resources = replace(resources, sources={**resources.sources, "gateway": gateway})
    files = AuditFiles(tmp_path)
    planner = Planner(audit=files)
    planner.demand = MeasuredDemand(count)
    planner.restart()
    await planner.plan(resources)
    assert planner.weights == {"llm-near": 0, "llm-cheap": 1000}
    ledger = (await planner.plan(resources, NOW + HOUR)).ledger
    assert {site: round(amounts.queries) for site, amounts in ledger.in_force.items()} == {"near": 900, "cheap": 100}
    assert total(ledger.in_force.values()).measured_kwh == pytest.approx(1.0)
    assert total(ledger.nearest.values()).measured_kwh == 0.0
    assert sums(files.read("default", *EVER), IN_FORCE).measured_kwh == pytest.approx(1.0)
    # Without a count, the weights in force: all at the cheap site.
    del counts["llm-cheap"]
    after = (await planner.plan(resources, NOW + 2 * HOUR)).ledger
    assert after.in_force["cheap"].queries == pytest.approx(1100)
    assert total(after.in_force.values()).measured_kwh == pytest.approx(1.0)


def test_time_that_could_not_be_charged_is_in_its_months() -> None:
    start = datetime.fromisoformat("2026-09-29T06:30Z")
    ledger = open_ledger(start, 3600)
    nothing = ({}, False)
    slots = Slots(datetime.fromisoformat("2026-11-02T00:00Z"), 3600, 1)
    entry = SlotCharges(in_force=nothing, nearest=nothing, static=nothing)
    ledger = charge(ledger, slots.end, slots, [entry], None)
    missed = {name: month.uncharged_seconds / 3600 for name, month in ledger.months.items()}
    assert missed == {"2026-09": 41.5, "2026-10": 31 * 24, "2026-11": 24}
    assert ledger.uncharged_seconds == 3600 * (41.5 + 32 * 24)
