"""``signals check``, as a user runs it."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from aiohttp import web

from support.cluster_objects import FLEET, NS, demand, ours, route
from support.replay_server import ReplayServer, electricity_maps, in_thread

Cli = Callable[..., Any]
KEY = "s3cret-key-of-nobody"


@pytest.fixture
def server() -> Iterator[ReplayServer]:
    """A service on loopback that knows one key."""
    with in_thread(electricity_maps(KEY, lambda: 300.0)) as found:
        yield found


@pytest.fixture
def fleet(tmp_path: Path, server: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fleet of the tests, with its carbon from a live service."""
    monkeypatch.setenv("GREEN_LLM_SIGNAL_HOSTS", server.host)
    spec = {
        "provider": "ElectricityMaps",
        "secretRef": {"name": "electricity-maps"},
        "baseUrl": f"http://{server.host}",
    }
    documents = copy.deepcopy([body for body in FLEET if body["metadata"]["name"] != "carbon"])
    for body in documents:
        if body["kind"] == "InferenceSite":
            body["spec"]["signals"]["carbonIntensity"][0]["params"] = {"zone": "DE"}
    documents.append(ours("SignalSource", "carbon", spec))
    (tmp_path / "fleet.yaml").write_text("---\n".join(yaml.safe_dump(body) for body in documents))
    return tmp_path


