"""Other worlds: the same days with something changed."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from green_llm.backtest.compare import Backtest
from green_llm.backtest.scenarios import AS_IT_IS, Scenarios, fronts, pick, run_scenarios, scenarios_document
from green_llm.backtest.scenarios_report import scenarios_report
from green_llm.backtest.what_if import Setting, changed, name_of, scenarios_of, setting_of
from green_llm.backtest.world import World
from green_llm.domain.plan import Objective
from green_llm.domain.request import CarbonAccounting
from green_llm.errors import InvalidInputError
from support.recorded_days import recorded_world, span
from support.resources import a_budget

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-sites"


def world(*settings: str) -> World:
    return changed(EXAMPLE, "default", [setting_of(text) for text in settings])


def test_settings_go_through_the_files() -> None:
    plain = world()
    assert plain.texts
    assert plain.resources.policies == changed(EXAMPLE, "default", ()).resources.policies
    policy = (
        world("water.budgetLiters=100", "order=Emissions:2,Cost", "guardrails.maxShiftPercent=100").request(None).policy
    )
    assert policy.water is not None
    assert policy.water.liters == 100
    assert policy.order.objectives == (Objective.EMISSIONS, Objective.COST)
    assert policy.order.tolerances[0].relative == pytest.approx(0.02)
    assert policy.guardrails.max_shift == 1.0
    assert world("tolerance.Cost=7").request(None).policy.order.tolerances[0].relative == pytest.approx(0.07)
    assert world("site/oregon:pue=1.5").resources.sites["oregon"].pue == 1.5
    assert set(world("site/oregon=null").resources.sites) == {"iowa", "virginia"}
    assert world("demand=2").demand_factor == 2.0
    assert world("demand=2").digest != world("demand=3").digest, "a checkpoint of another scenario is none of this one"


def test_another_site_is_added_from_a_file(tmp_path: Path) -> None:
    text = (EXAMPLE / "sites.yaml").read_text(encoding="utf-8").split("---")[0]
    file = tmp_path / "more.yaml"
    file.write_text(text.replace("name: oregon", "name: more", 1), encoding="utf-8")
    assert set(world(f"add={file}").resources.sites) == {"iowa", "more", "oregon", "virginia"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("demand", '--set: "demand" must be PATH=VALUE'),
        ("demand=-1", "demand=-1: must be a number above 0"),
        ("tolerance.Speed=1", 'the order has no "Speed" (known: Cost, Emissions, Delay)'),
        ("site/mars:pue=1", 'there is no site "mars" (known: iowa, oregon, virginia)'),
        ("planet/mars:pue=1", '"planet" is no kind (known: policy, site, demand, source)'),
        ("site/oregon:pue=0.5", "site/oregon:pue=0.5: InferenceSite oregon: spec.pue"),
        ("site/oregon=4", "give a field after a colon, or =null to leave the site out"),
        ("add=/nowhere.yaml", "/nowhere.yaml: cannot be read"),
        ("demand=true", "demand=True: must be a number above 0"),
        ("water.budgetLiters=[", "what is after the = must be YAML"),
        ("objectives.first=3", '"first" is no entry; the list has 3, numbered from 0'),
        ("objectives.9.name=Cost", '"9" is no entry; the list has 3, numbered from 0'),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_message(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        world(text)
    assert message in str(raised.value)


def test_a_sweep_is_every_combination() -> None:
    found = scenarios_of("demand: [1, 2]\ntolerance.Cost: [0, 3, 9]\n", "sweep.yaml")
    assert len(found) == 6
    assert name_of(found[0]) == "demand=1, tolerance.Cost=0"
    for text, message in (("- 1", "must be a mapping"), ("demand: 2", "lists of values"), ("a: [", "is no YAML")):
        with pytest.raises(InvalidInputError, match=message):
            scenarios_of(text, "sweep.yaml")
    with pytest.raises(InvalidInputError, match="1000 combinations"):
        scenarios_of("".join(f"{name}: {list(range(10))}\n" for name in "abc"), "sweep.yaml")


def test_the_directory_stays_as_it_is(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "demo"))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    changed(copy, "default", [Setting("demand", 2)])
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_what_is_picked_early_is_reported_on_later_days() -> None:
    """A price turns after the second day: the pick is made on the days before, and its report shows what it then did."""

    def turning(site: str, hour: int) -> float:
        early = hour < 3 * 24
        return 30.0 if (site == "cheap") == early else 90.0

    better_early = recorded_world(5, price=lambda site, hour: turning(site, hour) - (20.0 if hour < 3 * 24 else -40.0))
    plain = recorded_world(5, price=turning)
    asked = Scenarios(backtest=Backtest(world=plain, policy="default", span=span(3), against=(), bounds=()),
                      worlds={AS_IT_IS: plain, "other": better_early})  # fmt: skip
    found = run_scenarios(asked, lambda *_: None)
    picked = pick(found, "cost")
    assert picked.name == "other"
    assert picked.reported.start == picked.fitted.end == span(2).end
    cost = next(entry for entry in picked.savings if entry["measure"] == "cost")
    assert cost["percent"] < -50, "on later days it is worse, and that is what is said"
    assert cost["days"] == 1
    said = scenarios_document(found, picked, front=True)
    assert said["picked"]["scenario"] == "other"
    assert said["scenarios"]["other"]["saves"]["cost"]["amount"] == pytest.approx(
        said["scenarios"][AS_IT_IS]["cost"] - said["scenarios"]["other"]["cost"]
    )
    assert set(said["pareto"]) <= {AS_IT_IS, "other"}
    assert fronts(found)[0][0] == min(found.ran, key=lambda name: said["scenarios"][name]["cost"])
    with pytest.raises(InvalidInputError, match='--pick: "beauty" is unknown'):
        pick(found, "beauty")
    evil = "other<script>alert(1)</script>"
    renamed = replace(found, scenarios=replace(asked, worlds={AS_IT_IS: plain, evil: better_early}),
                      ran={AS_IT_IS: found.ran[AS_IT_IS], evil: found.ran["other"]})  # fmt: skip
    page = scenarios_report(renamed, scenarios_document(renamed, pick(renamed, "cost"), front=True))
    assert "<script>alert(1)" not in page, "names are escaped, in the table and in the plots"
    assert "src=" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL), "it needs no network"
    for name in (AS_IT_IS, "other"):
        assert f"<td>{said['scenarios'][name]['cost']:,.2f}</td>" in page
    assert '"name":"Pareto front"' in page
    assert page.count('role="figure"') == 2
    assert "Undeclared" in page


def test_limits_that_a_scenario_breaks_stand_beside_it() -> None:
    world = recorded_world(3, policy={"water": a_budget(12.0, days=1)})
    asked = Scenarios(backtest=Backtest(world=world, policy="default", span=span(1), against=(), bounds=()),
                      worlds={AS_IT_IS: world, "more": replace(world, demand_factor=3.0)})  # fmt: skip
    found = run_scenarios(asked, lambda *_: None)
    said = scenarios_document(found, None, front=False)["scenarios"]
    assert fronts(found) == [[AS_IT_IS], ["more"]], "more demand is not beaten by less"
    assert said["more"]["queries"] == pytest.approx(3 * said[AS_IT_IS]["queries"])
    assert {entry["limit"] for entry in said["more"]["broken"]} >= {"water_cap"}
    assert not said["more"]["keeps_limits"]
    assert "water_cap 1 ×, at worst " in scenarios_report(found, scenarios_document(found, None, front=False))


def test_marginal_emissions_are_differences_alone() -> None:
    marginal = CarbonAccounting(signal="Marginal")
    world = recorded_world(3, policy={"accounting": marginal})
    sources = {name: replace(source, accounting=marginal) for name, source in world.resources.sources.items()}
    world = replace(world, resources=replace(world.resources, sources=sources))
    assert not world.request(None).policy.takes_inventory
    asked = Scenarios(backtest=Backtest(world=world, policy="default", span=span(1), against=(), bounds=()),
                      worlds={AS_IT_IS: world, "more": replace(world, demand_factor=2.0)})  # fmt: skip
    found = run_scenarios(asked, lambda *_: None)
    more = scenarios_document(found, None, front=False)["scenarios"]["more"]
    assert more["emissions_kg"] is None
    assert more["saves"]["emissions_kg"]["percent"] is None
    amount = more["saves"]["emissions_kg"]["amount"]
    assert amount < 0
    assert f"<td>{-amount:,.1f}</td>" in scenarios_report(found, scenarios_document(found, None, front=False))
