"""The audit's files: exactly what the ledger was charged with, whatever happens on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from green_llm.domain.audit import COLUMNS, NUMBERS, TIMES, AuditBatch
from green_llm.errors import StoreError
from green_llm.store.audit_files import AuditFiles, write_csv

DAY = datetime(2026, 11, 3, tzinfo=UTC)
MONTH = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


def at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def a_batch(begun: float, until: float, kwh: float = 1.0, **columns: Any) -> AuditBatch:
    """One row of the hour in which it begins."""
    hour = np.datetime64(at(begun // 1).replace(tzinfo=None), "us")
    given = {
        "start_time": hour, "end_time": hour + np.timedelta64(1, "h"), "policy": "default", "side": "in_force",
        "site": "near", "seconds": 3600 * (until - begun), "energy_kwh": kwh, "grid_energy_kwh": kwh,
        "price_per_kwh": 0.1, "cost_paid": 0.1 * kwh, **columns,
    }  # fmt: skip
    rows = {
        name: np.array([given.get(name, np.nan if name in NUMBERS else "")], dtype=None if name in TIMES else object)
        for name in COLUMNS
    }
    return AuditBatch("default", at(begun), at(until), rows | {name: rows[name].astype(np.float64) for name in NUMBERS})


def energy(files: AuditFiles) -> float:
    return float(files.read("default", *MONTH)["energy_kwh"].sum())


async def test_an_hour_is_one_row_whose_factor_makes_its_amount(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    await files.append(a_batch(0.0, 0.25, 1.0))
    await files.append(a_batch(0.25, 1.0, 3.0, price_per_kwh=0.2, cost_paid=0.6))
    rows = files.read("default", *MONTH)
    assert rows["site"].tolist() == ["near"]
    assert rows["seconds"].tolist() == [3600.0]
    assert rows["energy_kwh"].tolist() == [4.0]
    assert rows["price_per_kwh"][0] * rows["grid_energy_kwh"][0] == pytest.approx(rows["cost_paid"][0]) == 0.7
    assert np.isnan(rows["carbon_kg_per_kwh"][0])
    assert rows["start_time"][0] == np.datetime64("2026-11-03T00:00", "us")


async def test_what_is_charged_again_replaces_what_was_lost_with_the_ledger(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    await files.append(a_batch(0.0, 1.0))
    await files.append(a_batch(1.0, 1.5))
    # The process ends before the ledger is kept: the next one begins where the ledger had ended.
    again = AuditFiles(tmp_path)
    await again.append(a_batch(1.0, 2.0, 5.0))
    assert energy(again) == 6.0
    assert [(p.begun, p.until) for p in again.pieces("default")] == [(at(0), at(1)), (at(1), at(2))]


async def test_a_ledger_that_was_put_back_counts_nothing_twice(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    for hour in range(0, 30, 5):
        await files.append(a_batch(hour, hour + 5, 5.0))
    assert energy(files) == 30.0
    # The first day is one file by now; the ledger of its tenth hour is brought back.
    await files.append(a_batch(10, 31, 21.0))
    assert energy(files) == 31.0


async def test_days_are_joined_and_a_crash_between_joining_and_removing_does_no_harm(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    left = {}
    for hour in range(0, 28, 2):
        await files.append(a_batch(hour, hour + 2))
        left |= {path.name: path.read_bytes() for path in (tmp_path / "default").glob("*.parquet")}
    assert len(files.pieces("default")) == 3
    for name, content in left.items():
        (tmp_path / "default" / name).write_bytes(content)
    assert energy(files) == 14.0
    await files.append(a_batch(28, 30))
    assert energy(files) == 15.0
    assert len(list((tmp_path / "default").glob("*.parquet"))) == 4


async def test_the_oldest_days_go_beyond_the_size(tmp_path: Path) -> None:
    whole = AuditFiles(tmp_path / "whole")
    await whole.append(a_batch(0, 1))
    size = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*.parquet"))
    files = AuditFiles(tmp_path / "bounded", largest_bytes=int(2.5 * size))
    for day in range(5):
        await files.append(a_batch(24 * day, 24 * day + 1))
    assert [piece.begun for piece in files.pieces("default")] == [at(72), at(96)]


async def test_rows_wait_for_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    root = tmp_path / "audit"
    root.write_text("a file is in the way")
    files = AuditFiles(root)
    with pytest.raises(StoreError, match="audit cannot be written"):
        await files.append(a_batch(0, 1))
    root.unlink()
    await files.append(a_batch(1, 2))
    assert energy(files) == 2.0


async def test_the_csv_has_every_column(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    await files.append(a_batch(0, 1, demand="inference/assistant", price_source="caiso"))
    write_csv(files.read("default", *MONTH), tmp_path / "audit.csv")
    with duckdb.connect() as db:
        found = db.read_csv(str(tmp_path / "audit.csv"))
        assert tuple(found.columns) == COLUMNS
        assert found.select("start_time, demand, price_source, energy_kwh, wue_l_per_kwh").fetchall() == [
            (datetime(2026, 11, 3), "inference/assistant", "caiso", 1.0, None)  # noqa: DTZ001 - as CSV has it
        ]
