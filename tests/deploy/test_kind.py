"""The quick start, as far as it runs without kind: scripts, pins, signals, and load against a site."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from green_llm.signals.providers.csv import parse
from support.control_plane import free_port
from support.tools import needed

ROOT = Path(__file__).parents[2]
KIND = ROOT / "deploy" / "kind"
SIGNALS = ROOT / "examples" / "three-sites" / "signals"
NOW = datetime(2027, 2, 17, 9, 30, tzinfo=UTC)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


recordings = module(KIND / "recordings.py")


def scripts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    candidates = [ROOT / name for name in listed] or [*KIND.glob("*.sh")]
    return [path for path in candidates if path.is_file() and re.match(rb"#!/bin/(ba)?sh\b", path.read_bytes()[:16])]


def test_shellcheck_has_nothing_to_say() -> None:
    found = scripts()
    assert {KIND / "up.sh", KIND / "down.sh"} <= set(found)
    ran = subprocess.run([needed("shellcheck"), "-x", *found], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_everything_is_pinned() -> None:
    versions = dict(line.split("=", 1) for line in (KIND / "versions.env").read_text().splitlines() if "=" in line)
    assert re.fullmatch(r"kindest/node:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", versions["NODE_IMAGE"])
    script = (KIND / "up.sh").read_text()
    for name, value in versions.items():
        assert f"${name}" in script, name
        assert re.search(r"v\d+\.\d+\.\d+", value), name
    images = re.findall(r"image: (\S+)", "".join(path.read_text() for path in (KIND / "manifests").iterdir()))
    assert images
    for image in images:
        assert image == "green-llm:kind" or re.search(r":v?\d+\.\d+\.\d+$", image), image
    assert "releases/latest" not in script


def test_the_sites_are_told_what_their_server_understands() -> None:
    server = module(KIND / "site" / "server.py")
    text = (KIND / "manifests" / "sites.yaml").read_text()
    (containers,) = zip(
        *[d["spec"]["template"]["spec"]["containers"] for d in yaml.safe_load_all(text) if d["kind"] == "Deployment"],
        strict=True,
    )
    assert len(containers) == 3
    areas = {area["name"] for area in yaml.safe_load((KIND / "resources" / "policy.yaml").read_text())["spec"]["areas"]}
    for container in containers:
        given = dict(option.removeprefix("--").split("=", 1) for option in container["args"])
        behaviour = server.Behaviour().changed(json.loads(given["behaviour"]))
        assert set(behaviour.network_seconds) == areas
        assert behaviour.throughput_tokens_per_second == 40_000_000


def test_just_knows_both_scripts() -> None:
    text = (ROOT / "justfile").read_text()
    assert re.search(r"^kind-up:\n +deploy/kind/up\.sh$", text, re.MULTILINE)
    assert re.search(r"^kind-down:\n +deploy/kind/down\.sh$", text, re.MULTILINE)
    assert (KIND / "up.sh").stat().st_mode & 0o111
    assert (KIND / "down.sh").stat().st_mode & 0o111


def test_the_scripts_name_what_is_missing(tmp_path: Path) -> None:
    for script in ("up.sh", "down.sh"):
        ran = subprocess.run(
            ["/bin/sh", KIND / script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        assert ran.returncode != 0
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    ran = subprocess.run(
        ["/bin/sh", KIND / "up.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert "docker is not here: install it" in ran.stderr


def test_a_second_run_may_take_routes_from_the_operator() -> None:
    """Which owns their rules after its first write (docs/operator.md)."""
    assert re.search(r'apply --server-side --force-conflicts -f "\$here/manifests"', (KIND / "up.sh").read_text())


def test_every_file_that_the_scripts_name_exists() -> None:
    script = (KIND / "up.sh").read_text()
    for base, folder in (("$here", KIND), ("$root", ROOT)):
        for name in re.findall(rf'"{re.escape(base)}/([^"]+)"', script):
            assert (folder / name).exists() or name == "../..", name


def test_the_recorded_week_is_moved_to_now() -> None:
    found = recordings.config_map(SIGNALS, NOW)["data"]
    assert len(found) == 6
    assert sum(map(len, found.values())) < 900_000, "a ConfigMap holds a mebibyte"
    for name, text in found.items():
        kind, _, site = name.removesuffix(".csv").partition("-")
        table = parse(text, name)
        assert table.start.min() <= (NOW - timedelta(days=7)).timestamp()
        assert table.end.max() >= (NOW + timedelta(days=6.9)).timestamp()
        original = list(csv.DictReader(io.StringIO((SIGNALS / kind / f"{site}.csv").read_text())))
        first = datetime.fromisoformat(original[0]["start"])
        original = [row for row in original if datetime.fromisoformat(row["start"]) < first + timedelta(days=7)]
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == 3 * len(original)
        weeks = {
            (datetime.fromisoformat(new["start"]) - datetime.fromisoformat(old["start"])).total_seconds() / 604800
            for old, new in zip(original, rows, strict=False)
        }
        assert len(weeks) == 1, "the same weekday and hour"
        assert float(weeks.pop()).is_integer()
        for old, new in zip(original, rows, strict=False):
            assert (old["value"], old["unit"], old["quality"]) == (new["value"], new["unit"], new["quality"])
            if old["issued_at"]:
                lead = datetime.fromisoformat(old["start"]) - datetime.fromisoformat(old["issued_at"])
                assert datetime.fromisoformat(new["start"]) - datetime.fromisoformat(new["issued_at"]) == lead
        starts = sorted({row["start"] for row in rows})
        assert len(starts) == 21 * 24, "every hour once, without a gap between weeks"


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there is no KIND/SITE\.csv in it"):
        recordings.config_map(tmp_path, NOW)


def test_the_load_arrives_at_a_site_as_the_demand_says(tmp_path: Path) -> None:
    """The two programs of the quick start, without the gateway between them."""
    port = free_port()
    behaviour = json.dumps({"network_seconds": {"seattle": 0.001}})
    # One pair at one hour's rate: 3600 an hour is one a second; 20 times as fast, 20 a second.
    demand = yaml.safe_load((KIND / "resources" / "demand.yaml").read_text())
    (area,) = [entry for entry in demand["spec"]["areas"] if entry["name"] == "seattle"]
    area["demand"] = [{"class": "chat", "profile": {"queriesPerHour": [3600] * 24}}]
    demand["spec"]["areas"] = [area]
    (tmp_path / "demand.yaml").write_text(yaml.safe_dump(demand))
    server = subprocess.Popen(
        [sys.executable, KIND / "site" / "server.py", "--name=oregon", "--model=llama-70b", "--host=127.0.0.1",
         f"--port={port}", f"--behaviour={behaviour}"]
    )  # fmt: skip
    load = subprocess.Popen(
        [
            sys.executable,
            KIND / "site" / "load.py",
            tmp_path / "demand.yaml",
            f"http://127.0.0.1:{port}",
            "--speedup",
            "20",
        ]
    )
    try:
        deadline = time.monotonic() + 60
        finished = prompt = 0.0
        while finished < 20:
            assert time.monotonic() < deadline, f"{finished} queries were served"
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except OSError:
                continue
            finished = sum(map(float, re.findall(r"^vllm:request_success_total\{.*\} (\S+)", text, re.MULTILINE)))
            prompt = sum(map(float, re.findall(r"^vllm:prompt_tokens_total\{.*\} (\S+)", text, re.MULTILINE)))
        assert prompt >= 20 * 350, "as many tokens as the class has"
    finally:
        for process in (load, server):
            process.terminate()
            process.wait(10)
