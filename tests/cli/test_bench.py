"""``green-llm bench``."""

from __future__ import annotations

from typing import Any

import pytest

from green_llm.optimizer.coefficients import delay_seconds
from green_llm.optimizer.scaled import scaled

Cli = Any


def test_bench_prints_one_json_object(cli: Cli) -> None:
    ran = cli("bench", "--size", "3-3-2-4", "--size", "4-4-2-4", "--seeds", "1", "--json")
    assert ran.status == 0
    found = ran.json
    assert [row["size"] for row in found["rows"]] == ["3-3-2-4", "4-4-2-4"]
    assert set(found["rows"][0]) == {
        "size", "plain_seconds", "cold_seconds", "next_seconds", "cold_ratio", "next_ratio", "max_relative_difference",
        "peak_rss_bytes",
    }  # fmt: skip
    assert all(0 <= row["max_relative_difference"] <= 1e-7 for row in found["rows"])
    assert isinstance(found["growth_exponent"], float)


def test_bench_without_plain(cli: Cli) -> None:
    ran = cli("bench", "--size", "3-3-2-4", "--seeds", "1", "--no-plain")
    assert ran.status == 0
    assert "3-3-2-4" in ran.out


@pytest.mark.parametrize("size", ["3-3-2", "0-1-1-1", "a-b-c-d"])
def test_a_wrong_size_is_named(cli: Cli, size: str) -> None:
    ran = cli("bench", "--size", size)
    assert ran.status == 2
    assert size in ran.err


def test_the_same_seed_is_the_same_instance() -> None:
    one, other = scaled(3, 3, 2, 4, seed=5), scaled(3, 3, 2, 4, seed=5)
    assert (one.demand == other.demand).all()
    assert not (one.demand == scaled(3, 3, 2, 4, seed=6).demand).all()


def test_few_sites_have_a_plan() -> None:
    made = scaled(200, 3, 10, 4, seed=2)

    assert (1.1 * delay_seconds(made).min(axis=1).max(axis=-1) <= 1.000001 * made.delay_limit).all()
