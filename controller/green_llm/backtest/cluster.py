"""Jobs on a Dask cluster. Dask gives a job to another worker where one dies; what Dask cannot mend is said in one message."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from importlib.metadata import version
from typing import Any

from green_llm.backtest.parallel import GO_ON, Job, Named, Report
from green_llm.errors import InvalidInputError, WorkerError

TOPIC = "green-llm-backtest"
CONNECT_SECONDS = 10.0
LOOK_SECONDS = 5.0
"""How often it is asked whether anybody still works."""
WORKERLESS_SECONDS = 120.0
"""A cluster that grows by itself has no worker at first; one without any for longer has been forgotten."""


def on_dask(jobs: Mapping[str, Job], report: Report, scheduler: str) -> dict[str, Any]:
    """The result of every job by name.

    Raises:
        InvalidInputError: the scheduler cannot be reached, Dask is not installed, or a worker cannot do the work.
        WorkerError: the scheduler was lost, workers died again and again under one job, or none is left.
    """
    try:
        import distributed  # noqa: PLC0415 - an optional dependency
        from distributed.comm import CommClosedError  # noqa: PLC0415
    except ImportError:
        raise InvalidInputError("--scheduler needs Dask; install green-llm[dask]") from None
    try:
        asyncio.run(_reach(scheduler))
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"--scheduler: {scheduler} cannot be reached: {error}") from error
    try:
        with client, client.as_current():
            _check_workers(client, scheduler)
            client.subscribe_topic(TOPIC, lambda event: report(*event[1]))
            with warnings.catch_warnings():
                # Recordings go with each job: a scattered copy would be lost with the worker that holds it.
                warnings.filterwarnings("ignore", message="Sending large graph")
                futures = {client.submit(_call, name, job, pure=False): name for name, job in jobs.items()}
            return {futures[future]: future.result() for future in _ended(client, set(futures), scheduler)}
    except (CancelledError, CommClosedError) as error:
        raise WorkerError(f"--scheduler: the connection to {scheduler} is lost; start it again: {GO_ON}") from error
    except distributed.KilledWorker as error:
        raise WorkerError(
            f"--scheduler: {error.allowed_failures + 1} workers have died under one job (out of memory?); {GO_ON}"
        ) from error


async def _reach(scheduler: str) -> None:
    """Greet whoever listens there: a client waits for ever for the greeting of a server that is no scheduler.

    Raises:
        OSError, ValueError: nobody listens, nobody greets back, or it is no address.
    """
    from distributed import Security  # noqa: PLC0415
    from distributed.comm import connect  # noqa: PLC0415

    options = Security().get_connection_args("client")
    try:
        comm = await asyncio.wait_for(connect(scheduler, timeout=CONNECT_SECONDS, **options), CONNECT_SECONDS + 1.0)
    except TimeoutError as error:
        raise OSError(str(error) or f"no scheduler answers there within {CONNECT_SECONDS:g} s") from error
    comm.abort()


def _ended(client: Any, waiting: set[Any], scheduler: str) -> Iterator[Any]:
    """Futures as they end.

    Raises:
        WorkerError: nobody has worked on them for long.
    """
    from distributed import wait  # noqa: PLC0415

    worked = time.monotonic()
    while waiting:
        try:
            ended, waiting = wait(waiting, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            if client.nthreads():
                worked = time.monotonic()
            elif time.monotonic() - worked > WORKERLESS_SECONDS:
                raise WorkerError(
                    f"--scheduler: {scheduler} has had no worker for {WORKERLESS_SECONDS:g} s; "
                    f"start some (dask worker {scheduler}): {GO_ON}"
                ) from None
            continue
        yield from ended


def _check_workers(client: Any, scheduler: str) -> None:
    """Every worker that is there now has this version.

    Raises:
        InvalidInputError: one has another, or none.
    """
    here = version("green-llm")
    for worker, found in client.run(_version, on_error="return").items():
        if isinstance(found, Exception):
            raise _incapable(scheduler, worker, str(found))
        if found != here:
            raise _incapable(scheduler, worker, f"it has green-llm {found}, and {here} asks")


def _incapable(scheduler: str, worker: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"--scheduler: {scheduler}: {worker} cannot do the work: {why}; install green-llm[dask]=={version('green-llm')} there"
    )


def _version() -> str:
    return version("green-llm")


def _log(name: str, done: int, everything: int) -> None:
    from distributed import get_worker  # noqa: PLC0415

    get_worker().log_event(TOPIC, (name, done, everything))


def _call(name: str, job: Job) -> Any:
    return job.function(*job.arguments, Named(name, _log))
