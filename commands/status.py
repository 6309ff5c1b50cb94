"""The command that reports what is indexed."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import (
    MAX_COUNT,
    AsJson,
    stdout,
    with_library,
)
from indexer.library import Library

_SHOWN_FAILURES = 5


@with_library()
def status(
    library: Library,
    failures: Annotated[
        int | None,
        typer.Option("--failures", min=0, max=MAX_COUNT, help="Number of failed files to list. (default: 5; all with --json)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show counts, models, recent runs and failures."""
    from commands.output.status import write_status
    from indexer.maintenance import status as status_service

    limit = failures if failures is not None else MAX_COUNT if as_json else _SHOWN_FAILURES
    report = status_service.status(library, limit)
    with stdout() as out:
        write_status(report, as_json, out)
