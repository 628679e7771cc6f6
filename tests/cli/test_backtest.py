"""``green-llm backtest`` as a user meets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.conftest import Run

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-sites"
HALF_DAY = ("--from", "2026-10-29T00:00Z", "--to", "2026-10-29T12:00Z", "--interval", "3600", "--against", "nearest")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "demo"))


def test_it_says_what_was_saved_and_changes_nothing(cli: Run, directory: Path) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    ran = cli("backtest", directory, *HALF_DAY, "--json", "--processes", "2")
    assert ran.status == 0, ran.err
    found = ran.json
    assert found["format"] == "green-llm-backtest/1"
    assert found["intervals"] == 12
    assert set(found["methods"]) == {"ours", "nearest"}
    assert found["methods"]["ours"]["emissions_kg"] < found["methods"]["nearest"]["emissions_kg"]
    assert found["methods"]["ours"]["queries"] == pytest.approx(found["methods"]["nearest"]["queries"])
    assert found["savings"]["nearest"]["emissions_kg"]["percent"] > 0
    assert found["savings"]["nearest"]["cost"]["low_percent"] is None
    for objective, measure in (("cost", "cost"), ("emissions", "emissions_kg"), ("water", "water_l")):
        assert found["bounds"][objective]["value"] <= found["methods"]["ours"][measure]
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_it_prints_tables(cli: Run, directory: Path) -> None:
    ran = cli("backtest", directory, *HALF_DAY, "--no-bounds", "--processes", "1", "--against", "nearest,foresight")
    assert ran.status == 0, ran.err
    assert "ours saves against" in ran.out
    named = {line.split()[0] for line in ran.out.splitlines() if line.strip()}
    assert {"ours", "foresight", "nearest"} <= named, "nothing is shortened"
    assert "too few days for intervals: 0 whole ones, 28 are needed" in ran.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "closest"], '--against: "closest" is unknown (known: foresight, static'),
        (["--static", "oregon=0.5"], "--static: shares sum to 0.5, not 1"),
        (["--static", "mars=1"], '--static: "mars" is no site (known: iowa, oregon, virginia)'),
        (["--interval", "1000"], "--interval: 1000 s neither divides the slot of 3600 s"),
        (["--policy", "other"], 'there is no GreenPolicy "other" (known: default)'),
        (["--from", "2027-01-01", "--to", "2026-01-01"], "leave no interval"),
        (["--weights", "cost=much"], '--weights: "cost=much" must be NAME=NUMBER'),
    ],
)
def test_wrong_options_are_one_message(cli: Run, options: list[str], message: str) -> None:
    ran = cli("backtest", EXAMPLE, *options)
    assert ran.status == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1


PICK = ("what-if", "--set", "demand=2", "--pick")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("backtest", "--report", "missing/out.html"), "--report: missing/out.html: cannot be written: No such file"),
        (("backtest", "--report", "/dev/null/out.html"), "--report: /dev/null/out.html: cannot be written: Not a dir"),
        (("backtest", "--report", "/"), "--report: /: cannot be written: Is a directory;"),
        (("backtest", "--report", "/proc/out.html"), "--report: /proc/out.html: cannot be written: "),
        (("what-if", "--set", "demand=2", "--report", "missing/out.html"), "cannot be written: No such file"),
        ((*PICK, "gold"), '--pick: "gold" is unknown (known: cost,'),
        ((*PICK, "cost", "--to", "2026-10-29T04:00Z"), "--pick: two days at least are needed"),
    ],
)
def test_what_would_fail_in_the_end_is_said_before_anything_runs(
    cli: Run, directory: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], message: str
) -> None:
    def ran_all_the_same(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("green_llm.backtest.parallel.run_jobs", ran_all_the_same)
    ran = cli(command[0], directory, "--from", "2026-10-29T00:00Z", *command[1:])
    assert ran.status == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_directory_that_keeps_nothing_is_said_first(cli: Run, directory: Path) -> None:
    (directory / "state").write_text("no folder", encoding="utf-8")
    ran = cli("backtest", directory, *HALF_DAY)
    assert ran.status == 1
    assert (
        "state/backtest: the state of the back-test cannot be kept: Not a directory; copy the directory to" in ran.err
    )
    assert len(ran.err.splitlines()) == 1


def test_what_was_done_is_kept_until_it_has_been_said(
    cli: Run, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    options = (*HALF_DAY, "--no-bounds", "--processes", "1", "--report", folder / "out.html")
    said: list[object] = []

    def full(*_: object) -> str:
        said.append(sorted(path.suffix for path in (directory / "state" / "backtest").iterdir()))
        shutil.rmtree(folder)
        return ""

    with monkeypatch.context() as patch:
        patch.setattr("green_llm.backtest.report.report", full)
        ran = cli("backtest", directory, *options)
        assert ran.status == 1
        assert "out.html: cannot be written: No such file or directory; what was run is kept" in ran.err
    folder.mkdir()
    assert said == [[".json", ".shares"]]
    told: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr("green_llm.services.planning.Planning.reconcile", lambda *_: told.append(1))
        assert cli("backtest", directory, *options).status == 0
    assert not told, "nothing is decided again"
    assert not list((directory / "state" / "backtest").iterdir())


def test_a_report_is_written_beside_what_is_printed(cli: Run, directory: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    ran = cli("backtest", directory, *HALF_DAY, "--no-bounds", "--processes", "1", "--report", page)
    assert ran.status == 0, ran.err
    assert "Synthetic: modelled on synthetic inputs" in ran.out
    assert "<h1>Back-test of default</h1>" in page.read_text(encoding="utf-8")


def test_what_if_stands_beside_what_is(cli: Run, directory: Path) -> None:
    days = ("--from", "2026-10-29T00:00Z", "--to", "2026-10-29T04:00Z", "--interval", "3600", "--processes", "1")
    ran = cli("what-if", directory, *days, "--set", "demand=2", "--json")
    assert ran.status == 0, ran.err
    found = ran.json["scenarios"]
    assert set(found) == {"as it is", "demand=2"}
    assert found["demand=2"]["queries"] == pytest.approx(2 * found["as it is"]["queries"])
    assert found["demand=2"]["saves"]["energy_kwh"]["amount"] < 0
    sweep = directory / "sweep.yaml.txt"
    sweep.write_text("tolerance.Cost: [0, 50]\n", encoding="utf-8")
    page = directory / "out.html"
    ran = cli("what-if", directory, *days, "--sweep", sweep, "--report", page)
    assert ran.status == 0, ran.err
    assert "tolerance.Cost=50" in ran.out
    for text in ("<h1>What if: default</h1>", "tolerance.Cost=50", "Pareto front", "Synthetic"):
        assert text in page.read_text(encoding="utf-8")
    for options, message in (([], "what is to be different?"), (["--set", "demand=0"], "must be a number above 0")):
        ran = cli("what-if", directory, *days, *options)
        assert ran.status == 2
        assert message in ran.err
    (directory / "sweep.yaml.txt").write_bytes(b"\xff\xfe")
    ran = cli("what-if", directory, *days, "--sweep", sweep)
    assert ran.status == 2
    assert "sweep.yaml.txt: cannot be read: 'utf-8' codec" in ran.err
