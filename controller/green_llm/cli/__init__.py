"""The command line: ``green-llm`` and ``python -m green_llm``. One module per command."""

from __future__ import annotations

import sys

import typer

from green_llm.cli import (
    account,
    backtest,
    bench,
    calibrate,
    compare,
    operator,
    release,
    run,
    solve,
    validate,
    verify,
    what_if,
)
from green_llm.cli.errors import guarded
from green_llm.cli.signals import signals

app = typer.Typer(
    name="green-llm",
    help="Steer LLM inference between data centres by cost, carbon, water and delay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _command in (
    solve.solve,
    verify.verify,
    compare.compare,
    bench.bench,
    run.run,
    backtest.backtest,
    what_if.what_if,
    validate.validate,
    calibrate.calibrate,
    account.account,
    operator.operator,
    release.release,
):
    app.command()(_command)
app.add_typer(signals, name="signals")


def main() -> None:
    """Run a command and exit with its status."""
    sys.exit(guarded(app))