def test_every_source_is_asked_once(
    cli: Cli, fleet: Path, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREEN_LLM_SECRET_ELECTRICITY_MAPS_TOKEN", KEY)
    ran = cli("signals", "check", fleet, "--json")
    assert ran.status == 0, ran.err
    rows = {row["source"]: row for row in ran.json["sources"]}
    assert set(rows) == {"carbon", "price-near", "price-cheap"}
    carbon = rows["carbon"]
    assert (carbon["value"], carbon["unit"], carbon["quality"], carbon["service"]) == (300.0, "g/kWh", "forecast", "ElectricityMaps")  # fmt: skip
    assert carbon["covered_hours"] == 4
    assert carbon["basis"] == "Average/Lifecycle/Consumption"
    assert carbon["age_seconds"] >= 0
    assert len(server.seen) == 2, "both sites share the zone: history and forecast, once"
    shown = cli("signals", "check", fleet)
    assert "carbonIntensity" in shown.out
    assert KEY not in ran.out + ran.err + shown.out + shown.err


def test_what_fails_says_what_to_do(cli: Cli, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = cli("signals", "check", fleet)
    assert ran.status == 1
    assert "set GREEN_LLM_SECRET_ELECTRICITY_MAPS_TOKEN" in ran.out
    monkeypatch.setenv("GREEN_LLM_SECRET_ELECTRICITY_MAPS_TOKEN", "wrong-key-of-nobody")
    ran = cli("signals", "check", fleet)
    assert "401" in ran.out
    assert "check the key" in ran.out
    assert "wrong-key-of-nobody" not in ran.out + ran.err
    monkeypatch.setenv("GREEN_LLM_SIGNAL_HOSTS", "")
    assert "GREEN_LLM_SIGNAL_HOSTS" in cli("signals", "check", fleet).out


def test_what_was_recorded_is_replayed_without_the_service(
    cli: Cli, fleet: Path, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREEN_LLM_SECRET_ELECTRICITY_MAPS_TOKEN", KEY)
    before = datetime.now(UTC)
    ran = cli("signals", "record", fleet, "--for", "2")
    assert ran.status == 0, ran.err
    assert list((fleet / "recordings").glob("*.parquet"))
    asked = len(server.seen)
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NS, "labels": {"greenllm.dev/inference": "true"}},
    }
    (fleet / "demand.yaml").write_text("---\n".join(yaml.safe_dump(body) for body in (namespace, demand(), route())))
    replay = ("run", fleet, "--replay", "1e9", "--interval", "600", "--metrics-port", "0")
    after = datetime.now(UTC) + timedelta(minutes=1)
    ran = cli(*replay, "--start", after.isoformat(), "--until", (after + timedelta(minutes=15)).isoformat())
    assert ran.status == 0, ran.err
    assert "no plan" not in ran.out
    assert len(server.seen) == asked, "the service is not asked"
    # Before it was recorded nobody knew anything.
    early = before - timedelta(hours=2)
    ran = cli(*replay, "--start", early.isoformat(), "--until", (early + timedelta(minutes=15)).isoformat())
    assert "no plan" in ran.out
    assert KEY.encode() not in b"".join(path.read_bytes() for path in (fleet / "recordings").iterdir())


def test_history_is_imported_once(cli: Cli, fleet: Path, server: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREEN_LLM_SECRET_ELECTRICITY_MAPS_TOKEN", KEY)

    async def past_range(request: web.Request) -> web.StreamResponse:
        start = datetime.fromisoformat(request.query["start"])
        rows = [{"carbonIntensity": 250.0 + n, "datetime": (start + timedelta(hours=n)).isoformat()} for n in range(48)]
        return web.json_response({"zone": "DE", "data": rows, "temporalGranularity": "hourly"})

    server.answer = past_range
    command = ("signals", "import", fleet, "--from", "2026-10-20T00:00Z", "--to", "2026-10-22T00:00Z", "--json")
    ran = cli(*command)
    assert ran.status == 0, ran.err
    (row,) = ran.json["imported"]
    assert (row["source"], row["kind"], row["new"], row["revised"], row["error"]) == (
        "carbon",
        "carbonIntensity",
        48,
        0,
        None,
    )
    assert cli(*command).json["imported"][0]["new"] == 0
    ran = cli("run", fleet, "--replay", "1e9", "--interval", "3600", "--metrics-port", "0", "--start", "2026-10-20T10:00Z",
              "--until", "2026-10-20T11:00Z")  # fmt: skip
    assert ran.status == 0, ran.err


def test_imported_prices_say_what_they_count(cli: Cli, fleet: Path, server: ReplayServer) -> None:
    """A basis left out is the provider's only one; prices that `validate` leaves out of a chain are refused in its words."""
    start = datetime(2026, 10, 20, tzinfo=UTC)
    row = {"start_timestamp": start.timestamp() * 1000, "end_timestamp": start.timestamp() * 1000 + 3.6e6,
           "marketprice": 50.0, "unit": "Eur/MWh"}  # fmt: skip

    async def market(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [row]})

    server.answer = market
    documents = [*yaml.safe_load_all((fleet / "fleet.yaml").read_text())]
    grid = {"source": "grid", "params": {"dataset": "pjm_lmp_day_ahead_hourly", "location": "X"}}
    chains = {
        "near": [grid, {"source": "price-near", "basis": "DayAhead"}],
        "cheap": [{"source": "market"}, {"source": "agile", "params": {"product": "AGILE-24-10-01", "region": "A"}}],
    }
    for body in documents:
        if body["kind"] == "InferenceSite":
            body["spec"]["signals"]["electricityPrice"] = chains[body["metadata"]["name"]]
    for name, provider, more in (
        ("market", "Awattar", {}),
        ("agile", "OctopusAgile", {}),
        ("grid", "GridStatusIo", {"secretRef": {"name": "grid"}}),
    ):
        documents.append(ours("SignalSource", name, {"provider": provider, "baseUrl": f"http://{server.host}", **more}))
    (fleet / "fleet.yaml").write_text("---\n".join(yaml.safe_dump(body) for body in documents))
    until = (start + timedelta(hours=1)).isoformat()
    ran = cli("signals", "import", fleet, "--from", start.isoformat(), "--to", until, "--json")
    assert ran.status == 1, ran.err
    rows = {entry["source"]: entry for entry in ran.json["imported"]}
    assert (rows["market"]["new"], rows["market"]["error"]) == (1, None)
    missing, mixed = rows["grid"], rows["agile"]
    assert missing["error"].startswith("InferenceSite near: spec.signals.electricityPrice[0].basis: it names no basis")
    assert mixed["error"].startswith("InferenceSite cheap: spec.signals.electricityPrice[1].basis: its basis Retail")
    assert missing["new"] == mixed["new"] == 0
    prices = duckdb.read_parquet(f"{fleet}/recordings/*.parquet").filter("kind = 'electricityPrice'")
    assert prices.project("source, value, basis").fetchall() == [("market", 50.0, "DayAhead")]
    known = cli("validate", fleet)
    assert all(entry["error"].partition(".basis: ")[2] in known.out + known.err for entry in (missing, mixed))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "yesterday"), '--from: "yesterday" is not an ISO 8601 time'),
        (("--from", "2026-10-20T00:00Z", "--to", "2026-10-19T00:00Z"), "--from: must be before --to"),
        (
            ("--from", "2026-10-20T00:00Z", "--source", "nobody"),
            'no site or demand of a policy asks a live source "nobody"',
        ),
    ],
)
def test_a_wrong_import_is_refused(cli: Cli, fleet: Path, arguments: tuple[str, ...], words: str) -> None:
    ran = cli("signals", "import", fleet, *arguments)
    assert ran.status == 2, ran.err
    assert words in ran.err


