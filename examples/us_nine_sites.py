"""Back-tests ``us-nine-sites`` hourly over its 42 SYNTHETIC days, and puts what came out into the README.

    python examples/us_nine_sites.py                 # runs the back-test, then writes table and plot
    python examples/us_nine_sites.py --from FILE     # from what `green-llm backtest … --json` printed
    python examples/us_nine_sites.py --days 366 --work DIR   # a year of such signals in DIR: prints JSON and writes DIR.html

The recipe ``just figures`` runs it. A back-test in DIR that was interrupted goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import make_signals  # noqa: E402

README, PLOT = HERE.parent / "README.md", HERE / "us-nine-sites.svg"
OPTIONS = ("--interval", "3600", "--against", "static,nearest,uniform", "--json")
GUARDRAILS = "maxShiftPercent: 30"
BEGIN, END = "<!-- us-nine-sites: made by examples/us_nine_sites.py -->", "<!-- end of us-nine-sites -->"
BEFORE = "## What is measured"
ROWS = (("cost", "cost"), ("emissions_kg", "emissions"), ("water_l", "water on and off site"), ("energy_kwh", "energy"))


def back_test(copy: Path, days: int | None = None, *more: str) -> dict[str, Any]:
    """What ours and the baselines come to, on a copy whose weights may move as far as a plan asks; ``days`` makes others.

    The example's ramp is meant for a plan every five minutes: at one an hour, a third of the traffic per write, the weights in
    force would lag behind the plan and exceed capacities that it keeps.
    """
    if not copy.exists():
        make(copy, days)
    command = [sys.executable, "-m", "green_llm", "backtest", str(copy), *OPTIONS, *more]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def make(copy: Path, days: int | None) -> None:
    """The example with its guardrail open and, where asked, other signals."""
    half = copy.with_name(f"{copy.name}.tmp")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(HERE / "us-nine-sites", half, ignore=shutil.ignore_patterns("state"))
    policy = half / "policy.yaml"
    text = policy.read_text(encoding="utf-8")
    if GUARDRAILS not in text:
        raise SystemExit(f"{policy}: there is no `{GUARDRAILS}` to open; say here what it has become")
    policy.write_text(text.replace(GUARDRAILS, "maxShiftPercent: 100"), encoding="utf-8")
    if days is not None:
        for path, made in make_signals.files(days):
            if path.is_relative_to(HERE / "us-nine-sites"):
                (half / path.relative_to(HERE / "us-nine-sites")).write_text(made, encoding="utf-8", newline="")
    half.rename(copy)


def broken(values: dict[str, Any]) -> str:
    """In how many hours a limit was broken."""
    return ", ".join(f"{entry['limit']} in {entry['intervals']} h" for entry in values["broken"]) or "none"


def saving(entry: dict[str, Any]) -> str:
    """A saving with its interval."""
    if entry["low_percent"] is None:
        return f"{entry['percent']:+.1f} % (too few days)"
    return f"{entry['percent']:+.1f} % [{entry['low_percent']:+.1f}, {entry['high_percent']:+.1f}]"


def table(found: dict[str, Any]) -> str:
    """What ours saves against each baseline, as Markdown."""
    names = list(found["savings"])
    heads = [
        f"{name}{' (breaks limits)' if found['savings'][name]['cost']['against_infeasible'] else ''}" for name in names
    ]
    lines = [f"| saved against | {' | '.join(heads)} |", "|---|" + "---|" * len(names)]
    for key, label in ROWS:
        lines.append(f"| {label} | {' | '.join(saving(found['savings'][name][key]) for name in names)} |")
    ours = found["methods"]["ours"]
    delays = [ours, *(found["methods"][name] for name in names)]
    ms = ", ".join(
        f"{name} {1000 * values['mean_delay_s']:.0f} ms (p95 {1000 * values['p95_delay_s']:.0f})"
        for name, values in zip(["ours", *names], delays, strict=True)
    )
    limits = "; ".join(f"{name} {broken(found['methods'][name])}" for name in ["ours", *names])
    return "\n".join([*lines, "", f"Mean delay by the model: {ms}. Limits broken: {limits}."])


def section(found: dict[str, Any]) -> str:
    """The part of the README."""
    days = len(found["methods"]["ours"]["by_day"]["cost"])
    return f"""{BEGIN}
**SYNTHETIC signals**: modelled differences over {days} days (`just figures`), nothing that anyone has saved. Below 0: ours
takes more. In brackets: 95 % interval, days drawn in pairs.

{table(found)}

![What ours saves so far against three baselines, in per cent; synthetic signals](examples/{PLOT.name})
{END}"""


def plot(found: dict[str, Any], path: Path) -> None:
    """Savings so far, in per cent of the baseline so far."""
    mpl.rcParams.update({"svg.hashsalt": "green-llm", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", sharex=True)
    ours = found["methods"]["ours"]["by_day"]
    for axis, (measure, label) in zip(axes, ROWS[:3], strict=True):
        for name in found["savings"]:
            theirs = list(accumulate(found["methods"][name]["by_day"][measure]))
            mine = accumulate(ours[measure])
            axis.plot([100.0 * (b - o) / abs(b) for b, o in zip(theirs, mine, strict=True)], label=f"against {name}")
        axis.axhline(0.0, linewidth=0.8, color="black")
        axis.set_title(f"{label}, % saved so far", fontsize=9)
        axis.set_xlabel("day")
    axes[0].legend(fontsize=8)
    figure.suptitle("us-nine-sites, SYNTHETIC signals", fontsize=9)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def main() -> int:
    """Run, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="file", type=Path, help="what the back-test has printed, instead of running it")
    parser.add_argument("--days", type=int, help="so many days of signals, made in --work; the README stays as it is")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where --days makes and back-tests them")
    asked = parser.parse_args()
    file = asked.file
    if (asked.days is None) != (asked.work is None):
        parser.error("--days and --work belong together")
    if asked.work is not None:
        found = back_test(asked.work, asked.days, "--report", f"{asked.work}.html")
        print(json.dumps(found, indent=1))
        return 0
    if file is None:
        with tempfile.TemporaryDirectory() as folder:
            found = back_test(Path(folder) / "nine")
    else:
        found = json.loads(file.read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    if BEGIN not in text:
        text = text.replace(BEFORE, f"## What it would save\n\n{BEGIN}{END}\n\n{BEFORE}", 1)
    before, _, rest = text.partition(BEGIN)
    README.write_text(before + section(found) + rest.partition(END)[2], encoding="utf-8")
    plot(found, PLOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
