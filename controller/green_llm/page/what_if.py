"""The document behind "What if I gave up 1 % more?": the current instance under larger tolerances.

It is computed by ``sweep``, a process of its own that yields to the planner, has a time and a memory limit, and is one
at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from green_llm.domain.instance import Instance
from green_llm.domain.plan import Objective, Order, Phase, Result, Tolerance, Values
from green_llm.errors import InvalidInputError
from green_llm.page.words import NAMES, per_cent, unit_of
from green_llm.services.outcome import Outcome
from green_llm.services.tolerances import over_time
from green_llm.services.wording import number

EXTRA_PERCENT = (1.0, 2.0, 0.5, 5.0, 10.0)
"""Added to the tolerance; in the order in which they are computed: the question first."""
YIELDS = 10
"""Of a busy processor it gets a tenth of what the planner gets: enough to answer in time, too little to be felt."""
GRACE_SECONDS = 10.0
"""For a process that starts, and ends by its own time limit."""
SHOWN = (Objective.COST, Objective.EMISSIONS, Objective.WATER, Objective.DELAY)


@dataclass(frozen=True, kw_only=True)
class Worth:
    """One objective over the horizon."""

    name: str
    unit: str
    value: float | None
    """None where only the difference means something: marginal emissions."""
    difference: float
    """Against the plan as it is."""
    change: float | None
    """The same as a share of it; None where that is 0 or no amount."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The plan under one tolerance."""

    tolerance_percent: float
    """What this plan may give up, of the objective's optimum."""
    extra_percent: float
    """0: the plan as it is."""
    termination: str
    worth: tuple[Worth, ...]


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The answer."""

    policy: str
    at: datetime
    objective: str
    """Which one's tolerance is swept."""
    choices: tuple[str, ...]
    """The objectives that have others after them."""
    state: str
    """``not_asked``, ``busy`` (somebody else's question is being answered), ``done``, ``partial`` or ``failed``."""
    words: str
    scenarios: tuple[Scenario, ...]
    """By tolerance."""
    seconds: float


class WhatIfs:
    """Answers, one at a time and once per plan."""

    def __init__(self, time_limit_s: float = 30.0, memory_bytes: int = 536_870_912, yields: int = YIELDS) -> None:
        """``memory_bytes`` is what the process of an answer may allocate, ``yields`` its niceness (0 … 19)."""
        self._limits = {"time_limit_s": time_limit_s, "memory_bytes": memory_bytes, "yields": yields}
        self._time_limit_s = time_limit_s
        self._answers: dict[tuple[str, Objective], tuple[Result, WhatIf]] = {}
        self._busy = False

    async def answer(self, outcome: Outcome, objective: str | None, *, ask: bool) -> WhatIf:
        """The answer for a plan: known, or computed where ``ask`` says so.

        Raises:
            InvalidInputError: there is no plan, or the objective is none that has others after it.
        """
        if outcome.result is None or outcome.instance is None:
            raise InvalidInputError(f"policy {outcome.policy.name} has no plan now: {outcome.error}")
        chosen = _chosen(outcome.policy.order, objective)
        known = self._answers.get((outcome.policy.name, chosen))
        if known is not None and known[0] is outcome.result:
            return known[1]
        if not ask:
            return _document(outcome, chosen, "not_asked", "Not asked yet.", {}, 0.0)
        if self._busy:
            return _document(
                outcome, chosen, "busy", "Another question is being answered; ask again in a moment.", {}, 0
            )
        self._busy = True
        try:
            found = await self._compute(outcome, outcome.instance, chosen)
        finally:
            self._busy = False
        if found.state == "done":
            self._answers[outcome.policy.name, chosen] = (outcome.result, found)
        return found

    async def _compute(self, outcome: Outcome, instance: Instance, objective: Objective) -> WhatIf:
        begun = time.perf_counter()
        question = asked(instance, [_order(outcome, objective, extra) for extra in EXTRA_PERCENT], self._limits)
        found: dict[float, tuple[str, Values]] = {}
        trouble = ""
        try:
            async with asyncio.timeout(self._time_limit_s + GRACE_SECONDS):
                async for line in _lines(question):
                    if "error" in line:
                        trouble = str(line["error"])
                    else:
                        extra = EXTRA_PERCENT[line["order"]]
                        found[extra] = (str(line["termination"]), Values(**line["values"]))
        except TimeoutError:
            trouble = f"time was up after {self._time_limit_s:g} s"
        state = "done" if len(found) == len(EXTRA_PERCENT) else "partial" if found else "failed"
        words = _answer(outcome, objective, found)
        if trouble:
            words = f"{words} Not everything was computed: {trouble}."
        return _document(outcome, objective, state, words.strip(), found, time.perf_counter() - begun)


def asked(instance: Instance, orders: Sequence[Sequence[Mapping[str, Any]]], limits: Mapping[str, Any]) -> bytes:
    """The question as the process reads it: a line of JSON, then the instance.

    Pickled, since it goes to a process of our own: its arrays are copied as they are. As JSON it would keep the planner from
    its interpreter for a second and more.
    """
    head = json.dumps({"orders": orders, **limits})
    return head.encode() + b"\n" + pickle.dumps(instance, protocol=pickle.HIGHEST_PROTOCOL)


