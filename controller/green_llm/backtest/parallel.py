"""Jobs on local processes, or on a Dask cluster. Intervals of one job are in series; jobs are side by side."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from green_llm.errors import WorkerError

Report = Callable[[str, int, int], None]
"""Called with a job's name, what it has done and all it has to do."""
GO_ON = "the same command goes on from what was last kept"


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
        InvalidInputError: the scheduler cannot be reached, Dask is not installed, or a worker is of another version.
        WorkerError: a process was killed, the scheduler was lost, or no worker is left.
    """
    if scheduler is not None:
        from green_llm.backtest.cluster import on_dask  # noqa: PLC0415 - an optional dependency

        return on_dask(jobs, report, scheduler)
    if processes == 1 or len(jobs) == 1:
        return {name: job.function(*job.arguments, Named(name, report)) for name, job in jobs.items()}
    return _on_processes(jobs, report, processes)


@dataclass(frozen=True)
class Named:
    """The progress of one job."""

    name: str
    report: Report

    def __call__(self, done: int, everything: int) -> None:
        """Tell it."""
        self.report(self.name, done, everything)


_queue: Any = None


def _begin(queue: Any) -> None:
    """In a new process: where its progress goes, and that it ends with the one that began it."""
    global _queue  # noqa: PLW0603 - a process of a pool gets what it needs only once, at its start
    _queue = queue
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed can end nobody: its jobs would go on for hours, beside those of the next try."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _put(name: str, done: int, everything: int) -> None:
    _queue.put((name, done, everything))


def _call(name: str, job: Job) -> Any:
    return job.function(*job.arguments, Named(name, _put))


def _on_processes(jobs: Mapping[str, Job], report: Report, processes: int) -> dict[str, Any]:
    context = _context()
    queue = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, report), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, _begin, (queue,))
    try:
        futures = {pool.submit(_call, name, job): name for name, job in jobs.items()}
        return {futures[future]: future.result() for future in as_completed(futures)}
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a process was killed while it worked (out of memory?); {GO_ON}; with fewer --processes it takes less memory"
        ) from error
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
