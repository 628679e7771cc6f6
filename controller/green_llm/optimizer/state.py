"""Where the fast path left off: candidates, basis statuses and prices, for the next phase and the next interval."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from green_llm.domain.instance import BoolArray, Instance
from green_llm.optimizer.layout import IndexArray
from green_llm.optimizer.units import Units

LOWER, BASIC, UPPER = 0, 1, 2
Codes = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class State:
    """Where a block left off, whole horizon: blocks hold views of it."""

    candidates: BoolArray
    """[U,J]."""
    share: Codes
    """[U,J] basis statuses; so the next four."""
    grid: Codes
    """[J,T]."""
    balance: Codes
    """[J,T]."""
    capacity: Codes
    """[R,J,T]."""
    delay: Codes
    """[n] by triple."""
    coupling: list[int] = field(default_factory=list)
    multipliers: list[float] = field(default_factory=list)
    """Prices of the coupling rows."""
    former: list[float] = field(default_factory=list)
    """What the phase before had found of them."""

    @classmethod
    def new(cls, instance: Instance, units: Units) -> State:
        """No candidates; every slack in the basis."""
        sites, slots = len(instance.sites), instance.slots
        shape, cells = units.delay.shape, (sites, slots)
        basic = np.int8(BASIC)
        return cls(
            candidates=np.zeros(shape, dtype=bool), share=np.zeros(shape, dtype=np.int8),
            grid=np.zeros(cells, dtype=np.int8), balance=np.full(cells, basic),
            capacity=np.full((len(instance.resources), *cells), basic), delay=np.full(len(units.of_triple), basic),
        )  # fmt: skip

    def copy(self) -> State:
        """The same, on its own."""
        return State(
            self.candidates.copy(), self.share.copy(), self.grid.copy(), self.balance.copy(), self.capacity.copy(),
            self.delay.copy(), list(self.coupling), list(self.multipliers), list(self.former),
        )  # fmt: skip

    def carried(self, instance: Instance, old: Units, new: Units, shift: int) -> State:
        """The state for the units of a later interval whose slot t was slot t + shift."""
        found = State.new(instance, new)
        last = instance.slots - 1
        slots = np.minimum(np.arange(instance.slots) + shift, last)
        of_unit = _places(old.keys, old.slots, new.keys, slots[new.slots])
        known = np.nonzero(of_unit >= 0)[0]
        found.candidates[known], found.share[known] = self.candidates[of_unit[known]], self.share[of_unit[known]]
        found.grid[:], found.balance[:] = self.grid[:, slots], self.balance[:, slots]
        found.capacity[:] = self.capacity[:, :, slots]
        was, now, classes = old.triples, new.triples, len(instance.classes)
        of_triple = _places(
            was.areas * classes + was.classes, was.slots, now.areas * classes + now.classes, slots[now.slots]
        )
        found.delay[:] = np.where(of_triple >= 0, self.delay[of_triple], BASIC)
        found.candidates[:] &= new.serving
        found.coupling.extend(self.coupling)
        found.multipliers.extend(self.multipliers)
        found.former.extend(self.former)
        return found


def _places(old_keys: IndexArray, old_slots: IndexArray, keys: IndexArray, slots: IndexArray) -> IndexArray:
    """Where each (slot, key) is among the old ones, which are sorted; -1 where it is not."""
    many = int(max(old_keys.max(initial=0), keys.max(initial=0))) + 1
    known, wanted = old_slots * many + old_keys, slots * many + keys
    at = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
    return np.where(known[at] == wanted, at, -1) if len(known) else np.full(len(wanted), -1)