async def _lines(question: bytes) -> AsyncIterator[dict[str, Any]]:
    """What the process says, a line of JSON each; it is ended with the iteration."""
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "green_llm.page.sweep",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=known,
        limit=1 << 20,
    )  # fmt: skip
    try:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(question)
                await process.stdin.drain()
            process.stdin.close()
        while process.stdout is not None and (line := await process.stdout.readline()):
            yield json.loads(line)
        status = await process.wait()
        if status:
            yield {
                "error": f"its process ended with status {status}; the model may need more memory than it is allowed"
            }
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _chosen(order: Order, objective: str | None) -> Objective:
    choices = order.objectives[:-1] or order.objectives
    if objective is None:
        return choices[0]
    found = next((choice for choice in choices if choice.value == objective), None)
    if found is None:
        known = ", ".join(choice.value for choice in choices)
        raise InvalidInputError(f'"{objective}" is no objective with others after it; take one of: {known}')
    return found


def _order(outcome: Outcome, objective: Objective, extra_percent: float) -> list[dict[str, Any]]:
    """The order of the plan with a larger tolerance of one objective, as JSON; what tolerances have used so far counts."""
    order = outcome.policy.order
    if outcome.ledger is not None:
        order = over_time(order, outcome.ledger)
    found = []
    for name, tolerance in zip(order.objectives, order.tolerances, strict=True):
        phase = _phase(outcome, name)
        wider = tolerance
        if name is objective and phase is not None:
            more = extra_percent / 100.0 * abs(phase.optimum)
            wider = Tolerance(absolute=tolerance.budget(phase.optimum) - phase.optimum + more)
        found.append({"objective": name.value, "tolerance": asdict(wider)})
    return found


def _phase(outcome: Outcome, objective: Objective) -> Phase | None:
    phases = outcome.result.phases if outcome.result else ()
    return next((phase for phase in phases if phase.objective is objective), None)


def _tolerance_percent(outcome: Outcome, objective: Objective) -> float:
    """What this plan may give up of an objective, in per cent of its optimum."""
    order, phase = outcome.policy.order, _phase(outcome, objective)
    if phase is None or phase.budget is None or not phase.optimum:
        return order.tolerances[order.objectives.index(objective)].relative * 100.0
    return 100.0 * (phase.budget - phase.optimum) / abs(phase.optimum)


def _document(
    outcome: Outcome,
    objective: Objective,
    state: str,
    words: str,
    found: Mapping[float, tuple[str, Values]],
    seconds: float,
) -> WhatIf:
    order = outcome.policy.order
    scenarios = []
    if found and outcome.result is not None:
        everything = {0.0: (outcome.result.termination.value, outcome.result.values), **found}
        tolerance = _tolerance_percent(outcome, objective)
        scenarios = [
            Scenario(
                tolerance_percent=tolerance + extra,
                extra_percent=extra,
                termination=termination,
                worth=tuple(_worth(outcome, name, values, outcome.result.values) for name in SHOWN),
            )
            for extra, (termination, values) in sorted(everything.items())
        ]
    return WhatIf(
        policy=outcome.policy.name,
        at=outcome.now,
        objective=objective.value,
        choices=tuple(choice.value for choice in order.objectives[:-1] or order.objectives),
        state=state,
        words=words,
        scenarios=tuple(scenarios),
        seconds=seconds,
    )


def _worth(outcome: Outcome, name: Objective, values: Values, before: Values) -> Worth:
    amounts = name is not Objective.EMISSIONS or outcome.policy.takes_inventory
    value, reference = values.of(name), before.of(name)
    return Worth(
        name=NAMES[name],
        unit=unit_of(name, outcome),
        value=value if amounts else None,
        difference=value - reference,
        change=(value - reference) / abs(reference) if amounts and reference else None,
    )


def _answer(outcome: Outcome, objective: Objective, found: Mapping[float, tuple[str, Values]]) -> str:
    """What 1 % more would bring, in a sentence."""
    if 1.0 not in found or outcome.result is None:
        return ""
    worths = [_worth(outcome, name, found[1.0][1], outcome.result.values) for name in SHOWN if name is not objective]
    own = _worth(outcome, objective, found[1.0][1], outcome.result.values)
    changes = [
        f"{worth.name} would {'fall' if worth.difference < 0 else 'rise'} by {number(abs(worth.difference))} {worth.unit}"
        + (f" ({per_cent(worth.change)})" if worth.change is not None else "")
        for worth in worths
        if abs(worth.difference) > 1e-6 * max(1.0, abs(worth.value or 0.0))
    ]
    if not changes:
        return f"Giving up 1 % more {own.name} would change nothing else."
    used = f" ({per_cent(own.change)})" if own.change is not None else ""
    return f"Giving up 1 % more {own.name}{used}: {', '.join(changes)}, over the horizon."
