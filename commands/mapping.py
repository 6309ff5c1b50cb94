"""The command that makes the map of the library."""

from __future__ import annotations

from commands.options import AsJson, stdout, with_library
from indexer.library import Library


@with_library("model")
def map_command(library: Library, as_json: AsJson = False) -> None:
    """Make the map of the library that the page shows."""
    from commands.output.maps import write_map_report
    from commands.output.progress import TerminalProgress
    from indexer.mapping.make import make_map

    report = make_map(library, TerminalProgress("Mapping", "steps"))
    with stdout() as out:
        write_map_report(report, as_json, out)
