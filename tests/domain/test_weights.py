"""Weights and guardrails: what must hold whatever the shares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from green_llm.domain.guardrails import Hold, limit
from green_llm.domain.request import Guardrails
from green_llm.domain.weights import shares_of, spread, to_weights

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
NAMES = st.sampled_from("abcdefgh")


def shares(minimum: int = 1) -> st.SearchStrategy[dict[str, float]]:
    raw = st.dictionaries(NAMES, st.integers(0, 1000), min_size=minimum).filter(lambda found: sum(found.values()) > 0)
    return raw.map(lambda found: {name: value / sum(found.values()) for name, value in found.items()})


@given(shares(), st.integers(1, 100_000))
def test_weights_sum_to_the_scale_and_are_within_one(found: dict[str, float], scale: int) -> None:
    weights = to_weights(found, scale)
    assert sum(weights.values()) == scale
    for name, share in found.items():
        assert abs(weights[name] - share * scale) < 1.0 + 1e-9
        assert share > 0 or weights[name] == 0
    assert to_weights({name: float(weight) for name, weight in weights.items()}, scale) == weights


def test_remainders_go_to_the_largest_then_by_name() -> None:
    # 333.3 each: one unit is left, and it goes to the first name.
    assert to_weights({"c": 1 / 3, "a": 1 / 3, "b": 1 / 3}, 1000) == {"a": 334, "b": 333, "c": 333}
    assert to_weights({"a": 0.4996, "b": 0.5004}, 1000) == {"a": 500, "b": 500}


@pytest.mark.parametrize("wrong", [{}, {"a": 0.0}, {"a": -0.1, "b": 1.1}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_are_never_all_zero_nor_nonsense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares must be numbers"):
        to_weights(wrong, 1000)


def test_a_site_with_two_back_ends() -> None:
    assert spread(100, ["blue", "green"], {"blue": 30, "green": 10}) == {"blue": 75, "green": 25}
    assert spread(101, ["blue", "green"], {}) == {"blue": 51, "green": 50}
    assert spread(0, ["blue", "green"], {"blue": 30}) == {"blue": 0, "green": 0}
    assert shares_of({"blue": 3, "green": 1}) == {"blue": 0.75, "green": 0.25}


RAILS = st.builds(
    Guardrails,
    max_shift=st.sampled_from([0.05, 0.2, 0.5, 1.0]),
    max_site=st.sampled_from([0.3, 0.6, 1.0]),
    deadband=st.sampled_from([0.0, 0.02]),
    min_write_seconds=st.sampled_from([0.0, 60.0]),
)


def distance(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {*one, *other}) / 2


@given(shares(2), shares(2), RAILS, st.sets(NAMES, max_size=3), st.sampled_from([None, 30.0, 90.0]))
def test_a_decision_is_whole_and_within_its_limits(
    current: dict[str, float], wanted: dict[str, float], rails: Guardrails, out: set[str], ago: float | None
) -> None:
    last = None if ago is None else NOW - timedelta(seconds=ago)
    decision = limit(current, wanted, rails, frozenset(out), NOW, last)
    assert sum(decision.shares.values()) == pytest.approx(1.0)
    assert all(share >= -1e-12 for share in decision.shares.values())
    if decision.held_by is Hold.ALL_SITES_EXCLUDED:
        assert not decision.write
        assert set(wanted) - {n for n, share in wanted.items() if share == 0} <= out
        return
    assert all(decision.shares.get(name, 0.0) == 0.0 for name in out), "traffic leaves a forbidden site at once"
    kept = {name: share for name, share in current.items() if name not in out and share > 0}
    if kept:
        base = {name: share / sum(kept.values()) for name, share in kept.items()}
        assert distance(base, decision.shares) <= rails.max_shift + 1e-8
    if any(current.get(name, 0.0) > 1e-9 for name in out):
        assert decision.write, "neither dead-band nor interval delays it"


@given(shares(2), shares(2), st.sampled_from([0.05, 0.2, 0.7]), st.sampled_from([0.0, 0.04]))
def test_the_ramp_reaches_the_target(
    current: dict[str, float], wanted: dict[str, float], shift: float, deadband: float
) -> None:
    rails = Guardrails(max_shift=shift, deadband=deadband)
    assume(max(abs(current.get(n, 0.0) - wanted.get(n, 0.0)) for n in {*current, *wanted}) >= deadband)
    for _ in range(int(1 / shift) + 2):
        decision = limit(current, wanted, rails, frozenset(), NOW, None)
        if decision.held_by is not Hold.RAMP:
            break
        current = decision.shares
    # What is left when the last step would be smaller than the dead-band stays, as any change that small does.
    left = max(abs(decision.shares.get(n, 0.0) - wanted.get(n, 0.0)) for n in {*current, *wanted})
    assert left <= (1e-9 if deadband == 0 else deadband)


def test_the_site_maximum() -> None:
    decision = limit({"a": 1.0}, {"a": 0.9, "b": 0.1, "c": 0.0}, Guardrails(max_site=0.6), frozenset(), NOW, None)
    assert decision.shares["a"] == pytest.approx(0.6)
    assert decision.shares["b"] == pytest.approx(0.4)
    assert decision.held_by is Hold.SITE_MAXIMUM
    # Two sites cannot both stay below 40 %: half each is as near as can be.
    decision = limit({"a": 1.0}, {"a": 0.9, "b": 0.1}, Guardrails(max_site=0.4), frozenset(), NOW, None)
    assert decision.shares == pytest.approx({"a": 0.5, "b": 0.5})


def test_a_small_change_waits_and_so_does_a_hasty_one() -> None:
    rails = Guardrails(deadband=0.02, min_write_seconds=60)
    small = limit({"a": 0.5, "b": 0.5}, {"a": 0.51, "b": 0.49}, rails, frozenset(), NOW, None)
    assert (small.held_by, small.write) == (Hold.DEADBAND, False)
    hasty = limit({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.0}, rails, frozenset(), NOW, NOW - timedelta(seconds=30))
    assert (hasty.held_by, hasty.write) == (Hold.MIN_WRITE_INTERVAL, False)
    later = limit({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.0}, rails, frozenset(), NOW, NOW - timedelta(seconds=60))
    assert later.write


def test_without_weights_in_force_the_plan_is_taken_at_once() -> None:
    decision = limit(None, {"a": 0.3, "b": 0.7}, Guardrails(max_shift=0.1), frozenset(), NOW, None)
    assert (decision.shares, decision.write) == ({"a": 0.3, "b": 0.7}, True)
