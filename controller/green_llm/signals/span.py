"""What recorded signals cover."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from green_llm.domain.request import CsvSettings, LiveSettings, Source
from green_llm.domain.topology import Site
from green_llm.errors import GreenLLMError
from green_llm.signals.collect import place_of
from green_llm.signals.providers.csv import ReadText, file_of, parse
from green_llm.signals.recordings import Question, Recorded
from green_llm.signals.table import Table


def recorded_files(sites: Collection[Site], sources: Mapping[str, Source]) -> Iterator[tuple[Site, Source, str]]:
    """Every CSV file that a site's chain reads, with the site and the source."""
    for site in sites:
        for chain in site.signals.values():
            for reference in chain:
                source = sources.get(reference.source)
                if source is not None and isinstance(source.settings, CsvSettings):
                    yield site, source, file_of(source.settings, reference.params)


def common_span(
    sites: Collection[Site], sources: Mapping[str, Source], read_text: ReadText, recordings: Recorded
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
    for table in _recorded(sites, sources, recordings):
        starts.append(float(table.start.min()))
        ends.append(float(table.end.max()))
    if not starts or max(starts) >= min(ends):
        return None
    return datetime.fromtimestamp(max(starts), UTC), datetime.fromtimestamp(min(ends), UTC)


def _recorded(sites: Collection[Site], sources: Mapping[str, Source], recordings: Recorded) -> Iterator[Table]:
    """What was recorded of every live question of the sites."""
    questions = {}
    for site in sites:
        for kind, chain in site.signals.items():
            for reference in chain:
                source = sources.get(reference.source)
                if source is not None and isinstance(source.settings, LiveSettings):
                    question = Question(source.name, kind, reference.params, place_of(site, kind))
                    questions[question.key] = question
    for question in questions.values():
        with contextlib.suppress(GreenLLMError):
            table = recordings.table(question)
            if table is not None:
                yield table


def _keyed(found: Iterator[tuple[Site, Source, str]]) -> Iterator[tuple[str, str, str]]:
    for _, source, file in found:
        yield "", source.name, file
