"""A live page over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from green_llm.api import status
from green_llm.bootstrap.common import page_of
from green_llm.domain.request import Kind, ObjectKey
from green_llm.observability.metrics import Recorder
from green_llm.observability.server import application, served
from green_llm.page.app import Page
from green_llm.page.what_if import WhatIfs
from green_llm.services.outcome import Outcome
from green_llm.settings import Settings


@dataclass(frozen=True)
class Answer:
    """What a request brought."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A page that is served."""

    port: int
    recorder: Recorder
    page: Page
    statuses: dict[ObjectKey, Mapping[str, Any]]

    def record(self, outcome: Outcome) -> None:
        """What a process does with an outcome."""
        key = ObjectKey(Kind.POLICY, "", outcome.policy.name)
        found = {key: status.policy_status(outcome, self.statuses.get(key))}
        found |= status.site_statuses(outcome, self.statuses) | status.demand_statuses(outcome, self.statuses)
        self.statuses |= found
        self.recorder.record(outcome)
        self.page.history.record(outcome)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def a_site_served(
    history: Path | None = None, address: str = "127.0.0.1", token_file: str = "", port: int = 0, **settings: Any
) -> Iterator[Site]:
    """A page as the processes wire it; answers of What if do not yield, so that a busy machine gives them time."""
    recorder, statuses = Recorder(), dict[ObjectKey, Mapping[str, Any]]()
    page = page_of(Settings(**settings), recorder, lambda: statuses, history)
    page.what_ifs = WhatIfs(time_limit_s=240.0, yields=0)
    app = application(recorder.registry, address, token_file)
    page.mount(app)
    with served(app, port, address) as found:
        try:
            yield Site(found, recorder, page, statuses)
        finally:
            page.history.close()
