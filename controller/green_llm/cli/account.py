"""``green-llm account``: what a month took, as booked and with what is known by now."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from green_llm.cli.errors import Exit
from green_llm.errors import InvalidInputError, StoreError

if TYPE_CHECKING:
    from green_llm.bootstrap.embedded import EmbeddedRun
    from green_llm.domain.amounts import Month
    from green_llm.domain.audit import Rows
    from green_llm.services.statement import Statement
    from green_llm.settings import Settings
    from green_llm.store.audit_files import AuditFiles


@dataclass(frozen=True, kw_only=True)
class Account:
    """One policy's month, of one currency and one way of counting carbon."""

    policy: str
    month: str
    currency: str
    carbon_basis: str
    booked: Statement
    restated: Statement | None
    """None where the policy's resources are not in the directory."""
    ledger: Month | None
    """The month as the ledger has it; None where the ledger is elsewhere."""
    audited_kwh: float
    """Energy in force of all the policy's rows."""


def account(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of resources, or of audits.")],
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Month (UTC); default: this one.")] = None,
    policy: Annotated[str | None, typer.Option(help="Only this GreenPolicy.")] = None,
    audit: Annotated[Path | None, typer.Option(help="Directory of the audits; default: DIR/audit.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the restated rows of the audit here, as CSV.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Account for a month: cost, emissions and water of what was in force, beside the nearest site and the weights of adoption.

    As it was booked, and restated with what signals are known to have been by now (files and recordings of DIR). Exit status:
    0 it is accounted for, 2 there is no audit of that month.
    """
    from green_llm.cli.account_report import account_document, print_account  # noqa: PLC0415 - heavy: --help must not wait
    from green_llm.cli.report import print_json  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    start, end = _bounds(month or f"{datetime.now(UTC):%Y-%m}")
    settings = Settings()
    files = _files(directory, audit, settings)
    names = [name for name in files.policies() if policy in (None, name)]
    rows = {name: found for name in names if len((found := files.read(name, start, end))["site"])}
    if not rows:
        known = ", ".join(files.policies()) or "of no policy"
        raise InvalidInputError(
            f"there is no audit of {start:%Y-%m} in {files.root} (audits: {known}); name another --month"
        )
    accounts, restated = asyncio.run(_accounts(directory, settings, rows, start))
    if csv is not None:
        _write_csv(restated, csv)
    if as_json:
        print_json({"month": f"{start:%Y-%m}", "accounts": [account_document(entry) for entry in accounts]})
    else:
        for entry in accounts:
            print_account(entry)
    return Exit.OPTIMAL


def _bounds(month: str) -> tuple[datetime, datetime]:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise InvalidInputError(f'--month: "{month}" is no month, such as 2026-11')
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return start, start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def _files(directory: Path, audit: Path | None, settings: Settings) -> AuditFiles:
    """The audits that are named, else those beside the resources, else the directory's own."""
    from green_llm.bootstrap.common import AUDIT  # noqa: PLC0415
    from green_llm.store.audit_files import AuditFiles  # noqa: PLC0415

    if not directory.is_dir():
        raise InvalidInputError(f"{directory}: is no directory; name one that holds the resources, or the audits")
    beside = Path(settings.audit_directory) if settings.audit_directory else directory / AUDIT
    return AuditFiles(audit or (beside if beside.is_dir() else directory))


async def _accounts(
    directory: Path, settings: Settings, rows: dict[str, Rows], start: datetime
) -> tuple[list[Account], list[Rows]]:
    from green_llm.bootstrap.embedded import EmbeddedRun  # noqa: PLC0415
    from green_llm.domain.audit import IN_FORCE  # noqa: PLC0415
    from green_llm.services.statement import groups, statement  # noqa: PLC0415

    embedded = EmbeddedRun(directory, settings, replay=True)
    accounts, all_rows = [], []
    for policy, booked in rows.items():
        found = await _restated(embedded, policy, booked)
        all_rows.append(booked if found is None else found)
        again = {} if found is None else {(currency, basis): part for currency, basis, part in groups(found)}
        for currency, basis, part in groups(booked):
            accounts.append(
                Account(
                    policy=policy,
                    month=f"{start:%Y-%m}",
                    currency=currency,
                    carbon_basis=basis,
                    booked=statement(part),
                    restated=statement(again[currency, basis]) if again else None,
                    ledger=_month(embedded, policy, f"{start:%Y-%m}"),
                    audited_kwh=float(booked["energy_kwh"][booked["side"] == IN_FORCE].sum()),
                )
            )
    return accounts, all_rows


async def _restated(embedded: EmbeddedRun, policy: str, booked: Rows) -> Rows | None:
    """Rows with what is known by now; None where the policy is not in the directory."""
    from green_llm.services.restating import restated  # noqa: PLC0415

    reading = await embedded.read()
    request = reading.requests.get(policy)
    if request is None:
        return None
    return restated(booked, await embedded.settled(request, booked, datetime.now(UTC)))


def _month(embedded: EmbeddedRun, policy: str, month: str) -> Month | None:
    ledger = embedded.store.load_ledger(policy)
    return None if ledger is None else ledger.months.get(month)


def _write_csv(rows: list[Rows], path: Path) -> None:
    from green_llm.domain.audit import joined  # noqa: PLC0415
    from green_llm.store.audit_files import write_csv  # noqa: PLC0415

    try:
        write_csv(joined(rows), path)
    except StoreError as error:
        raise InvalidInputError(str(error)) from error
