"""The committed dashboards: their panels, and their queries with Grafana's variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "charts" / "green-llm"
BOARDS = ("overview", "site", "operator")
RULES = CHART / "rules" / "green-llm.yaml"


@dataclass(frozen=True)
class Target:
    """One query of a panel."""

    board: str
    panel: str
    ref: str
    expr: str
    legend: str

    def filled(self, rate_interval: str = "5m", whole_range: str = "1h", **variables: str) -> str:
        """The query as Grafana sends it; a variable that is not given stands for everything."""
        text = self.expr.replace("$__rate_interval", rate_interval).replace("$__range", whole_range)
        return re.sub(r"\$(\w+)", lambda found: variables.get(found[1], ".+"), text)


def document(board: str) -> dict[str, Any]:
    """A dashboard's JSON."""
    found: dict[str, Any] = json.loads((CHART / "dashboards" / f"{board}.json").read_text(encoding="utf-8"))
    return found


def panels(board: str) -> list[dict[str, Any]]:
    """Its panels, without the headings."""
    return [panel for panel in document(board)["panels"] if panel["type"] != "row"]


def targets() -> Iterator[Target]:
    """Every query of every dashboard."""
    for board in BOARDS:
        for panel in panels(board):
            for entry in panel["targets"]:
                yield Target(board, panel["title"], entry["refId"], entry["expr"], entry.get("legendFormat", ""))


def selectors(expr: str) -> list[tuple[str, str]]:
    """Metrics of ours (or recorded ones) in an expression, each with its matchers."""
    return re.findall(r"\b((?:policy:)?greenllm_[a-z_]+(?::\w+)?)(\{[^}]*\})?", expr)