def test_a_changed_shape_and_a_quota_are_said(
    cli: Cli, fleet: Path, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREEN_LLM_SECRET_ELECTRICITY_MAPS_TOKEN", KEY)
    plain = server.answer

    async def renamed(request: web.Request) -> web.StreamResponse:
        answer = await plain(request)
        body = bytes(answer.body).replace(b"carbonIntensity", b"intensity")  # type: ignore[attr-defined]
        return web.Response(body=body, headers={"X-RateLimit-Remaining": "41"})

    server.answer = renamed
    ran = cli("signals", "check", fleet)
    assert (
        "SignalSource carbon: its answers lack forecast[].carbonIntensity, temporalGranularity; the service" in ran.out
    )
    rows = {row["source"]: row for row in cli("signals", "check", fleet, "--json").json["sources"]}
    assert rows["carbon"]["quota"] == "41"


def test_rates_are_shown_with_their_age_and_what_guards_an_slo_is_asked(cli: Cli, fleet: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        """A Prometheus that has measured errors up to now, and no delay."""
        values = [[time.time(), "0.01"]] if "errors" in request.query["query"] else []
        result = [{"metric": {}, "values": values}] if values else []
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})

    with in_thread(answer) as servers:
        os.environ["GREEN_LLM_SIGNAL_HOSTS"] += f",{servers.host}"
        spec = {
            "provider": "Prometheus", "baseUrl": f"http://{servers.host}", "params": [{"name": "site"}],
            "prometheus": {"queries": [
                {"measure": "p95Delay", "query": 'delays{site="$site"}'}, {"measure": "errorRatio", "query": 'errors{site="$site"}'},
            ]},
        }  # fmt: skip
        documents = [*yaml.safe_load_all((fleet / "fleet.yaml").read_text()), ours("SignalSource", "servers", spec)]
        day = (datetime.now(UTC) - timedelta(days=9)).date()
        for body in documents:
            if body["kind"] == "GreenPolicy":
                body["spec"]["exchangeRates"] = [{"from": "EUR", "rate": "1.08", "asOfDate": str(day)}]
                body["spec"].setdefault("guardrails", {})["slo"] = {
                    "profiles": [{"profile": "large", "source": "servers"}]
                }
        (fleet / "fleet.yaml").write_text("---\n".join(yaml.safe_dump(body) for body in documents))
        ran = cli("signals", "check", fleet, "--json")
        assert ran.status == 1, ran.err
        found = ran.json
        assert "1 EUR is 1.08 USD as of" in cli("signals", "check", fleet).out
    (rate,) = found["exchange_rates"]
    assert (rate["from"], rate["to"], rate["rate"], rate["as_of_date"]) == ("EUR", "USD", 1.08, str(day))
    assert rate["age_days"] in (9, 10)
    rows = {(row["kind"], row["site"]): row for row in found["sources"] if row["source"] == "servers"}
    assert len(rows) == 4, "two measures of two sites"
    for site in ("near", "cheap"):
        row = next(row for (kind, where), row in rows.items() if kind == "errorRatio" and where.endswith(site))
        assert row["value"] == pytest.approx(0.01)
        row = next(row for (kind, where), row in rows.items() if kind == "p95Delay" and where.endswith(site))
        assert row["value"] is None
        assert "p95Delay" in row["error"]
