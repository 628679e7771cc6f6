"""Requests follow the written weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from scipy.stats import chi2

from support.traffic.load import counts
from support.traffic.world import SETTLED_SECONDS, SITES, World, example_rates, the_cells, the_demand, the_policy

FAMILY_ERROR = 1e-6
PER_CELL = 2000
"""Of the area and class with the least."""
RATES = example_rates(360.0)


def p_value(found: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Of the counts, were they drawn with these shares (Pearson's χ²); 0 where a site without share was sent anything."""
    total = sum(found.values())
    if any(found.get(site, 0) for site, share in shares.items() if share == 0) or set(found) - set(shares):
        return 0.0
    drawn = {site: share for site, share in shares.items() if share > 0}
    statistic = sum((found.get(site, 0) - total * share) ** 2 / (total * share) for site, share in drawn.items())
    return float(chi2.sf(statistic, len(drawn) - 1)) if len(drawn) > 1 else 1.0


def off_by_five_points(shares: Mapping[str, float]) -> dict[str, float]:
    """Five points from the site with most to the one with least."""
    most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    return {**shares, most: shares[most] - 0.05, least: shares[least] + 0.05}


@pytest.mark.timeout(420)
def test_shares_agree_with_weights(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Per area and class, thousands of requests each; five points more or less are seen."""
    world.plane.apply(
        the_policy(objectives=[{"name": "Delay", "tolerancePercent": "0"}], guardrails={"maxSitePercent": 80}),
        the_demand(RATES),
    )
    world.operate()
    nearest = {"iowa": "near", "osaka": "third", "paris": "cheap"}
    expected = {area: {name: 800 if name == own else 100 for name in SITES} for area, own in nearest.items()}
    world.until(lambda: all(world.weights(area) == e for area, e in expected.items()), 60, "planned weights")
    cells = the_cells(RATES)
    world.load(cells, seconds=SETTLED_SECONDS).wait()
    most = round(1.01 * PER_CELL * sum(RATES.values()) / min(RATES.values()))
    answers = world.load(cells, most=most, seconds=240.0).wait()
    assert not [answer for answer in answers if answer.failed]
    found, wrong, lines = counts(answers), 0, []
    assert min(counted.total() for counted in found.values()) >= PER_CELL
    for (area, query_class), counted in sorted(found.items()):
        weights = world.weights(area, query_class)
        shares = {site: weight / sum(weights.values()) for site, weight in weights.items()}
        agrees, control = p_value(counted, shares), p_value(counted, off_by_five_points(shares))
        wrong += control < FAMILY_ERROR / len(found)
        lines.append(
            f"{area} {query_class}: weights {weights}, counted {dict(counted)}, p {agrees:.2g}, off {control:.2g}"
        )
        assert agrees >= FAMILY_ERROR / len(found), lines[-1]
    assert wrong > 0, "weights five points off fail the same test"
    seconds = max(a.done for a in answers) - min(a.sent for a in answers)
    with capsys.disabled():
        print(f"\n{len(answers)} requests at {len(answers) / seconds:.0f}/s; control fails in {wrong} of {len(found)}")
        print("\n".join(lines))


def test_the_test_can_fail() -> None:
    assert p_value(Counter(near=500, cheap=500), {"near": 0.5, "cheap": 0.5}) == 1.0
    assert p_value(Counter(near=999, cheap=1), {"near": 1.0, "cheap": 0.0}) == 0.0
    assert p_value(Counter(near=700, cheap=300), {"near": 0.65, "cheap": 0.35}) < 1e-3
