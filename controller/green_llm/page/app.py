"""The page and its JSON over HTTP: looks up, makes a document, renders. Every route is a GET."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from green_llm.domain.request import ObjectKey
from green_llm.errors import InvalidInputError
from green_llm.page import figures, words
from green_llm.page.account import account
from green_llm.page.history import History
from green_llm.page.horizon import horizon
from green_llm.page.matrix import matrix
from green_llm.page.now import now, rates, resources
from green_llm.page.past import past
from green_llm.page.what_if import WhatIfs
from green_llm.services.outcome import Outcome
from green_llm.services.wording import number

API = "/api/v1"
API_VERSION = "v1"
HOURS = (24.0, 72.0, 168.0)
"""What the history can be looked at by default."""
MOST_RESOURCES = 200
"""Rows of conditions on the page; all are in the JSON."""
LATE_SECONDS = 30.0
"""An interval is late when it is so much later than a whole one left out."""
NOTHING = (
    "nothing has been planned here yet: the first interval is under way, or there is no GreenPolicy that takes part"
)
STATIC = Path(__file__).parent / "static"
Statuses = Mapping[ObjectKey, Mapping[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VIEWS = (
    ("/", "Now"),
    ("/horizon", "Horizon"),
    ("/history", "History"),
    ("/account", "Account"),
    ("/what-if", "What if"),
)


@dataclass
class Page:
    """What the page shows: snapshots that are replaced, never changed, so that any thread may look."""

    outcomes: Callable[[], Mapping[str, Outcome]]
    """The last outcome by policy."""
    statuses: Callable[[], Statuses]
    """The status of every resource."""
    history: History
    what_ifs: WhatIfs = field(default_factory=WhatIfs)
    period_seconds: float | None = None
    """Time between intervals, where it is not the policy's."""
    recorded: Callable[[], Mapping[str, float]] = dict
    """When the last outcome of each policy came, by ``time.monotonic()``."""
    real_time: bool = True
    """Whether intervals come at their period; those of a replay do not."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why the last interval of a policy came to nothing, by policy; replaced, never changed."""
    stands_by: Callable[[], str | None] = lambda: None
    """Who plans in place of this process; None where nobody does."""

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        for path, show in (
            ("/", self._now), ("/horizon", self._horizon), ("/history", self._history), ("/account", self._account),
            ("/what-if", self._what_if),
        ):  # fmt: skip
            app.router.add_get(path, self._page(show))
            app.router.add_get(API + ("/now" if path == "/" else path), self._json(show))
        app.router.add_get(API, self._index)
        app.router.add_get("/static/plotly.js", _plotly)
        app.router.add_get("/static/{name:page\\.(?:css|js)}", _static)

    async def _index(self, request: web.Request) -> web.Response:
        """Which policies there are, and how new each is."""
        del request
        policies = [
            {
                "name": name,
                "at": outcome.now,
                "mode": outcome.policy.mode.value,
                "termination": outcome.result.termination.value if outcome.result else "none",
                "trouble": self._trouble(outcome),
            }
            for name, outcome in sorted(self.outcomes().items())
        ]
        views = [API + ("/now" if path == "/" else path) for path, _ in VIEWS]
        return _answer({"apiVersion": API_VERSION, "kind": "Index", "policies": policies, "views": views})

    async def _now(self, request: web.Request) -> Shown:
        outcome = self._outcome(request)
        document = now(outcome, self.statuses(), self.period_seconds)
        if trouble := self._trouble(outcome):
            document = replace(document, messages=(trouble, *document.messages))
        everybody = [(other.policy, list(rates(other))) for _, other in sorted(self.outcomes().items())]
        return self._shown(
            "now.html",
            document,
            outcome,
            overview=everybody if len(everybody) > 1 else [],
            matrix=matrix(document, request.query.get("class")),
            resources=document.resources[:MOST_RESOURCES],
        )

    async def _horizon(self, request: web.Request) -> Shown:
        outcome = self._outcome(request)
        document = horizon(outcome)
        if document is None:
            raise InvalidInputError(f"policy {outcome.policy.name} has no plan now: {outcome.error}")
        return self._shown("horizon.html", document, outcome, figures=figures.of_horizon(document))

    async def _history(self, request: web.Request) -> Shown:
        outcome, hours = self._outcome(request), _hours(request)
        kept = await asyncio.wrap_future(self.history.read(outcome.policy.name, hours))
        document = past(outcome.policy, kept, hours, self.history.trouble)
        shown = figures.of_past(document) if len(kept) > 1 else []
        return self._shown(
            "history.html", document, outcome, figures=shown, choices=HOURS, lasting=self.history.path is not None
        )

    async def _account(self, request: web.Request) -> Shown:
        outcome = self._outcome(request)
        return self._shown("account.html", account(outcome), outcome, at=plain(outcome.now))

    async def _what_if(self, request: web.Request) -> Shown:
        outcome, ask = self._outcome(request), request.query.get("ask") == "1"
        document = await self.what_ifs.answer(outcome, request.query.get("objective"), ask=ask)
        return self._shown("what_if.html", document, outcome, figures=figures.of_what_if(document))

    def _outcome(self, request: web.Request) -> Outcome:
        """The outcome of the policy that is asked for; the first one where none is.

        Raises:
            InvalidInputError: there is none.
        """
        known = self.outcomes()
        if not known:
            failed = [f"policy {name}: {message}" for name, message in sorted(self.failures.items())]
            raise InvalidInputError("; ".join(failed) or self.stands_by() or NOTHING)
        name = request.query.get("policy") or min(known)
        if name not in known:
            why = f": {self.failures[name]}" if name in self.failures else ""
            raise InvalidInputError(f'there is no policy "{name}" here{why}; known: {", ".join(sorted(known))}')
        return known[name]

    def _trouble(self, outcome: Outcome) -> str | None:
        """Why what is shown of a policy is older than it should be."""
        name, failure = outcome.policy.name, self.failures.get(outcome.policy.name)
        found = f"The last interval came to nothing and is tried again: {failure}" if failure else None
        came = self.recorded().get(name)
        period = self.period_seconds or outcome.policy.period_seconds
        passed = 0.0 if came is None or not self.real_time else time.monotonic() - came
        if passed <= 2.0 * period + LATE_SECONDS:
            return found
        late = (
            f"The planner is late: it last planned {words.duration(passed)} ago and should every {words.duration(period)}. "
            "The weights stay as it left them, and this page as it was then"
        )
        return f"{late}. {found}" if found else late

    def _shown(self, template: str, document: Any, outcome: Outcome, **more: Any) -> Shown:
        context = {"document": document, "policy": outcome.policy, "figures": [], "trouble": self._trouble(outcome)}
        return Shown(template, document, context | more)

    def _page(self, show: Callable[[web.Request], Awaitable[Shown]]) -> Handler:
        """The view as a page."""

        async def handler(request: web.Request) -> web.StreamResponse:
            status, known = 200, self.outcomes()
            try:
                shown = await show(request)
                template, context = shown.template, shown.context
            except InvalidInputError as error:
                status, template = 404, "nothing.html"
                outcome = known.get(request.query.get("policy") or min(known, default=""))
                context = {
                    "message": str(error), "policy": outcome and outcome.policy, "figures": [], "trouble": None,
                    "resources": [] if known else resources(self.statuses())[:MOST_RESOURCES],
                }  # fmt: skip
            frame: dict[str, Any] = {
                "path": request.path, "views": VIEWS, "tags": _tags(), "api": _api_address(request),
                "policies": sorted(known),
            }  # fmt: skip
            text = _templates().get_template(template).render({**context, **frame})
            response = web.Response(text=text, content_type="text/html", status=status)
            response.headers["Cache-Control"] = "no-store"
            response.enable_compression()
            return response

        return handler

    def _json(self, show: Callable[[web.Request], Awaitable[Shown]]) -> Handler:
        """The same view as JSON."""

        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                document = (await show(request)).document
            except InvalidInputError as error:
                body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Error", "message": str(error)}
                if not self.outcomes():
                    body["resources"] = resources(self.statuses())
                return _answer(body, status=404)
            return _answer({"apiVersion": API_VERSION, "kind": type(document).__name__, **plain(document)})

        return handler


