"""Exit statuses, in one place."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

import typer

from green_llm.domain.plan import Result, Termination
from green_llm.errors import GreenLLMError, InvalidInputError, TimeUpError

T = TypeVar("T")
UsageError: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
"""What a wrong option raises; newer versions of typer bring their own click, so it is found by its heir."""
LONG_SECONDS = 2.0
"""From then on a command says on stderr what it is doing."""


class Exit(IntEnum):
    """What a command's exit status means."""

    OPTIMAL = 0
    FAILED = 1
    WRONG_INPUT = 2
    INFEASIBLE = 3
    TIME_LIMIT = 4
    INTERRUPTED = 130


def of_result(result: Result) -> Exit:
    """The status of an optimisation."""
    match result.termination:
        case Termination.OPTIMAL:
            return Exit.OPTIMAL
        case Termination.INFEASIBLE:
            return Exit.INFEASIBLE
        case Termination.TIME_LIMIT:
            return Exit.TIME_LIMIT


def guarded(app: typer.Typer) -> int:
    """Run the application; every error becomes one message on stderr and a status."""
    try:
        status = int(app(standalone_mode=False) or 0)
        # typer turns Ctrl-C into this status without a word.
        return _say("interrupted", Exit.INTERRUPTED) if status == Exit.INTERRUPTED else status
    except UsageError as error:
        problem: Any = error
        problem.show()
        return int(problem.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted", Exit.INTERRUPTED)
    except GreenLLMError as error:
        status = Exit.FAILED
        if isinstance(error, InvalidInputError):
            status = Exit.WRONG_INPUT
        if isinstance(error, TimeUpError):
            status = Exit.TIME_LIMIT
        return _say(str(error), status)
    except BrokenPipeError:
        # The reader has gone (`… | head`); writing what is left would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


def interruptible(work: Callable[[Callable[[str], None]], T]) -> T:
    """Run ``work(progress)`` so that Ctrl-C ends the program at once, even inside the solver.

    What ``work`` reports is printed on stderr once it has taken two seconds.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    said: list[str] = []

    def target() -> None:
        try:
            outcome.append(work(said.append))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=target, name="solve", daemon=True)
    thread.start()
    shown = None
    try:
        thread.join(LONG_SECONDS)
        while thread.is_alive():
            if said and said[-1] is not shown:
                shown = said[-1]
                typer.echo(f"{shown} …", err=True)
            thread.join(0.2)
    except KeyboardInterrupt:
        # The solver's thread cannot be stopped from outside; nothing is half-written, so the process may just end.
        typer.echo("interrupted", err=True)
        sys.stdout.flush()
        os._exit(Exit.INTERRUPTED)
    if failure:
        raise failure[0]
    return outcome[0]


def _say(message: str, status: Exit) -> int:
    typer.echo(f"green-llm: {message}", err=True)
    return status
