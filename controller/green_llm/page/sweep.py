"""The process that solves one instance under several orders: ``python -m green_llm.page.sweep``.

On standard input come a line of JSON and the instance (``what_if.asked``); on standard output go lines of JSON.

It gives way to the planner: a low priority, and limits on time and memory that cannot touch the process that asked.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import time
from dataclasses import asdict
from typing import Any


def main() -> int:
    """Answer the question on standard input."""
    begun = time.monotonic()
    question = json.loads(sys.stdin.buffer.readline())
    os.nice(int(question["yields"]))
    limit = int(question["memory_bytes"])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        _answer(question, begun + float(question["time_limit_s"]))
    except MemoryError:
        _say({"error": f"it needs more than {limit / 1e6:.0f} MB of memory"})
    return 0


def _answer(question: Any, deadline: float) -> None:
    from green_llm.errors import GreenLLMError  # noqa: PLC0415 - within the limit of memory

    try:
        _solve(question, deadline)
    except GreenLLMError as error:
        _say({"error": str(error)})
    except (pickle.UnpicklingError, EOFError):
        _say({"error": "the instance has not come whole"})


def _solve(question: Any, deadline: float) -> None:
    from green_llm.domain.plan import Objective, Order  # noqa: PLC0415
    from green_llm.optimizer import Session, optimize  # noqa: PLC0415

    instance = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that has started this one
    session = Session()
    for place, entries in enumerate(question["orders"]):
        left = deadline - time.monotonic()
        if left <= 0:
            _say({"error": "time was up"})
            return
        order = Order(
            tuple(Objective(entry["objective"]) for entry in entries),
            tuple(_tolerance(entry["tolerance"]) for entry in entries),
        )
        result = optimize(instance, order, time_limit_s=left, session=session)
        _say({"order": place, "termination": result.termination.value, "values": asdict(result.values)})


def _tolerance(found: Any) -> Any:
    from green_llm.domain.plan import Spent, Tolerance  # noqa: PLC0415

    spent = None if found["spent"] is None else Spent(**found["spent"])
    return Tolerance(found["relative"], found["absolute"], spent)


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
