"""What recorded signals cover."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from green_llm.domain.request import CsvSettings, Source
from green_llm.domain.topology import Site
from green_llm.errors import GreenLLMError
from green_llm.signals.providers.csv import ReadText, file_of, parse


def recorded_files(sites: Collection[Site], sources: Mapping[str, Source]) -> Iterator[tuple[Site, Source, str]]:
    """Every CSV file that a site's chain reads, with the site and the source."""
    for site in sites:
        for chain in site.signals.values():
            for reference in chain:
                source = sources.get(reference.source)
                if source is not None and isinstance(source.settings, CsvSettings):
                    yield site, source, file_of(source.settings, reference.params)


def common_span(
    sites: Collection[Site], sources: Mapping[str, Source], read_text: ReadText
) -> tuple[datetime, datetime] | None:
    """The time that all recorded files cover; None where there is none or they do not overlap."""
    starts, ends = [], []
    for _, source, file in set(_keyed(recorded_files(sites, sources))):
        try:
            table = parse(read_text(file)[1], source)
        except GreenLLMError:
            continue
        if len(table.start):
            starts.append(float(table.start.min()))
            ends.append(float(table.end.max()))
    if not starts or max(starts) >= min(ends):
        return None
    return datetime.fromtimestamp(max(starts), UTC), datetime.fromtimestamp(min(ends), UTC)


def _keyed(found: Iterator[tuple[Site, Source, str]]) -> Iterator[tuple[str, str, str]]:
    for _, source, file in found:
        yield "", source.name, file
