"""Jobs on local processes, or on a Dask cluster. Intervals of one job are in series; jobs are side by side."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from green_llm.errors import InvalidInputError

Report = Callable[[str, int, int], None]
"""Called with a job's name, what it has done and all it has to do."""
TOPIC = "green-llm-backtest"
RETRIES = 5
"""How often Dask gives a job to another worker when one has died under it."""


@dataclass(frozen=True)
class Job:
    """``function(*arguments, progress)`` on some process; both must be picklable."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def run_jobs(
    jobs: Mapping[str, Job], report: Report, *, processes: int = 1, scheduler: str | None = None
) -> dict[str, Any]:
    """The result of every job by name. With one process and no scheduler they run here, one after the other.

    Raises:
        InvalidInputError: the scheduler cannot be reached, or Dask is not installed.
    """
    if scheduler is not None:
        return _on_dask(jobs, report, scheduler)
    if processes == 1 or len(jobs) == 1:
        return {name: job.function(*job.arguments, _Named(name, report)) for name, job in jobs.items()}
    return _on_processes(jobs, report, processes)


@dataclass(frozen=True)
class _Named:
    """The progress of one job."""

    name: str
    report: Report

    def __call__(self, done: int, everything: int) -> None:
        self.report(self.name, done, everything)


_queue: Any = None


def _begin(queue: Any) -> None:
    """In a new process: where its progress goes."""
    global _queue  # noqa: PLW0603 - a process of a pool gets what it needs only once, at its start
    _queue = queue


def _put(name: str, done: int, everything: int) -> None:
    _queue.put((name, done, everything))


def _call(name: str, job: Job) -> Any:
    return job.function(*job.arguments, _Named(name, _put))


def _on_processes(jobs: Mapping[str, Job], report: Report, processes: int) -> dict[str, Any]:
    context = _context()
    queue = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, report), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, _begin, (queue,))
    try:
        futures = {pool.submit(_call, name, job): name for name, job in jobs.items()}
        return {futures[future]: future.result() for future in as_completed(futures)}
    except BaseException:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - a pool has no other way to end what runs
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        queue.put(None)
        listener.join()


def _context() -> Any:
    """Processes that share nothing with this one; where that is possible, all imports are done once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["green_llm.backtest.run"])
    return context


def _listen(queue: Any, report: Report) -> None:
    while (entry := queue.get()) is not None:
        report(*entry)


def _log(name: str, done: int, everything: int) -> None:
    from distributed import get_worker  # noqa: PLC0415 - an optional dependency

    get_worker().log_event(TOPIC, (name, done, everything))


def _call_on_worker(name: str, job: Job) -> Any:
    return job.function(*job.arguments, _Named(name, _log))


def _on_dask(jobs: Mapping[str, Job], report: Report, scheduler: str) -> dict[str, Any]:
    try:
        import distributed  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise InvalidInputError("--scheduler needs Dask; install green-llm[dask]") from None
    try:
        client = distributed.Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"--scheduler: {scheduler} cannot be reached: {error}") from error
    with client:
        client.subscribe_topic(TOPIC, lambda event: report(*event[1]))
        futures = {
            client.submit(_call_on_worker, name, job, pure=False, retries=RETRIES): name for name, job in jobs.items()
        }
        return {futures[future]: future.result() for future in distributed.as_completed(futures, loop=client.loop)}
