"""A policy's ledger fits into a ConfigMap, however many rules and classes it has."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from green_llm.domain import ledger_file
from green_llm.domain.amounts import Amounts, Ledger, Month
from green_llm.errors import StoreError
from green_llm.kube.ledgers import content_of, text_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def amounts(n: int) -> Amounts:
    return Amounts(**dict.fromkeys(Amounts.__dataclass_fields__, (n + 1) / 7))


def a_ledger(sites: int, rules: int, classes: int) -> Ledger:
    by_site = {f"site-{n:02}": amounts(n) for n in range(sites)}
    by_class = {f"team-{n // 8}/demand-{n}/chat": amounts(n) for n in range(classes)}
    month = Month(in_force=amounts(1), nearest=amounts(2), static=amounts(3), by_class=by_class)
    return Ledger(
        charged_until=NOW,
        in_force=by_site,
        nearest=by_site,
        static=by_site,
        months={"2026-10": month, "2026-11": month},
        last_write={
            f"HTTPRoute/team-{n // 8}/demand-{n}-iowa/chat": NOW + timedelta(seconds=n % 977) for n in range(rules)
        },
    )


@pytest.mark.parametrize("size", [(3, 20, 5), (50, 20_000, 256)])
def test_a_ledger_comes_back_from_a_config_map_that_the_api_server_takes(size: tuple[int, int, int]) -> None:
    ledger = a_ledger(*size)
    content = content_of(ledger_file.dump(ledger))
    assert len(json.dumps(content)) < 1_000_000
    assert ("data" in content) == (size[1] < 100), "a small one can be read as it stands"
    assert ledger_file.load(text_of(content, "test"), "test") == ledger


def test_a_damaged_one_is_never_begun_anew() -> None:
    with pytest.raises(StoreError, match="has no ledger.json; restore it"):
        text_of({}, "ConfigMap a/b")
    with pytest.raises(StoreError, match="ledger.json.gz is damaged .* restore it from a copy"):
        text_of({"binaryData": {"ledger.json.gz": "AAAA"}}, "ConfigMap a/b")
