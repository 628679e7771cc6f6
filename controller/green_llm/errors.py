"""Every error Green-LLM raises on purpose.

A message names the object, the field, the fault and the next step. The class says whether trying again can help.
"""

from __future__ import annotations


class GreenLLMError(Exception):
    """Base of all errors raised on purpose; ``retry`` says whether the same call may succeed later."""

    retry: bool = False


class InvalidInputError(GreenLLMError):
    """A file, resource or option is wrong; the user must change it."""


class InvalidInstanceError(InvalidInputError):
    """A field of a problem instance is missing, has the wrong shape or an impossible value."""


class NoPlanError(GreenLLMError):
    """The solver ended without any plan that can be used; the message says why."""

    retry = True


class TimeUpError(NoPlanError):
    """The time limit passed before any plan was known that keeps every limit."""


class PlanCheckError(GreenLLMError):
    """A plan breaks a balance or limit it was said to keep: a defect, never the user's fault."""


class SignalError(GreenLLMError):
    """A signal source has no usable value; another source in the chain may."""

    retry = True


class StoreError(GreenLLMError):
    """Resources, routes or the ledger could not be read or written."""

    retry = True


class WorkerError(GreenLLMError):
    """A process or cluster that worked on a part of a back-test has gone; what was kept on the way is still there."""

    retry = True
