"""The command that reports what is indexed."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import (
    MOST,
    AsJson,
    Home,
    open_command_library,
    stdout,
)


def status(
    context: typer.Context,
    failures: Annotated[int, typer.Option("--failures", min=0, max=MOST, help="Number of failed files to list.")] = 5,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show counts, models, recent runs and failures."""
    from commands.output.status import write_status
    from indexer.maintenance import status as status_service

    status = status_service.status(open_command_library(context, home=home), failures)
    with stdout() as out:
        write_status(status, as_json, out)
