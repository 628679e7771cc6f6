"""The share of each site over time as a price changes: ``PYTHONPATH=tests python -m support.traffic.plot RECORD PICTURE``.

A record is what ``test_changes.py`` leaves in the file that ``GREEN_LLM_TRAFFIC_RECORD`` names. Needs the group ``plot``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.traffic.load import Answer

BIN_SECONDS = 0.25
COLOURS = {"near": "#4477aa", "cheap": "#66c2a5"}
"""Of the sites that the price moves traffic between."""


def record(path: str, answers: Sequence[Answer], prices: Sequence[tuple[float, float]]) -> None:
    """Keep when each request was sent and to which site, and when the price of ``near`` changed; times from the first."""
    start = min(answer.sent for answer in answers)
    document = {
        "requests": [[round(answer.sent - start, 3), answer.site] for answer in answers],
        "prices": [[round(moment - start, 3), price] for moment, price in prices],
    }
    Path(path).write_text(json.dumps(document))


def draw(document: Any, picture: Path) -> None:
    """Stacked shares by site; a line where the price changes."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra that only this picture needs
    import matplotlib.pyplot as plt  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    mpl.rcParams |= {"svg.hashsalt": "green-llm", "svg.fonttype": "none"}
    end = document["prices"][-1][0] + 1.5
    edges = np.arange(0.0, end + BIN_SECONDS, BIN_SECONDS)
    by_site = [
        np.histogram([sent for sent, at in document["requests"] if at == site], edges)[0].astype(float)
        for site in COLOURS
    ]
    shares = np.array(by_site) / np.maximum(1.0, np.sum(by_site, axis=0))
    figure, axis = plt.subplots(figsize=(9, 3))
    axis.stackplot(edges[:-1], 100 * shares, labels=list(COLOURS), colors=list(COLOURS.values()), step="post")
    for moment, price in document["prices"]:
        axis.axvline(moment, color="#aa3377", linewidth=1.0)
        axis.text(moment, 101, f"{price:g}", color="#aa3377", fontsize=7, ha="center")
    axis.set(xlim=(0, end), ylim=(0, 100), xlabel="time, s", ylabel="share of requests, %")
    axis.set_title("price of near, USD/MWh (that of cheap is 40)", fontsize=8, color="#aa3377", pad=14)
    axis.legend(loc="lower right", ncols=len(COLOURS), fontsize=8)
    figure.savefig(picture, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
