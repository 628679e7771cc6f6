"""What servers have measured, as samples of load and delay: from the sources that sites name for their measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from green_llm.domain.calibration import Fit, Sample, fit
from green_llm.domain.request import LiveSettings, Source, SourceRef
from green_llm.domain.series import Measure, SignalQuery
from green_llm.domain.topology import Site
from green_llm.domain.units import SECONDS_PER_HOUR
from green_llm.errors import GreenLLMError, SignalError
from green_llm.signals.collect import parameter_faults
from green_llm.signals.live import LiveHub

NEEDED = (Measure.MEAN_DELAY, Measure.THROUGHPUT, Measure.FINISHED)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """One site and profile."""

    site: str
    profile: str
    source: str | None
    stated_tokens_per_second: float
    """What the InferenceSite says now."""
    fit: Fit | str
    """Or why there is none."""


async def calibrate(
    sites: Iterable[Site],
    sources: Mapping[str, Source],
    hub: LiveHub,
    start: datetime,
    end: datetime,
    step_seconds: int,
) -> list[Calibrated]:
    """Fit every profile of every site to what was measured from ``start`` to ``end``, a sample each ``step_seconds``."""
    found = []
    for site in sites:
        for profile, performance in sorted(site.performance.items()):
            reference = performance.measurements
            try:
                if reference is None:
                    raise SignalError("it names no source: set performance[].measurements")
                asked = SourceRef(reference.source, reference.params)
                samples = await _samples(site, asked, sources, hub, (start, end, step_seconds))
                outcome = fit(samples)
            except GreenLLMError as error:
                outcome = str(error)
            found.append(
                Calibrated(
                    site=site.name,
                    profile=profile,
                    source=None if reference is None else reference.source,
                    stated_tokens_per_second=performance.throughput_tokens_per_second,
                    fit=outcome,
                )
            )
    return found


async def _samples(
    site: Site, reference: SourceRef, sources: Mapping[str, Source], hub: LiveHub, span: tuple[datetime, datetime, int]
) -> list[Sample]:
    """The intervals in which load, delay and the number of queries are known.

    Raises:
        SignalError: the source is missing, measures too little, or does not answer.
    """
    source = sources.get(reference.source)
    if source is None:
        raise SignalError(f'there is no SignalSource "{reference.source}"')
    for fault in parameter_faults(source, reference.params):
        raise SignalError(fault)
    queries = source.settings.queries if isinstance(source.settings, LiveSettings) else {}
    missing = [measure.value for measure in NEEDED if measure not in queries]
    if missing:
        raise SignalError(f"SignalSource {source.name} does not measure {', '.join(missing)}; the template Vllm does")
    start, end, step = span
    values: dict[Measure, dict[datetime, float]] = {}
    for measure in NEEDED:
        query = SignalQuery(
            measure, reference.params, start, end, end, measure.unit(""), site.time_zone, step_seconds=step
        )
        answer = await hub.past(source, query)
        values[measure] = {} if answer is None else {point.end: point.value for point in answer.points}
    common = sorted(set.intersection(*(set(points) for points in values.values())))
    return [
        Sample(
            tokens_per_second=values[Measure.THROUGHPUT][moment],
            mean_delay_s=values[Measure.MEAN_DELAY][moment],
            queries=values[Measure.FINISHED][moment] * step / SECONDS_PER_HOUR,
        )
        for moment in common
    ]
