"""The chain: for each site and kind the first source with a fresh value, slot by slot."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from green_llm.domain.request import LiveSettings, PersistenceSettings, Policy, Source, SourceRef
from green_llm.domain.series import (
    Measure,
    MeasureKey,
    Place,
    Point,
    Series,
    SignalBook,
    SignalKind,
    SignalProblem,
    SignalQuery,
    SignalRef,
    SlotValue,
    mean_over,
)
from green_llm.domain.services import SERVICES
from green_llm.domain.time import Slots, slots_from
from green_llm.domain.topology import Site
from green_llm.errors import GreenLLMError, SignalError
from green_llm.services.ports import SignalProvider
from green_llm.services.pricing import price_faults, with_bases
from green_llm.signals.freshness import (
    basis_of,
    carried,
    carried_since,
    check_plausible,
    is_fresh,
    is_settled,
)
from green_llm.signals.live import RECENT, LiveHub
from green_llm.signals.providers.csv import ReadText
from green_llm.signals.recordings import Recorded
from green_llm.signals.registry import provider_of
from green_llm.signals.resample import Resampler

FETCH_TIMEOUT_SECONDS = 10.0
MEASURED_OVER = timedelta(hours=1)
FetchKey = tuple[str, SignalKind, tuple[tuple[str, str], ...], str, Place | None, datetime, datetime]


@dataclass
class _Round:
    """One collection: every source is asked once for the same thing, however many sites share it."""

    policy: Policy
    sources: Mapping[str, Source]
    slots: Slots
    now: datetime
    settled: bool = False
    """Whether only what will not change any more counts: measurements, and prices that were agreed."""
    fetches: dict[FetchKey, asyncio.Task[Series]] = field(default_factory=dict)


class Collector:
    """Implements ``services.ports.SignalCollector``. Providers live as long as their source's configuration."""

    def __init__(self, read_text: ReadText, hub: LiveHub | None = None, recordings: Recorded | None = None) -> None:
        """``hub`` asks live services; ``recordings`` stand for them in a replay; without either they cannot be used."""
        self._read_text, self._hub, self._recordings = read_text, hub, recordings
        self._providers: dict[str, tuple[Source, SignalProvider]] = {}
        self._resampler = Resampler()

    async def collect(
        self, policy: Policy, sites: Collection[Site], sources: Mapping[str, Source], slots: Slots, now: datetime
    ) -> SignalBook:
        """A value per slot for each kind a site has a chain for; None and a problem where no source has one."""
        if self._hub is not None:
            self._hub.keep_only(sources)
        return await self._collect(_Round(policy, sources, slots, now), sites)

    async def settled(
        self, policy: Policy, sites: Collection[Site], sources: Mapping[str, Source], slots: Slots, now: datetime
    ) -> SignalBook:
        """What is known by ``now`` of slots that have elapsed: measured, or a price that was agreed; else None."""
        return await self._collect(_Round(policy, sources, slots, now, settled=True), sites)

    async def _collect(self, current: _Round, sites: Collection[Site]) -> SignalBook:
        wanted = [(site, kind, chain) for site in sites for kind, chain in site.signals.items()]
        chains = await asyncio.gather(*(self._chain(current, site, kind, chain) for site, kind, chain in wanted))
        values = {(site.name, kind): found for (site, kind, _), (found, _) in zip(wanted, chains, strict=True)}
        problems = tuple(problem for _, found in chains for problem in found)
        return SignalBook(current.slots, values, problems)

    async def _chain(
        self, current: _Round, site: Site, kind: SignalKind, chain: tuple[SignalRef, ...]
    ) -> tuple[tuple[SlotValue | None, ...], list[SignalProblem]]:
        """Fill the slots from the first source on; later ones are asked only for what is missing."""
        filled: list[SlotValue | None] = [None] * current.slots.count
        problems: list[SignalProblem] = []
        if kind is SignalKind.ELECTRICITY_PRICE:
            chain = with_bases(chain, current.sources)
        for index, reference in enumerate(chain):
            if all(value is not None for value in filled):
                break
            try:
                found = await self._entry(current, site, kind, chain, index)
            except GreenLLMError as error:
                message = f"InferenceSite {site.name}: signals.{kind.value}[{index}]: {error}"
                problems.append(SignalProblem(site.name, kind, message, reference.source))
                continue
            for slot, value in enumerate(found):
                if filled[slot] is None and value is not None:
                    filled[slot] = value
        missing = [slot for slot, value in enumerate(filled) if value is None]
        if missing:
            start = current.slots.slot_start(missing[0])
            problems.append(
                SignalProblem(
                    site.name,
                    kind,
                    f"InferenceSite {site.name}: signals.{kind.value}: no source has a fresh value for the slot from "
                    f"{start:%Y-%m-%dT%H:%MZ} ({len(missing)} of {len(filled)} slots); add a fall-back source",
                    slot_start=start,
                )
            )
        return tuple(filled), problems

    async def _entry(
        self, current: _Round, site: Site, kind: SignalKind, chain: tuple[SignalRef, ...], index: int
    ) -> list[SlotValue | None]:
        """What one source of a chain has for the slots, fresh and plausible."""
        reference = chain[index]
        source = _checked(current, kind, chain, index)
        if current.settled and isinstance(source.settings, PersistenceSettings):
            return [None] * current.slots.count
        since = current.slots.start if current.settled else carried_since(source, current.slots.start, current.now)
        series = await self._fetch(current, site, kind, chain, index, since, current.slots.end)
        if current.settled:
            usable = [point for point in series.points if is_settled(point, reference, current.now)]
        else:
            slot_end = slots_from(current.now, current.slots.slot_seconds, 1).end
            fresh = [point for point in series.points if is_fresh(point, reference, source, current.now)]
            usable = carried(fresh, reference, source, current.now, slot_end)
        usable = [point for point in usable if point.end > current.slots.start]
        check_plausible(usable, kind, current.policy, source, series.unit)
        asker = (current.policy.name, site.name, kind, index)
        return self._resampler.to_slots(
            asker, usable, current.slots, reference, basis_of(current.policy, kind, reference)
        )

    async def _fetch(
        self,
        current: _Round,
        site: Site,
        kind: SignalKind,
        chain: tuple[SignalRef, ...],
        index: int,
        start: datetime,
        end: datetime,
    ) -> Series:
        """Ask a source; one question is asked once per collection."""
        reference = chain[index]
        source = current.sources[reference.source]
        query = SignalQuery(
            kind=kind,
            params=reference.params,
            start=start,
            end=end,
            now=current.now,
            unit=kind.unit(current.policy.currency),
            time_zone=site.time_zone,
            exchange_rates={entry.source_currency: entry.rate for entry in current.policy.exchange_rates},
            place=place_of(site, kind) if isinstance(source.settings, LiveSettings) else None,
            basis=reference.basis,
        )
        if isinstance(source.settings, PersistenceSettings):

            async def history(past: SignalQuery) -> tuple[Point, ...]:
                return await self._before(current, site, kind, chain[:index], past)

            # It repeats its own chain's past, so it is made anew for each chain.
            return await _ask(provider_of(source, self._read_text, history, self._hub, self._recordings), query, source)
        key = (source.name, kind, tuple(sorted(reference.params.items())), site.time_zone, query.place, start, end)
        if key not in current.fetches:
            current.fetches[key] = asyncio.ensure_future(_ask(self._provider(source), query, source))
        return await current.fetches[key]

    async def _before(
        self, current: _Round, site: Site, kind: SignalKind, earlier: tuple[SignalRef, ...], query: SignalQuery
    ) -> tuple[Point, ...]:
        """What the earlier sources of a chain know of a past interval; the first that knows any of it."""
        reasons: list[str] = []
        for index in range(len(earlier)):
            try:
                _checked(current, kind, earlier, index)
                series = await self._fetch(current, site, kind, earlier, index, query.start, query.end)
            except GreenLLMError as error:
                reasons.append(str(error))
                continue
            if series.points:
                return series.points
        raise SignalError("; ".join(reasons) or "no earlier source of the chain has a value to repeat")

    async def series(self, source: Source, reference: SourceRef, query: SignalQuery) -> Series:
        """What one source knows of a measure, outside of any chain.

        Raises:
            SignalError: it knows nothing of it, or a parameter is wrong.
        """
        for fault in parameter_faults(source, reference.params):
            raise SignalError(fault)
        if isinstance(source.settings, LiveSettings) and query.kind not in source.settings.queries:
            known = ", ".join(sorted(source.settings.queries)) or "nothing of our own traffic"
            raise SignalError(f"SignalSource {source.name} measures no {query.kind.value} (it measures: {known})")
        return await _ask(self._provider(source), query, source)

    async def measured(
        self, sites: Collection[Site], sources: Mapping[str, Source], now: datetime
    ) -> Mapping[MeasureKey, float]:
        """The mean of the past hour of everything that a site's servers measure; what is not known is left out."""
        found: dict[MeasureKey, float] = {}
        for site in sites:
            for profile, performance in site.performance.items():
                reference = performance.measurements
                source = None if reference is None else sources.get(reference.source)
                if reference is None or source is None or not isinstance(source.settings, LiveSettings):
                    continue
                apart = (Measure.DEMAND, Measure.SERVED)
                for measure in sorted(m for m in source.settings.queries if m not in apart and not m.recent):
                    start, unit = now - MEASURED_OVER, measure.unit("")
                    query = SignalQuery(measure, reference.params, start, now, now, unit, site.time_zone)
                    try:
                        points = (await self.series(source, SourceRef(source.name, reference.params), query)).points
                    except SignalError:
                        continue  # the source's status says what is wrong
                    mean = mean_over(points)
                    if mean is not None:
                        found[site.name, profile, measure] = mean
        return found

    async def recent(
        self, site: Site, reference: SourceRef, sources: Mapping[str, Source], now: datetime
    ) -> Mapping[Measure, Sequence[Point] | str]:
        """What a source says of a site's last minutes, by measure; or in words why it says nothing."""
        source = sources.get(reference.source)
        if source is None:
            return {Measure.P95_DELAY: f'there is no SignalSource "{reference.source}"'}
        queries = source.settings.queries if isinstance(source.settings, LiveSettings) else {}
        measures = sorted(measure for measure in queries if measure.recent)
        if not measures:
            return {Measure.P95_DELAY: f"SignalSource {source.name} measures neither p95Delay nor errorRatio"}
        own = {"site": site.name} if "site" in source.params else {}
        asked = SourceRef(source.name, {**own, **reference.params})
        found: dict[Measure, Sequence[Point] | str] = {}
        for measure in measures:
            query = SignalQuery(
                measure, asked.params, now - RECENT, now, now, measure.unit(""), site.time_zone
            )  # fmt: skip
            try:
                found[measure] = (await self.series(source, asked, query)).points
            except SignalError as error:
                found[measure] = f"{measure.value}: {error}"
        return found

    def _provider(self, source: Source) -> SignalProvider:
        known = self._providers.get(source.name)
        if known is None or known[0] != source:
            known = (source, provider_of(source, self._read_text, _no_history, self._hub, self._recordings))
            self._providers[source.name] = known
        return known[1]


