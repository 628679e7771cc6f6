"""Writes the Grafana dashboards of the chart, or with ``--check`` fails where a committed one differs.

python deploy/dashboards/build.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from boards import BOARDS
from grafana_foundation_sdk.cog.encoder import JSONEncoder

CHART = Path(__file__).parents[2] / "charts" / "green-llm" / "dashboards"


def main() -> int:
    """Write or check every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    check = parser.parse_args().check
    changed = []
    for name, make in BOARDS.items():
        path = CHART / f"{name}.json"
        board = make().build()
        for number, panel in enumerate(board.panels or [], start=1):
            panel.id_val = number
        text = json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(path.name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(f"{'differ' if check else 'written'}: {', '.join(changed) or 'none'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
