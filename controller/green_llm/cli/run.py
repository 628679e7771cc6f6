"""``green-llm run``: the main job on a directory of YAML files."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from green_llm.cli.errors import Exit, of_result
from green_llm.cli.session import moment, stop_on_signals
from green_llm.errors import InvalidInputError, StoreError

if TYPE_CHECKING:
    from green_llm.bootstrap.embedded import EmbeddedRun, Reading
    from green_llm.services.outcome import Outcome

DEFAULT_METRICS_PORT = 9464
FIRST_SIGNALS_SECONDS = 15.0
"""How long ``--once`` waits for live signals."""


def run(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources and routes.")],
    once: Annotated[bool, typer.Option(help="Plan every policy once, then end.")] = False,
    interval: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds between plans; default: the policy's.")
    ] = None,
    replay: Annotated[
        float | None, typer.Option(min=1, metavar="SPEEDUP", help="Run recorded days this much faster than real time.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Begin at this time (ISO 8601); default: now, or the recording's.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End a replay at this time; default: the recording's end.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve the live page and /metrics here; default 9464.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object with --once, else one a line per interval.")
    ] = False,
) -> int:
    """Plan every policy of a directory at each interval, and write the weights into its routes.

    Edits are picked up while it runs; Ctrl-C ends it after the interval under way. A replay runs recorded signals, obeys
    what was known at each time, and keeps its ledger in memory.
    """
    if once and replay is not None:
        raise InvalidInputError("--once and --replay exclude each other; give --start with --once")
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings()
        wait = FIRST_SIGNALS_SECONDS if once else 0.0
        embedded = EmbeddedRun(directory, settings, replay=replay is not None, first_wait_seconds=wait)
        embedded.require_writable()
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
    begin = moment(start, "--start") if start else None
    finish = moment(until, "--until") if until else None
    if once:
        return asyncio.run(_once(embedded, begin or datetime.now(UTC), as_json=as_json))
    from green_llm.bootstrap.common import web_server  # noqa: PLC0415

    embedded.page.period_seconds = interval
    port = DEFAULT_METRICS_PORT if metrics_port is None else metrics_port
    with web_server(settings, embedded.recorder, embedded.page, port) as served:
        at = f"http://{settings.metrics_address}:{served}/"
        typer.echo(f"{f'page on {at}, ' if settings.page else ''}metrics on {at}metrics", err=True)
        if replay is not None:
            return asyncio.run(_replay(embedded, replay, interval, begin, finish, as_json=as_json))
        return asyncio.run(_forever(embedded, interval, settings.poll_seconds, as_json=as_json))


async def _once(embedded: EmbeddedRun, now: datetime, *, as_json: bool) -> int:
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.cli.run_report import print_outcome  # noqa: PLC0415

    reading = await embedded.read()
    _warn(reading)
    outcomes = await _all(embedded, reading, now)
    if as_json:
        print_json(_document(embedded, reading, outcomes))
    else:
        for outcome in outcomes:
            print_outcome(outcome)
    if not outcomes:
        raise InvalidInputError("there is no GreenPolicy that parses; `green-llm validate` says what is wrong")
    return max((Exit.FAILED if o.result is None else of_result(o.result) for o in outcomes), default=Exit.OPTIMAL)


def _document(embedded: EmbeddedRun, reading: Reading, outcomes: list[Outcome]) -> dict[str, Any]:
    """All policies of an interval as JSON, and how the live sources do."""
    from green_llm.cli.run_report import outcome_document  # noqa: PLC0415

    return {
        "policies": {o.policy.name: outcome_document(o, reading.admission.problems) for o in outcomes},
        "sources": {name: asdict(health) for name, health in embedded.hub.health.items()},
    }


class _Voice:
    """Says what intervals come to: a line for each policy, or one of JSON."""

    def __init__(self, embedded: EmbeddedRun, *, as_json: bool) -> None:
        self._embedded, self._as_json = embedded, as_json
        self._said: dict[str, list[str]] = {}
        """Troubles by policy: each is said when it begins."""

    def say(self, reading: Reading, outcomes: list[Outcome]) -> None:
        from green_llm.cli.report import print_json_line  # noqa: PLC0415
        from green_llm.cli.run_report import print_line, troubles  # noqa: PLC0415

        if self._as_json:
            print_json_line(_document(self._embedded, reading, outcomes))
            return
        for outcome in outcomes:
            print_line(outcome)
            name, found = outcome.policy.name, troubles(outcome)
            for message in found:
                if message not in self._said.get(name, []):
                    typer.echo(f"{name}: {message}", err=True)
            self._said[name] = found


async def _all(embedded: EmbeddedRun, reading: Reading, now: datetime) -> list[Outcome]:
    """One interval of every policy, then the status files."""
    outcomes = [await embedded.reconcile(request, now) for request in reading.requests.values()]
    embedded.recorder.keep_only(reading.requests)
    embedded.write_status(reading, outcomes, now)
    return outcomes


async def _forever(embedded: EmbeddedRun, interval: float | None, poll_seconds: float, *, as_json: bool) -> int:
    """Plan when a policy is due, and at once when a file changes."""
    stop, voice = stop_on_signals(), _Voice(embedded, as_json=as_json)
    due: dict[str, datetime] = {}
    reading, fresh = await embedded.read(), True
    _warn(reading)
    while not stop.is_set():
        now = datetime.now(UTC)
        embedded.recorder.turn()
        if embedded.changed():
            reading, due, fresh = await embedded.read(), {}, True
            _warn(reading)
        ready = [
            request
            for name, request in reading.requests.items()
            if due.get(name, now) <= now or await embedded.slo_moved(request, now)
        ]
        outcomes = []
        for request in ready:
            outcomes.append(await embedded.reconcile(request, now))
            period = timedelta(seconds=interval or request.policy.period_seconds)
            due[request.policy.name] = now + period
        if outcomes:
            voice.say(reading, outcomes)
        if outcomes or fresh:  # a verdict does not need a plan
            embedded.recorder.keep_only(reading.requests)
            embedded.write_status(reading, outcomes, now)
            fresh = False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), poll_seconds)
    return Exit.OPTIMAL


async def _replay(
    embedded: EmbeddedRun,
    speedup: float,
    interval: float | None,
    begin: datetime | None,
    until: datetime | None,
    *,
    as_json: bool,
) -> int:
    """Step through recorded time, a period at a time, no faster than ``speedup``."""
    from green_llm.cli.run_report import print_totals  # noqa: PLC0415

    stop, voice = stop_on_signals(), _Voice(embedded, as_json=as_json)
    reading = await embedded.read()
    _warn(reading)
    span = embedded.recorded_span(reading.loaded.resources)
    if span is None and (begin is None or until is None):
        raise InvalidInputError("there are no recorded signals that overlap; give --start and --until")
    # The first recorded day is there for persistence to repeat.
    now = begin or (span[0] + timedelta(days=1) if span else datetime.now(UTC))
    end = until or (span[1] if span else now)
    last: dict[str, Outcome] = {}
    while now < end and not stop.is_set():
        begun = asyncio.get_running_loop().time()
        embedded.recorder.turn()
        if embedded.changed():
            reading = await embedded.read()
            _warn(reading)
        outcomes = await _all(embedded, reading, now)
        voice.say(reading, outcomes)
        last |= {outcome.policy.name: outcome for outcome in outcomes}
        period = interval or min((o.policy.period_seconds for o in outcomes), default=300)
        now += timedelta(seconds=period)
        pause = period / speedup - (asyncio.get_running_loop().time() - begun)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(pause, 0.001))
    for outcome in () if as_json else last.values():
        print_totals(outcome)
    return Exit.OPTIMAL


def _warn(reading: Reading) -> None:
    """Say on stderr what is left out."""
    for message in reading.loaded.unreadable:
        typer.echo(message, err=True)
    for problem in reading.admission.problems:
        typer.echo(f"{located(reading, problem)}: {problem.key}: {problem.field}: {problem.message}", err=True)


def located(reading: Reading, problem: Any) -> str:
    """``FILE:LINE`` of a problem."""
    origin = reading.loaded.origins.get(problem.key)
    return origin.at(problem.field) if origin else "?"
