"""The weights that routes of a directory were found with: noted once, before the first write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from green_llm.domain.routes import Route, RouteWrite
from green_llm.errors import StoreError
from green_llm.store import files

Noted = dict[str, dict[str, dict[str, int]]]
"""Weight by route, rule and back-end."""


class Originals:
    """One file of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: Noted | None = None

    def on(self, route: Route) -> Route:
        """The route with the weights its rules were found with, where they are noted.

        Raises:
            StoreError: the file is damaged.
        """
        noted = self._read().get(str(route.key), {})
        return replace(
            route,
            rules=tuple(
                replace(rule, original={key: noted[rule.name].get(str(key), 0) for key in rule.weights})
                if rule.name in noted
                else rule
                for rule in route.rules
            ),
        )

    def note(self, change: RouteWrite) -> None:
        """Note the weights of rules that are about to be written for the first time; of back-ends added since, too.

        Raises:
            StoreError: the file is damaged, or cannot be written.
        """
        known = self._read()
        route = str(change.route.key)
        rules = dict(known.get(route, {}))
        for name in change.weights:
            before = {str(key): weight for key, weight in change.route.rule(name).weights.items()}
            rules[name] = {**before, **rules.get(name, {})}
        if rules != known.get(route):
            found = {**known, route: rules}
            files.write_atomically(self._path, json.dumps(found, indent=1, sort_keys=True) + "\n")
            self._known = found

    def _read(self) -> Noted:
        if self._known is None:
            try:
                self._known = json.loads(files.read(self._path)) if self._path.exists() else {}
            except ValueError as error:
                raise StoreError(
                    f"{self._path}: is damaged ({error}); restore it from a copy, or delete it to begin with today's weights"
                ) from error
        return self._known
