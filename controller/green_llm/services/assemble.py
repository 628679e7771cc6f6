"""From requests and signals to the numbers of an instance. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from green_llm.domain.arrivals import Arrivals
from green_llm.domain.distance import link
from green_llm.domain.instance import FloatArray, Instance
from green_llm.domain.series import SignalBook, SignalKind
from green_llm.domain.time import Slots
from green_llm.domain.topology import Site
from green_llm.domain.units import kilograms, megabits, per_kwh
from green_llm.services.pairing import PairRequest, RuleKey

Shares = Mapping[str, float]
"""Share by site."""


@dataclass(frozen=True, eq=False)
class Traffic:
    """One pair with what arrives and where it goes now."""

    pair: PairRequest
    arrivals: Arrivals
    """[T] of the book's slots."""
    current: Shares | None
    """Shares in force by site, summing to 1; None where unknown (no route, or no weight)."""
    static: Shares | None = None
    """Shares that were found at adoption; None where nothing was adopted."""
    served: Shares | None = None
    """Shares that gateways have measured since the last charge; None where nobody measures them."""

    @property
    def fixed(self) -> bool:
        """Whether it cannot be steered."""
        return self.pair.fixed is not None


@dataclass(frozen=True, eq=False)
class Assembled:
    """An instance, and where each pair is in it."""

    instance: Instance
    traffic: tuple[Traffic, ...]
    place: tuple[tuple[int, int], ...]
    """(area, class) index of each traffic."""
    residual_kg_per_kwh: FloatArray
    """[J,T]: carbon of on-site energy whose certificates are sold, over all on-site energy. For the account alone."""


def required_kinds(site: Site) -> tuple[SignalKind, ...]:
    """The signals a site cannot be planned without."""
    kinds = [SignalKind.ELECTRICITY_PRICE, SignalKind.CARBON_INTENSITY]
    kinds += sorted({renewable.type.output_signal for renewable in site.renewables})
    kinds += [SignalKind.WUE] if site.wue_l_per_kwh is None else []
    kinds += [SignalKind.EWIF] if site.ewif_l_per_kwh is None else []
    return tuple(kinds)


def covered_slots(site: Site, book: SignalBook, first: int) -> tuple[int, tuple[SignalKind, ...]]:
    """How many slots from ``first`` on every required signal covers, and the kinds that miss slot ``first``."""
    lengths, missing = [], []
    for kind in required_kinds(site):
        values = book.values.get((site.name, kind), ())[first:]
        length = next((n for n, value in enumerate(values) if value is None), len(values))
        lengths.append(length)
        if not length:
            missing.append(kind)
    return min(lengths), tuple(missing)


