"""What the figures of a back-test rest on, and what no back-test sees.

A resource says where its values are from in two annotations: ``greenllm.dev/origin`` (Measured, Assumed or Synthetic) and
``greenllm.dev/citation``. What a service measures is measured; constants and tariffs are assumed; a recording that does not
say is undeclared, and then no saving is called measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from green_llm.domain.distance import STRETCH
from green_llm.domain.request import (
    CsvSettings,
    Kind,
    LiveSettings,
    ObjectKey,
    PersistenceSettings,
    Source,
)
from green_llm.domain.topology import Site
from green_llm.errors import InvalidInputError
from green_llm.services.admission import PolicyRequest

ORIGIN, CITATION = "greenllm.dev/origin", "greenllm.dev/citation"
NOT_SEEN = (
    "embodied carbon and water of hardware and buildings",
    "energy of the network between areas and sites",
    "idle power of servers, which stays where it is when queries move",
    "energy per token that depends on the load",
    "queueing: delay is the model's, linear in load",
    "demand charges, ratchets and other parts of a bill that are not per kWh",
    "rebound: what is saved may be spent on more queries",
)


class Origin(StrEnum):
    """Where values come from, worst first."""

    SYNTHETIC = "Synthetic"
    UNDECLARED = "Undeclared"
    ASSUMED = "Assumed"
    MEASURED = "Measured"


SAID = {
    Origin.SYNTHETIC: "modelled on synthetic inputs: nothing here was measured, and nothing was saved",
    Origin.UNDECLARED: "modelled on recordings that do not say where they are from: no measured saving",
    Origin.ASSUMED: "modelled on inputs of which some are assumed: no measured saving",
    Origin.MEASURED: "modelled on measured signals and demand: what the policy would have saved by the model",
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of the figures."""

    object: str
    what: str
    origin: Origin
    values: str = ""
    citation: str = ""
    """Empty where no source is given."""


Annotations = Mapping[ObjectKey, Mapping[str, str]]


def inputs_of(request: PolicyRequest, annotations: Annotations) -> tuple[Input, ...]:
    """Every source, every site's factors, the demand, what a query is taken to be, and network delays.

    Raises:
        InvalidInputError: an origin is none.
    """
    found = [*_signals(request, annotations), *_factors(request, annotations), *_demand(request, annotations)]
    found += [*_queries(request, annotations), _network(request, annotations)]
    return tuple(dict.fromkeys(found))


def basis(inputs: tuple[Input, ...]) -> Origin:
    """What the whole may be called: as bad as the worst of its signals and its demand."""
    worst = list(Origin)
    varying = [entry.origin for entry in inputs if entry.what not in CONSTANTS]
    return min(varying, key=worst.index, default=Origin.UNDECLARED)


FACTORS = "PUE, water and energy per token"
QUERIES = "tokens per query, delay limits and penalties"
NETWORK = "network delays between areas and sites"
CONSTANTS = (FACTORS, QUERIES, NETWORK)


def _signals(request: PolicyRequest, annotations: Annotations) -> Iterator[Input]:
    for site in request.sites:
        for kind, chain in site.signals.items():
            # Fall-backs are written down, but what a chain rests on is its first source.
            source = request.sources.get(chain[0].source) if chain else None
            if source is not None:
                yield _of_source(source, f"{kind.value} (first of its chain)", annotations)


def _of_source(source: Source, what: str, annotations: Annotations) -> Input:
    key = ObjectKey(Kind.SOURCE, "", source.name)
    match source.settings:
        case LiveSettings():
            usual = Origin.MEASURED
        case CsvSettings() | PersistenceSettings():
            usual = Origin.UNDECLARED
        case _:
            usual = Origin.ASSUMED
    return _input(key, what, usual, annotations)


def _factors(request: PolicyRequest, annotations: Annotations) -> Iterator[Input]:
    for site in request.sites:
        yield _input(ObjectKey(Kind.SITE, "", site.name), FACTORS, Origin.ASSUMED, annotations, factors_of(site))


def factors_of(site: Site) -> str:
    """A site's constants, in words."""
    water = [
        f"{name} {value:g} L/kWh"
        for name, value in (("WUE", site.wue_l_per_kwh), ("EWIF", site.ewif_l_per_kwh))
        if value is not None
    ]
    return ", ".join([f"PUE {site.pue:g}", *water])


def _demand(request: PolicyRequest, annotations: Annotations) -> Iterator[Input]:
    for pair in request.pairs:
        key = ObjectKey(Kind.DEMAND, pair.demand.namespace, pair.demand.name)
        named = pair.entry.source
        source = None if named is None else request.sources.get(named.source)
        if source is not None:
            yield _of_source(source, "demand", annotations)
        else:
            yield _input(key, "demand by wall clock", Origin.ASSUMED, annotations)


def _queries(request: PolicyRequest, annotations: Annotations) -> Iterator[Input]:
    """What a query is taken to be is chosen, wherever its arrivals are from."""
    for pair in request.pairs:
        key = ObjectKey(Kind.DEMAND, pair.demand.namespace, pair.demand.name)
        yield Input(
            object=str(key), what=QUERIES, origin=Origin.ASSUMED, citation=annotations.get(key, {}).get(CITATION, "")
        )


def _network(request: PolicyRequest, annotations: Annotations) -> Input:
    links = [site.name in pair.area.network for pair in request.pairs for site in request.sites]
    found = _input(ObjectKey(Kind.POLICY, "", request.policy.name), NETWORK, Origin.ASSUMED, annotations)
    if all(links):
        return replace(found, values="given")
    return replace(
        found,
        values="some given, others estimated" if any(links) else "estimated",
        citation=found.citation or f"great circle x {STRETCH:g} (assumed) at the speed of light in fibre (ITU-T G.652)",
    )


def _input(key: ObjectKey, what: str, usual: Origin, annotations: Annotations, values: str = "") -> Input:
    notes = annotations.get(key, {})
    try:
        origin = Origin(notes.get(ORIGIN, usual))
    except ValueError:
        known = ", ".join(entry for entry in Origin if entry is not Origin.UNDECLARED)
        raise InvalidInputError(
            f'{key}: metadata.annotations: {ORIGIN}: "{notes[ORIGIN]}" is unknown (known: {known})'
        ) from None
    return Input(object=str(key), what=what, origin=origin, values=values, citation=notes.get(CITATION, ""))
