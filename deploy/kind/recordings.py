"""Moves a recorded week to the present: a ConfigMap of CSV files, for the operator, on standard output.

    python3 deploy/kind/recordings.py examples/three-sites/signals | kubectl apply --server-side -f -

Needs Python only. The recording's first seven days are repeated for the week before, this week and the next, at the same
weekday and hour (UTC); every time in a row moves with it, so nothing is known earlier than it was.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

WEEK = timedelta(days=7)
TIMES = ("start", "end", "issued_at")
NAME, NAMESPACE = "recordings", "green-llm-system"


def moved(text: str, now: datetime) -> str:
    """The recording's first week, repeated around ``now``."""
    rows = list(csv.DictReader(io.StringIO(text)))
    first = min(datetime.fromisoformat(row["start"]) for row in rows)
    week = [row for row in rows if datetime.fromisoformat(row["start"]) < first + WEEK]
    this = (now - first) // WEEK
    out = io.StringIO()
    table = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    table.writeheader()
    for number in (this - 1, this, this + 1):
        for row in week:
            times = {name: shifted(row[name], number * WEEK) for name in TIMES}
            table.writerow(row | times)
    return out.getvalue()


def shifted(text: str, by: timedelta) -> str:
    """A time moved; an empty one stays empty."""
    return f"{datetime.fromisoformat(text) + by:%Y-%m-%dT%H:%MZ}" if text else ""


def config_map(folder: Path, now: datetime) -> dict[str, object]:
    """The ConfigMap: ``KIND-SITE.csv`` for each recorded file."""
    files = sorted(folder.glob("*/*.csv"))
    if not files:
        raise SystemExit(f"{folder}: there is no KIND/SITE.csv in it")
    data = {f"{path.parent.name}-{path.name}": moved(path.read_text(encoding="utf-8"), now) for path in files}
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="directory of KIND/SITE.csv")
    json.dump(config_map(parser.parse_args().folder, datetime.now(UTC)), sys.stdout)


if __name__ == "__main__":
    main()