def assemble(
    name: str,
    sites: Sequence[Site],
    traffic: Sequence[Traffic],
    book: SignalBook,
    window: tuple[int, int],
    *,
    water_cap: float | None = None,
    steer: bool = True,
) -> Assembled:
    """An instance of the slots ``window`` (first, one past the last) of the book.

    Values that no source has are NaN: leave out sites whose signals do not cover the window before solving. Capacity is
    in resource-seconds, v and β are for an hour of load: results do not depend on the slot length. ``steer=False``
    leaves out fixed shares and groups (for valuing given shares).
    """
    first, last = window
    slots = Slots(book.slots.slot_start(first), book.slots.slot_seconds, last - first)
    areas = sorted({entry.pair.area.name for entry in traffic})
    classes = sorted({entry.pair.class_key for entry in traffic})
    area_at, class_at = ({name: n for n, name in enumerate(names)} for names in (areas, classes))
    place = tuple((area_at[entry.pair.area.name], class_at[entry.pair.class_key]) for entry in traffic)
    shape = (len(areas), len(sites), len(classes))
    fixed, current = np.full(shape, np.nan), np.full(shape, np.nan)
    allowed = np.zeros(shape, dtype=bool)
    demand = np.zeros((len(areas), len(classes), slots.count))
    limit = np.full((len(areas), len(classes)), np.inf)
    for entry, (i, k) in zip(traffic, place, strict=True):
        demand[i, k] = entry.arrivals.queries[first:last]
        limit[i, k] = np.inf if entry.pair.query_class.delay_limit_s is None else entry.pair.query_class.delay_limit_s
        allowed[i, :, k] = [site.name in entry.pair.sites for site in sites]
        if entry.current is not None:
            shares = np.array([entry.current.get(site.name, 0.0) for site in sites])
            target = fixed if entry.fixed and steer else current
            target[i, :, k] = shares / shares.sum() if shares.sum() > 0 else np.nan
    instance = Instance(
        name=name,
        slot_hours=slots.slot_hours,
        areas=tuple(areas),
        classes=tuple(classes),
        slots=slots.count,
        demand=demand,
        delay_limit=limit,
        allowed=allowed,
        fixed_shares=fixed,
        current_shares=current,
        share_groups=_groups(traffic, place) if steer else (),
        water_cap=water_cap,
        offsite_water="grid",
        **_site_numbers(sites, book, window),
        **_class_numbers(sites, traffic, place, areas, classes, slots),
    )
    return Assembled(instance, tuple(traffic), place, _residual(sites, book, window))


