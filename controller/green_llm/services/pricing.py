"""What each price of a chain counts: every entry has a basis, and entries of differing basis are made alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from green_llm.domain.request import LiveSettings, PersistenceSettings, Source, StaticSettings, TariffSettings
from green_llm.domain.series import SignalRef
from green_llm.domain.services import SERVICES

RETAIL = "Retail"


@dataclass(frozen=True)
class PriceFault:
    """What is wrong with one entry: it is left out, and the rest of its chain is used."""

    index: int
    reason: str
    message: str


def with_bases(chain: Sequence[SignalRef], sources: Mapping[str, Source]) -> tuple[SignalRef, ...]:
    """The chain with the basis of each entry: what it says, else the only one that its provider has."""
    return tuple(
        entry
        if entry.basis is not None or (source := sources.get(entry.source)) is None
        else replace(entry, basis=basis_of_provider(source))
        for entry in chain
    )


def basis_of_provider(source: Source) -> str | None:
    """The basis of all prices that a source has; None where only its user can know.

    A constant or a tariff is what somebody pays.
    """
    match source.settings:
        case LiveSettings(service=service):
            return SERVICES[service].price_basis
        case StaticSettings() | TariffSettings():
            return RETAIL
        case _:
            return None


def price_faults(chain: Sequence[SignalRef], sources: Mapping[str, Source]) -> Iterator[PriceFault]:
    """Entries whose prices are of no known basis, or of another one than those before; persistence has its chain's."""
    known = [
        (index, entry)
        for index, entry in enumerate(with_bases(chain, sources))
        if entry.source in sources and not isinstance(sources[entry.source].settings, PersistenceSettings)
    ]
    first = next((entry for _, entry in known if entry.basis is not None), None)
    plain = {entry.basis for _, entry in known if _is_plain(entry) and entry.basis is not None}
    for index, entry in known:
        if entry.basis is None:
            message = (
                f"it names no basis, and SignalSource {entry.source} does not say what its prices are; give "
                "basis: DayAhead, RealTime or Retail"
            )
            yield PriceFault(index, "PriceBasisMissing", message)
        elif first is not None and entry.basis != first.basis and _is_plain(entry) and len(plain) > 1:
            message = (
                f"its basis {entry.basis} differs from {first.basis} before it; give multiplier and adderPerMWh so that both "
                "are delivered prices, or the basis that it stands for"
            )
            yield PriceFault(index, "PriceBasisMixed", message)


def _is_plain(entry: SignalRef) -> bool:
    """Whether a price is taken as it comes."""
    return entry.multiplier == 1.0 and entry.adder_per_mwh == 0.0