@dataclass(frozen=True)
class Shown:
    """A document, and how it is shown."""

    template: str
    document: Any
    context: Mapping[str, Any]


def _answer(content: Any, status: int = 200) -> web.Response:
    response = web.json_response(plain(content), status=status, headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response


def plain(value: Any) -> Any:
    """A document as JSON has it: times in ISO 8601, null for what is no number."""
    if is_dataclass(value):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return None if isinstance(value, float) and not isfinite(value) else value


def _hours(request: web.Request) -> float:
    text = request.query.get("hours", "72")
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 24 * 366:
        raise InvalidInputError(f'hours: "{text}" is no number of hours between 0 and 8784')
    return found


def _api_address(request: web.Request) -> str:
    path = API + ("/now" if request.path == "/" else request.path)
    return f"{path}?{request.query_string}" if request.query_string else path


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("green_llm.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {
        "number": number, "signed": words.signed, "per_cent": words.per_cent, "duration": words.duration,
        "clock": words.clock, "signal_name": words.signal_name, "hold_name": words.hold_name,
        "by_tokens": words.by_tokens,
    }  # fmt: skip
    return found


@cache
def _plotly_path() -> Path:
    """Plotly's script in the installed package, which is not imported."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package plotly is not installed; install green-llm with its dependencies")
    return Path(found.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


@cache
def _tags() -> dict[str, str]:
    """What is added to the address of each static file, so that it can be kept for ever."""
    own = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in STATIC.iterdir()}
    return own | {"plotly.js": version("plotly")}


@cache
def _packed_plotly() -> bytes:
    return gzip.compress(_plotly_path().read_bytes(), compresslevel=6)


_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


async def _plotly(request: web.Request) -> web.StreamResponse:
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return web.FileResponse(_plotly_path(), headers=_FOR_EVER)
    packed = await asyncio.to_thread(_packed_plotly)
    headers = {**_FOR_EVER, "Content-Encoding": "gzip", "Content-Type": "text/javascript; charset=utf-8"}
    return web.Response(body=packed, headers=headers)


async def _static(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / request.match_info["name"], headers=_FOR_EVER)
