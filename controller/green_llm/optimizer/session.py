"""What stays alive between the intervals of one policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import highspy

from green_llm.domain.instance import Instance
from green_llm.optimizer.kernel import refill
from green_llm.optimizer.layout import Layout, layout
from green_llm.optimizer.planner import Planner
from green_llm.optimizer.solver import Solver
from green_llm.optimizer.standard_form import StandardForm

ROOM = 1.25
"""How much uses and delays may grow between intervals before the programme's rows change and bases are lost."""


@dataclass
class Session:
    """A live solver and where it left off: hand it to every solve of the same policy to start warm.

    Not for use by two threads at once.
    """

    solver: Solver = field(default_factory=Solver)
    planner: Planner | None = field(default_factory=Planner)
    """The fast path; None: every instance is solved as one whole programme."""
    _layout: Layout | None = None
    _bases: dict[tuple[str, ...], list[highspy.HighsBasis]] = field(default_factory=dict)
    _current: list[highspy.HighsBasis] = field(default_factory=list)

    def form(self, instance: Instance, *, relaxed: bool = False) -> StandardForm:
        """The whole programme of an instance."""
        if self._layout is None or not self._layout.covers(layout(instance)):
            self._layout, self._bases = layout(instance, room=ROOM), {}
        return refill(instance, self._layout, relaxed=relaxed)

    def begin(self, form: StandardForm, stages: Sequence[str]) -> None:
        """Load a programme; the bases of the same stages in the last interval are there to start from."""
        self._current = self._bases.setdefault(tuple(stages), [])
        self.solver.load(form)

    def start(self, phase: int) -> bool:
        """Start a phase from its basis of the last interval, where there is one."""
        if phase >= len(self._current):
            return False
        self.solver.start_from(self._current[phase])
        return True

    def remember(self, phase: int) -> None:
        """Keep the basis a phase ended with."""
        self._current[phase : phase + 1] = [self.solver.basis()]
