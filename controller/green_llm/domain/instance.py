"""The numbers of one optimisation: the parameters of the Green-LLM model, checked and frozen.

Symbols and equations: Cheng & Nguyen, arXiv 2507.09942. Names are those of the instance file format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Pair = tuple[int, int]
"""(area index, class index)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Instance:
    """Parameters of the model. Axes: I areas, J sites, K classes, T slots, R resources.

    Arrays are read-only. Optional fields carry their neutral value where a file or caller leaves them out, so that
    nobody has to ask whether they are there. ``green_llm.domain.instance_file`` reads one from a file and checks it.
    """

    name: str
    slot_hours: float
    areas: tuple[str, ...]
    sites: tuple[str, ...]
    classes: tuple[str, ...]
    resources: tuple[str, ...]
    slots: int

    demand: FloatArray
    """λ [I,K,T], queries per slot."""
    input_tokens: FloatArray
    """h [K], tokens per query."""
    output_tokens: FloatArray
    """f [K], tokens per query."""
    delay_penalty: FloatArray
    """ρ [K], $/s."""
    energy_per_input_token: FloatArray
    """τ_in [J,K], kWh/token (a [K] field of a file is repeated for every site)."""
    energy_per_output_token: FloatArray
    """τ_out [J,K], kWh/token."""
    electricity_price: FloatArray
    """c [J,T], $/kWh; may be negative."""
    carbon_intensity: FloatArray
    """θ [J,T], kgCO2/kWh."""
    carbon_price: FloatArray
    """δ [J], $/kgCO2."""
    renewable_power: FloatArray
    """P^w [J,T], kW available on site."""
    grid_limit: FloatArray
    """P^max [J,T], kW."""
    pue: FloatArray
    """[J], facility energy per IT energy, ≥ 1."""
    wue: FloatArray
    """[J,T], L per kWh of IT energy, used on site."""
    ewif: FloatArray
    """[J,T], L per kWh of electricity, used off site."""
    water_cap: float | None
    """Z, L over the whole horizon and all sites; None = no cap."""
    resource_capacity: FloatArray
    """C [R,J], resource units per slot, before headroom."""
    resource_per_token: FloatArray
    """α [J,K,R], resource units/token (a [K][R] field of a file is repeated for every site)."""
    token_size: FloatArray
    """β [I,K,T], bandwidth unit·s/token."""
    bandwidth: FloatArray
    """B [I,J], bandwidth units; inf = transfer takes no time."""
    network_delay: FloatArray
    """d [I,J], s round trip."""
    processing_delay: FloatArray
    """v [J,K], s/token per query of load."""
    delay_limit: FloatArray
    """Δ [I,K], s; inf = no cap."""
    allowed: BoolArray
    """[I,J,K], whether the site may serve the pair."""
    share_groups: tuple[tuple[Pair, ...], ...] = ()
    """Pairs with one common share in every slot."""
    fixed_shares: FloatArray = field(repr=False)
    """[I,J,K]; the given share of pairs that cannot be steered, NaN for the others."""
    current_shares: FloatArray = field(repr=False)
    """[I,J,K]; the share in force, NaN where unknown."""
    headroom: FloatArray = field(repr=False)
    """[J], share of the capacity kept free, 0 … 1."""
    offsite_water: Literal["facility", "grid"] = "facility"
    """Whether EWIF is charged on facility energy P^d (the paper) or on grid energy P^g."""

    def __post_init__(self) -> None:
        """Make every array read-only."""
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def energy_per_query(self) -> FloatArray:
        """τ_in·h + τ_out·f, [J,K], kWh of IT energy per query."""
        return self.energy_per_input_token * self.input_tokens + self.energy_per_output_token * self.output_tokens

    @property
    def tokens_per_query(self) -> FloatArray:
        """H + f, [K], tokens per query."""
        return self.input_tokens + self.output_tokens

    @property
    def usable_capacity(self) -> FloatArray:
        """C·(1 − headroom), [R,J], resource units per slot."""
        return self.resource_capacity * (1.0 - self.headroom)

    @property
    def available_kwh(self) -> FloatArray:
        """P^w·slot_hours, [J,T], kWh of on-site renewable energy per slot."""
        return self.renewable_power * self.slot_hours

    @property
    def grid_limit_kwh(self) -> FloatArray:
        """P^max·slot_hours, [J,T], kWh per slot."""
        return self.grid_limit * self.slot_hours
