"""What was measured beside what the model says of the weights in force: how far the model is from reality. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from green_llm.domain.instance import FloatArray
from green_llm.domain.series import Measure, MeasureKey
from green_llm.domain.topology import Site
from green_llm.optimizer.evaluate import mean_delays
from green_llm.services.assemble import Assembled
from green_llm.services.interval import pair_name
from green_llm.services.outcome import Compared, Comparison
from green_llm.services.valuing import PairShares, share_array

WATTS_PER_KW = 1000.0
Profile = tuple[str, str]
"""(site, profile)."""


def comparison(
    found: Assembled,
    in_force: PairShares,
    planned: PairShares,
    sites: Sequence[Site],
    measured: Mapping[MeasureKey, float],
) -> Comparison:
    """Delays of pairs, delays and power of each site's profiles. ``found`` is slot 0 with all sites and all traffic.

    The model's numbers are those of the slot's arrivals; what was measured is the mean of the past hour.
    """
    if not found.traffic or not found.instance.sites:
        return Comparison()
    array = share_array(found, in_force)
    known = [shares is not None for shares in in_force]
    delays = mean_delays(found.instance, array)[..., 0]
    pairs = {
        pair_name(entry.pair): Compared(float(delays[place]), entry.arrivals.mean_delay_s)
        for entry, place, is_known in zip(found.traffic, found.place, known, strict=True)
        if is_known and entry.arrivals.queries.any()
    }
    processing, power = _by_profile(found, array[..., 0])
    planned_power = _by_profile(found, share_array(found, planned)[..., 0])[1]
    drawn = _measured_watts(sites, measured)
    delay_keys = processing.keys() | {(s, p) for s, p, measure in measured if measure is Measure.MEAN_DELAY}
    return Comparison(
        pair_delays_s=pairs,
        site_delays_s={
            key: Compared(processing.get(key), measured.get((*key, Measure.MEAN_DELAY))) for key in sorted(delay_keys)
        },
        site_it_watts={
            key: Compared(power.get(key, 0.0), drawn.get(key), planned_power.get(key, 0.0))
            for key in sorted(power.keys() | planned_power.keys() | drawn.keys())
        },
    )


def _by_profile(found: Assembled, shares: FloatArray) -> tuple[dict[Profile, float], dict[Profile, float]]:
    """Mean processing delay of a query (s) and IT power (W) of each site's profiles, under shares [I,J,K] of slot 0."""
    instance = found.instance
    arriving = instance.demand[:, None, :, 0] * shares
    tokens = instance.demand[..., 0] * instance.tokens_per_query
    waiting = np.einsum("ijk,ik,jk->jk", arriving, tokens, instance.processing_delay)
    queries = arriving.sum(axis=0)
    watts = queries * instance.energy_per_query / instance.slot_hours * WATTS_PER_KW
    profile_of = {k: entry.pair.query_class.profile for entry, (_, k) in zip(found.traffic, found.place, strict=True)}
    sums: dict[Profile, list[float]] = {}
    for k, profile in profile_of.items():
        for j, site in enumerate(instance.sites):
            if queries[j, k] > 0:
                own = sums.setdefault((site, profile), [0.0, 0.0, 0.0])
                own[:] = (own[0] + float(waiting[j, k]), own[1] + float(queries[j, k]), own[2] + float(watts[j, k]))
    delays = {key: waited / count for key, (waited, count, _) in sums.items()}
    return delays, {key: power for key, (_, _, power) in sums.items()}


def _measured_watts(sites: Sequence[Site], measured: Mapping[MeasureKey, float]) -> dict[Profile, float]:
    """Energy per token times the tokens that the servers have counted: a proxy of the IT power, W."""
    found: dict[Profile, float] = {}
    for site in sites:
        for profile, performance in site.performance.items():
            wanted = (Measure.FINISHED, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS)
            per_hour, tokens_in, tokens_out = (measured.get((site.name, profile, measure)) for measure in wanted)
            if per_hour is None or tokens_in is None or tokens_out is None:
                continue
            per_query = tokens_in * performance.kwh_per_input_token + tokens_out * performance.kwh_per_output_token
            found[site.name, profile] = per_hour * per_query * WATTS_PER_KW
    return found
