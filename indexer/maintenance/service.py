"""The health check and the repair of a library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError, disk_error
from indexer.domain.health import DoctorReport, Repair
from indexer.maintenance.check import IntegrityCheck
from indexer.maintenance.repair import repair
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.progress import Progress


def check(library: Library, deep: bool, progress: Progress) -> DoctorReport:
    """Check a library, even while another process writes. Changes nothing, but migrates an older schema.

    Raises NotIndexed, and ForeignDatabase for the database of another program.
    """
    maintenance = _maintenance(library)
    with graceful_stop("nothing was changed") as check_stop, maintenance.translate_errors():
        writer = next(iter(library.database.current_writers()), None)
        result = IntegrityCheck(library, maintenance, None if writer is None else writer.pid, progress, check_stop).run(deep)
    return DoctorReport(library.settings.home, result.report)


def check_and_repair(library: Library, deep: bool, progress: Progress) -> DoctorReport:
    """Check a library, repair what can be repaired, and check again.

    Raises NotIndexed, WriterBusy, StoreDamaged if nothing can be read, and ForeignDatabase.
    """
    maintenance = _maintenance(library)
    home = library.settings.home
    with (
        library.database.lock_writer(),
        graceful_stop("finished repairs are kept; run the same command to resume") as check_stop,
        _translate_disk_errors(home),
        maintenance.translate_errors(),
    ):
        integrity_check = IntegrityCheck(library, maintenance, None, progress, check_stop)
        before = integrity_check.run(deep)
        if not any(finding.about.repairable for finding in before.report.findings):
            return DoctorReport(home, before.report)
        repaired = repair(library, maintenance, before, progress)
        after = integrity_check.run(False).report
    return DoctorReport(home, before.report, Repair(repaired.saved, repaired.salvaged, after))


def _maintenance(library: Library) -> DatabaseMaintenance:
    library.require_database()
    if library.database.maintenance is None:
        raise UsageError("This library is on a database server; check and repair it with the tools of that server.")
    return library.database.maintenance


@contextmanager
def _translate_disk_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(f"The data folder {home}", error) from error