def place_of(site: Site, kind: SignalKind) -> Place | None:
    """Where the installation stands whose output is asked for; of several of a kind the first speaks for all."""
    if kind is SignalKind.WUE:
        model = site.wue_model
        place = Place(site.location.latitude, site.location.longitude)
        return (
            place
            if model is None
            else replace(
                place,
                wue_annual_mean_l_per_kwh=model.annual_mean_l_per_kwh,
                wue_curve_mean_l_per_kwh=model.curve_mean_l_per_kwh,
            )
        )
    installation = next((entry for entry in site.renewables if entry.type.output_signal is kind), None)
    if installation is None:
        return None
    return Place(
        site.location.latitude,
        site.location.longitude,
        installation.tilt_degrees,
        installation.azimuth_degrees,
        installation.hub_height_m,
    )


async def _no_history(_query: SignalQuery) -> tuple[Point, ...]:
    return ()


async def _ask(provider: SignalProvider, query: SignalQuery, source: Source) -> Series:
    """One fetch, bounded in time; whatever goes wrong is a SignalError that names the source."""
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
            return await provider.fetch(query)
    except TimeoutError:
        raise SignalError(f"SignalSource {source.name}: no answer within {FETCH_TIMEOUT_SECONDS:g} s") from None
    except GreenLLMError as error:
        raise SignalError(str(error)) from error
    except Exception as error:
        # A defect of one provider must not stop the others; its name and type are what can be acted on.
        raise SignalError(f"SignalSource {source.name}: failed with {type(error).__name__}: {error}") from error