def _groups(traffic: Sequence[Traffic], place: Sequence[tuple[int, int]]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Steered pairs that share a rule, joined where rules overlap."""
    by_rule: dict[RuleKey, set[tuple[int, int]]] = {}
    for entry, pair in zip(traffic, place, strict=True):
        for binding in () if entry.fixed else entry.pair.bindings:
            by_rule.setdefault(binding.key, set()).add(pair)
    groups: list[set[tuple[int, int]]] = []
    for members in by_rule.values():
        joined = members.union(*(group for group in groups if group & members))
        groups = [group for group in groups if not group & members] + [joined]
    return tuple(tuple(sorted(group)) for group in groups if len(group) > 1)


def _site_numbers(sites: Sequence[Site], book: SignalBook, window: tuple[int, int]) -> dict[str, Any]:
    """The fields that depend on sites and slots."""
    first, last = window
    count, seconds = last - first, book.slots.slot_seconds

    def signal(site: Site, kind: SignalKind) -> FloatArray:
        values = book.values.get((site.name, kind), (None,) * last)[first:last]
        return np.array([np.nan if value is None else value.value for value in values])

    def water(site: Site, given: float | None, kind: SignalKind) -> FloatArray:
        return signal(site, kind) if given is None else np.full(count, given)

    renewable = _stack(
        [
            sum((r.capacity_kw * signal(site, r.type.output_signal) for r in site.renewables), start=np.zeros(count))
            for site in sites
        ],
        count,
    )
    other = np.array([site.other_load_kw for site in sites]).reshape(-1, 1)
    grid_limit = np.array([site.grid_limit_kw for site in sites]).reshape(-1, 1)
    resources = tuple(sorted({capacity.name for site in sites for capacity in site.capacity}))
    amounts = [{capacity.name: capacity.amount for capacity in site.capacity} for site in sites]
    # One headroom a site in the model: the largest of its resources, the cautious choice.
    headroom = [max((capacity.headroom for capacity in site.capacity), default=0.0) for site in sites]
    return {
        "sites": tuple(site.name for site in sites),
        "resources": resources,
        "electricity_price": per_kwh(1.0) * _stack([signal(s, SignalKind.ELECTRICITY_PRICE) for s in sites], count),
        "carbon_intensity": kilograms(1.0) * _stack([signal(s, SignalKind.CARBON_INTENSITY) for s in sites], count),
        "carbon_price": np.array([site.carbon_price_per_kg for site in sites]),
        # Load that is not ours takes renewables first, then the grid connection.
        "renewable_power": np.maximum(0.0, renewable - other),
        "grid_limit": np.maximum(0.0, grid_limit - np.maximum(0.0, other - np.nan_to_num(renewable))),
        "pue": np.array([site.pue for site in sites]),
        "wue": _stack([water(s, s.wue_l_per_kwh, SignalKind.WUE) for s in sites], count),
        "ewif": _stack([water(s, s.ewif_l_per_kwh, SignalKind.EWIF) for s in sites], count),
        "headroom": np.array(headroom),
        "resource_capacity": np.array([[a.get(r, 0.0) * seconds for a in amounts] for r in resources]).reshape(
            len(resources), len(sites)
        ),
    }


def _residual(sites: Sequence[Site], book: SignalBook, window: tuple[int, int]) -> FloatArray:
    """Carbon of on-site energy, kg/kWh, [J,T]: of what is sold by its residual factor, of the rest nothing."""
    first, last = window
    found = np.zeros((len(sites), last - first))
    for j, site in enumerate(sites):
        if all(entry.sold_kg_per_kwh is None for entry in site.renewables):
            continue
        power = [
            entry.capacity_kw
            * np.array(
                [
                    np.nan if value is None else value.value
                    for value in book.values[site.name, entry.type.output_signal][first:last]
                ]
            )
            for entry in site.renewables
        ]
        carbon = sum(p * (e.sold_kg_per_kwh or 0.0) for p, e in zip(power, site.renewables, strict=True))
        total = np.sum(power, axis=0)
        found[j] = np.divide(carbon, total, out=np.zeros_like(total), where=total > 0)
    return found


def _class_numbers(
    sites: Sequence[Site],
    traffic: Sequence[Traffic],
    place: Sequence[tuple[int, int]],
    areas: Sequence[str],
    classes: Sequence[str],
    slots: Slots,
) -> dict[str, Any]:
    """The fields that depend on classes and areas."""
    by_class = {k: entry.pair.query_class for entry, (_, k) in zip(traffic, place, strict=True)}
    by_area = {i: entry.pair.area for entry, (i, _) in zip(traffic, place, strict=True)}
    ordered = [by_class[k] for k in range(len(classes))]
    links = [[link(by_area[i], site) for site in sites] for i in range(len(areas))]
    resources = sorted({capacity.name for site in sites for capacity in site.capacity})
    performance = [[site.performance.get(c.profile) for c in ordered] for site in sites]
    hours = slots.slot_hours
    # A site without the profile serves none of the class; its zeros are never used.
    return {
        "input_tokens": np.array([c.input_tokens for c in ordered]),
        "output_tokens": np.array([c.output_tokens for c in ordered]),
        "delay_penalty": np.array([c.delay_penalty_per_s for c in ordered]),
        "energy_per_input_token": np.array([[p.kwh_per_input_token if p else 0.0 for p in row] for row in performance]),
        "energy_per_output_token": np.array(
            [[p.kwh_per_output_token if p else 0.0 for p in row] for row in performance]
        ),
        "processing_delay": np.array(
            [[1.0 / p.throughput_tokens_per_second / hours if p else 0.0 for p in row] for row in performance]
        ),
        "resource_per_token": np.array(
            [
                [[p.resource_seconds_per_token.get(r, 0.0) if p else 0.0 for r in resources] for p in row]
                for row in performance
            ]
        ).reshape(len(sites), len(classes), len(resources)),
        "token_size": np.broadcast_to(
            np.array([megabits(c.bytes_per_token) / hours for c in ordered])[None, :, None],
            (len(areas), len(classes), slots.count),
        ).copy(),
        "bandwidth": np.array(
            [[np.inf if way.bandwidth_mbps is None else way.bandwidth_mbps for way in row] for row in links]
        ),
        "network_delay": np.array([[way.latency_s for way in row] for row in links]),
    }


def _stack(rows: Sequence[FloatArray], count: int) -> FloatArray:
    return np.array(rows, dtype=np.float64).reshape(len(rows), count)
