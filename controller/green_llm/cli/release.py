"""``green-llm release``: let go of everything in a cluster, before uninstalling."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from green_llm.cli.errors import Exit
from green_llm.errors import InvalidInputError


def release(
    everything: Annotated[bool, typer.Option("--all", help="Release every route and demand of the cluster.")] = False,
    seconds: Annotated[float, typer.Option("--timeout", min=20, help="Give up after this many seconds.")] = 55.0,
) -> int:
    """Restore the original weights of every route and remove our finalizers; no custom resource is deleted.

    Works while an operator runs (it is kept from writing) and when it is dead. The chart runs it before it is uninstalled.
    """
    if not everything:
        raise InvalidInputError("release lets go of everything there is in the cluster; say so with --all")
    from green_llm.bootstrap.cluster import cluster_parts  # noqa: PLC0415 - heavy: --help must not wait for it
    from green_llm.operator.release import release as let_go  # noqa: PLC0415
    from green_llm.settings import Settings  # noqa: PLC0415

    found = asyncio.run(let_go(cluster_parts(Settings()), seconds))
    typer.echo(
        f"{found.restored} routes restored, {found.kept} keep their weights (deletionPolicy: Retain), "
        f"{found.demands} demands released"
    )
    return Exit.OPTIMAL
