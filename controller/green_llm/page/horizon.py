"""The document behind the view "Horizon": what each site's next slots look like, and where queries are to go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.services.outcome import Outcome

Row = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SiteHorizon:
    """One site, a value per slot."""

    site: str
    price_per_mwh: Row
    """Delivered price of grid energy."""
    carbon_g_per_kwh: Row
    renewable_kw: Row
    """On-site power available."""
    grid_kw: Row
    """Power the plan draws from the grid."""
    share: Row
    """Share of all queries that are planned, 0 … 1."""


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """The plan over its horizon."""

    policy: str
    at: datetime
    currency: str
    slot_seconds: int
    starts: tuple[datetime, ...]
    queries: Row
    """Expected in each slot."""
    sites: tuple[SiteHorizon, ...]
    held_sites: tuple[str, ...]
    """Sites that keep their share for want of signals: they are not planned with."""


def horizon(outcome: Outcome) -> Horizon | None:
    """The document; None where there is no plan."""
    instance, result = outcome.instance, outcome.result
    if instance is None or result is None:
        return None
    arriving = instance.demand.sum(axis=(0, 1))
    served = np.einsum("ikt,ijkt->jt", instance.demand, result.plan.shares)
    shares = np.divide(served, arriving, out=np.zeros_like(served), where=arriving > 0)
    grid_kw = result.plan.grid_energy_kwh / instance.slot_hours
    return Horizon(
        policy=outcome.policy.name,
        at=outcome.now,
        currency=outcome.policy.currency,
        slot_seconds=outcome.slots.slot_seconds,
        starts=tuple(start for start, _ in outcome.slots)[: instance.slots],
        queries=_row(arriving),
        sites=tuple(
            SiteHorizon(
                site=site,
                price_per_mwh=_row(instance.electricity_price[j] * 1e3),
                carbon_g_per_kwh=_row(instance.carbon_intensity[j] * 1e3),
                renewable_kw=_row(instance.renewable_power[j]),
                grid_kw=_row(grid_kw[j]),
                share=_row(shares[j]),
            )
            for j, site in enumerate(instance.sites)
        ),
        held_sites=tuple(outcome.held_sites),
    )


def _row(values: FloatArray) -> Row:
    return tuple(float(value) for value in values)
