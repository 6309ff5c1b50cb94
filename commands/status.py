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


@with_library()
def status(
    library: Library,
    failures: Annotated[int, typer.Option("--failures", min=0, max=MAX_COUNT, help="Number of failed files to list.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show counts, models, recent runs and failures."""
    from commands.output.status import write_status
    from indexer.maintenance import status as status_service

    report = status_service.status(library, failures)
    with stdout() as out:
        write_status(report, as_json, out)
