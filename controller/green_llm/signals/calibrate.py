"""What servers have measured, as samples of load and delay: from the sources that sites name for their measurements.

A profile is fitted to all that its servers do; each of its classes to its own, where the source's queries can tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from green_llm.domain.calibration import Fit, Sample, fit
from green_llm.domain.request import LiveSettings, Source
from green_llm.domain.series import Measure, SignalQuery, SignalRef
from green_llm.domain.services import CLASS
from green_llm.domain.topology import Site
from green_llm.domain.units import SECONDS_PER_HOUR
from green_llm.errors import GreenLLMError, SignalError
from green_llm.signals.collect import parameter_faults
from green_llm.signals.live import LiveHub

NEEDED = (Measure.MEAN_DELAY, Measure.THROUGHPUT, Measure.FINISHED)
FEWEST_CLASSES = 2
"""With one there is nothing to tell apart."""
Measured = Mapping[datetime, Sample]
"""By the end of the interval."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """One site and profile, or one class of it."""

    site: str
    profile: str
    query_class: str | None = None
    """None: all of the profile."""
    source: str | None
    stated_tokens_per_second: float
    """What the InferenceSite says now."""
    fit: Fit | str
    """Or why there is none."""
    note: str = ""
    """What is not told apart, and why."""


@dataclass(frozen=True)
class Calibration:
    """What is asked, and of whom: samples of ``step_seconds`` each, from ``start`` to ``end``."""

    sources: Mapping[str, Source]
    hub: LiveHub
    start: datetime
    end: datetime
    step_seconds: int

    async def site(self, site: Site, classes: Mapping[str, Sequence[str]]) -> list[Calibrated]:
        """Every profile of a site, each followed by its classes where there are several; ``classes`` by profile."""
        found = []
        for profile, performance in sorted(site.performance.items()):
            stated = performance.throughput_tokens_per_second
            said = partial(Calibrated, site=site.name, profile=profile, stated_tokens_per_second=stated)
            reference = performance.measurements
            try:
                if reference is None:
                    raise SignalError("it names no source: set performance[].measurements")
                source = self._source(reference)
                mix = await self._measured(site, source, reference.params)
                of_class = await self._by_class(site, source, reference.params, classes.get(profile, ()))
            except GreenLLMError as error:
                name = None if reference is None else reference.source
                found.append(said(source=name, fit=str(error)))
                continue
            told_apart = any(of_class.values())
            note = f"{', '.join(of_class)} are not told apart: no series has them as its class" if of_class else ""
            fitted = fit(list(mix.values()))
            found.append(said(source=source.name, fit=fitted, note="" if told_apart else note))
            for name, own in of_class.items() if told_apart else ():
                fitted = fit(list(_beside_others(own, mix)))
                found.append(said(query_class=name, source=source.name, fit=fitted))
        return found

    def _source(self, reference: SignalRef) -> Source:
        """The source that is named.

        Raises:
            SignalError: it is missing, is asked for what it does not take, or measures too little.
        """
        source = self.sources.get(reference.source)
        if source is None:
            raise SignalError(f'there is no SignalSource "{reference.source}"')
        for fault in parameter_faults(source, reference.params):
            raise SignalError(fault)
        queries = _queries(source)
        missing = [measure.value for measure in NEEDED if measure not in queries]
        if missing:
            raise SignalError(
                f"SignalSource {source.name} does not measure {', '.join(missing)}; the template Vllm does"
            )
        return source

    async def _by_class(
        self, site: Site, source: Source, params: Mapping[str, str], classes: Sequence[str]
    ) -> dict[str, Measured]:
        """What each of several classes does; nothing where the source's queries do not ask for one."""
        asks = CLASS not in source.params and all(f"${CLASS}" in _queries(source)[measure] for measure in NEEDED)
        if not asks or len(classes) < FEWEST_CLASSES:
            return {}
        return {name: await self._measured(site, source, {**params, CLASS: re.escape(name)}) for name in classes}

    async def _measured(self, site: Site, source: Source, params: Mapping[str, str]) -> Measured:
        """The intervals in which load, delay and the number of queries are known.

        Raises:
            SignalError: the source does not answer.
        """
        values: dict[Measure, dict[datetime, float]] = {}
        for measure in NEEDED:
            query = SignalQuery(
                measure, params, self.start, self.end, self.end, measure.unit(""), site.time_zone,
                step_seconds=self.step_seconds,
            )  # fmt: skip
            answer = await self.hub.past(source, query)
            values[measure] = {} if answer is None else {point.end: point.value for point in answer.points}
        return {
            moment: Sample(
                tokens_per_second=values[Measure.THROUGHPUT][moment],
                mean_delay_s=values[Measure.MEAN_DELAY][moment],
                queries=values[Measure.FINISHED][moment] * self.step_seconds / SECONDS_PER_HOUR,
            )
            for moment in sorted(set.intersection(*(set(points) for points in values.values())))
        }


def _queries(source: Source) -> Mapping[Measure, str]:
    return source.settings.queries if isinstance(source.settings, LiveSettings) else {}


def _beside_others(own: Measured, mix: Measured) -> Iterator[Sample]:
    """A class's samples, with what the other classes did at the time."""
    for moment, sample in own.items():
        if moment in mix:
            others = max(0.0, mix[moment].tokens_per_second - sample.tokens_per_second)
            yield replace(sample, others_tokens_per_second=others)
