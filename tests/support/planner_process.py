"""``green-llm run`` as a process of its own that says in JSON what each interval came to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Document = dict[str, Any]


@dataclass
class PlannerProcess:
    """Runs on a directory; ``documents`` are its lines so far, each with when it was read."""

    root: Path
    port: int
    options: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    documents: list[tuple[float, Document]] = field(default_factory=list)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "green_llm", "run", str(self.root), "--metrics-port", str(self.port), "--json"]
        self._errors = (self.root.parent / f"{self.root.name}.stderr").open("w+")
        self._process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env=os.environ | self.environment,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._reader.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.documents.append((time.time(), json.loads(line)))

    def wait_for(self, count: int, seconds: float = 400.0) -> None:
        """Wait until there are so many documents.

        Raises:
            AssertionError: it took too long, or the process ended; with what it said on stderr.
        """
        deadline = time.monotonic() + seconds
        while len(self.documents) < count:
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self._errors.seek(0)
                raise AssertionError(
                    f"{len(self.documents)} of {count} intervals, ended {ended}: {self._errors.read()}"
                )
            time.sleep(0.05)
