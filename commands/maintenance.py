"""The command that checks and repairs a library."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from commands.options import AsJson, stdout, with_library
from indexer.library import Library


@with_library()
def doctor(
    library: Library,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired, after a backup copy.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also read every image file and compare its digest.")] = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Check the library for damage. --repair fixes what it can, after a backup copy."""
    from commands.output.health import write_doctor_report
    from commands.output.progress import TerminalProgress
    from indexer.maintenance import service as maintenance_service

    progress = TerminalProgress("Checking", "rows")
    if repair:
        report = maintenance_service.check_and_repair(library, deep, progress)
    else:
        report = maintenance_service.check(library, deep, progress)
    with stdout() as out:
        write_doctor_report(report, repair, as_json, out)
    raise typer.Exit(report.exit_code)
