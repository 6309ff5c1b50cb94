"""The command that moves a library between a file and a server."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import AsJson, stdout, with_settings
from indexer.settings import Settings


@with_settings()
def migrate(
    _settings: Settings,
    source: Annotated[str, typer.Option("--from", help="The library: sqlite:FILE or postgresql://...", show_default=False)],
    target: Annotated[str, typer.Option("--to", help="Where it goes: an empty database, or a new file.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Copy a library from SQLite to PostgreSQL, or back, and compare all rows."""
    from functools import partial

    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_migrated
    from indexer.bootstrap import open_library_copy
    from indexer.transfer import migrate as service

    rows = service.migrate(partial(open_library_copy, source, target), TerminalProgress("Copying", "rows"))
    with stdout() as out:
        write_migrated(rows, as_json, out)
