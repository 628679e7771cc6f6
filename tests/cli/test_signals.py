"""``signals check``, as a user runs it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster_objects import FLEET, ours
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
