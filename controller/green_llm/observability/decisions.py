"""Decision records: one structured log line per interval that says what changed, and why."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from green_llm.domain.slo import Verdict
from green_llm.services.outcome import Outcome

logger = logging.getLogger("green_llm.decisions")
logger.addHandler(logging.NullHandler())
SHOWN = 20


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, and what ``extra={"fields": …}`` adds."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def decision(outcome: Outcome) -> dict[str, Any]:
    """What an interval decided and what limited it; pure."""
    result = outcome.result
    changed = [row for row in outcome.weights if row.written]
    held = sorted({row.held_by for row in outcome.weights if row.held_by})
    return {
        "policy": outcome.policy.name,
        "at": outcome.now.isoformat(),
        "termination": result.termination.value if result else "none",
        "error": outcome.error,
        "routes_written": sorted({str(row.route) for row in changed}),
        "held_by": held,
        "held_sites": dict(outcome.held_sites),
        "slo_broken": {"/".join(key): j.message for key, j in outcome.judged.items() if j.verdict is Verdict.BROKEN},
        "binding": sorted({binding.limit.value for binding in result.binding}) if result else [],
        "broken": [entry.message for entry in result.diagnosis][:SHOWN] if result else [],
        "broken_in_force": [entry.message for entry in outcome.broken_in_force][:SHOWN],
        "signal_problems": [problem.message for problem in outcome.book.problems][:SHOWN],
        "writes_failed": [f"{key}: {message}" for key, message in outcome.writes_failed.items()],
        "audit_error": outcome.audit_error,
        "skipped": [f"{problem.key}: {problem.field}: {problem.message}" for problem in outcome.skipped][:SHOWN],
    }


def log_to_stderr(which: logging.Logger = logger) -> None:
    """Write decision records (or all that another logger gets) to stderr, a line of JSON each."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    which.addHandler(handler)
    which.setLevel(logging.INFO)


def log_decision(outcome: Outcome) -> None:
    """Log an interval; a warning where something keeps it from what was asked for."""
    fields = decision(outcome)
    troubled = outcome.degraded or outcome.writes_failed or outcome.held_sites or outcome.audit_error
    written = len(fields["routes_written"])
    message = f"policy {outcome.policy.name}: {fields['termination']}, {written} routes written"
    logger.log(logging.WARNING if troubled else logging.INFO, message, extra={"fields": fields})