def _checked(current: _Round, kind: SignalKind, chain: tuple[SignalRef, ...], index: int) -> Source:
    """The source an entry names, if it may be used as it stands."""
    reference = chain[index]
    source = current.sources.get(reference.source)
    if source is None:
        known = ", ".join(sorted(current.sources)) or "none"
        raise SignalError(f'there is no SignalSource "{reference.source}" (known: {known})')
    for problem in _entry_faults(current.policy, current.sources, kind, chain, index):
        raise SignalError(problem)
    return source


def parameter_faults(source: Source, params: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with what a source is asked for."""
    patterns = {**source.params, **source.optional_params}
    for name, value in params.items():
        if name not in patterns:
            known = ", ".join(sorted(patterns)) or "none"
            yield f'SignalSource {source.name} takes no parameter "{name}" (known: {known})'
        elif not re.fullmatch(patterns[name], value):
            yield f'parameter {name}: "{value}" does not match {patterns[name]} of SignalSource {source.name}'
    missing = sorted(set(source.params) - set(params))
    if missing:
        yield f'parameter "{missing[0]}" of SignalSource {source.name} is missing'


def _entry_faults(
    policy: Policy, sources: Mapping[str, Source], kind: SignalKind, chain: tuple[SignalRef, ...], index: int
) -> Iterator[str]:
    reference, source = chain[index], sources[chain[index].source]
    yield from parameter_faults(source, reference.params)
    if isinstance(source.settings, LiveSettings) and kind not in SERVICES[source.settings.service].kinds:
        known = ", ".join(sorted(SERVICES[source.settings.service].kinds))
        yield f"SignalSource {source.name} ({source.settings.service}) gives no {kind.value} (it gives: {known})"
    repeats = isinstance(source.settings, PersistenceSettings)
    if kind is SignalKind.CARBON_INTENSITY and not repeats and source.accounting != policy.accounting:
        declared = "undeclared" if source.accounting is None else "/".join(vars(source.accounting).values())
        wanted = "/".join(vars(policy.accounting).values())
        yield (
            f"SignalSource {source.name} counts carbon as {declared}, GreenPolicy {policy.name} as {wanted}; "
            "declare or change spec.carbonBasis, or use another source"
        )
    if kind is SignalKind.ELECTRICITY_PRICE:
        yield from (fault.message for fault in price_faults(chain, sources) if fault.index == index)
