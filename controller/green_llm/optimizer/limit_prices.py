"""Prices of limits, and what a share costs at them: what tells which sites are worth being columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.optimizer.block_programme import Data
from green_llm.optimizer.units import Terms


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of limits: what one more unit of each would save. Of a block, or put together of the whole horizon."""

    balance: FloatArray
    """[J,T] per kWh of facility energy; negative where P^g = P^d binds."""
    capacity: FloatArray
    """[R,J,T] per resource unit; ≥ 0 as those below but where both sides are to be kept."""
    delay: FloatArray
    """[n] per second, by limited triple."""
    coupling: FloatArray
    """[m] per unit of the row's terms."""

    def of_slots(self, slots: slice) -> Prices:
        """Those of some slots; none of delay limits and coupling rows."""
        return Prices(self.balance[:, slots], self.capacity[:, :, slots], np.empty(0), np.empty(0))


def reduced_costs(data: Data, total: Terms, prices: Prices) -> FloatArray:
    """[U,J] of one full share under an objective and prices of limits; inf where it may not go."""
    found = data.energy * data.by_unit(total.facility[:, data.slots] + prices.balance)
    if total.delay:
        found += total.delay * data.delay
    for use, price in zip(data.use, prices.capacity, strict=True):
        if price.any():
            found += use * data.by_unit(price)
    if total.names is not None:
        found += total.names[data.units]
    if len(prices.delay) and prices.delay.any():
        np.add.at(found, data.limited_unit, prices.delay[:, None] * data.limited_seconds)
    if not data.serving.all():
        found[~data.serving] = np.inf
    return found
