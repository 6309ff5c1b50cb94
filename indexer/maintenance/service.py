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
    """Check a library, even while another process writes. Nothing is changed, except that an older schema is migrated.

    Raises NotIndexed, and StoreDamaged for the database of another program.
    """
    maintenance = _maintenance(library)
    with graceful_stop("nothing was changed") as check_stop, maintenance.translate_errors():
        writer = library.database.current_writer()
        found = IntegrityCheck(library, maintenance, None if writer is None else writer.pid, progress, check_stop).run(deep)
    return DoctorReport(library.settings.home, found.report)


def check_and_repair(library: Library, deep: bool, progress: Progress) -> DoctorReport:
    """Check a library, repair what can be repaired, and check again.

    Raises NotIndexed, WriterBusy, and StoreDamaged if nothing at all can be read or the database is another program's.
    """
    maintenance = _maintenance(library)
    home = library.settings.home
    with (
        library.database.lock_writer(),
        graceful_stop("what was mended stays so; the same command goes on from there") as check_stop,
        _translate_disk_errors(home),
        maintenance.translate_errors(),
    ):
        checking = IntegrityCheck(library, maintenance, None, progress, check_stop)
        found = checking.run(deep)
        if not any(one.about.mended for one in found.report.findings):
            return DoctorReport(home, found.report)
        repaired = repair(library, maintenance, found, progress)
        after = checking.run(False).report
    return DoctorReport(home, found.report, Repair(repaired.saved, repaired.salvaged, after))


def _maintenance(library: Library) -> DatabaseMaintenance:
    library.require_database()
    if library.database.maintenance is None:
        raise UsageError("This library's database is a server's; check and repair it with the tools of that server.")
    return library.database.maintenance


@contextmanager
def _translate_disk_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(f"The data folder {home}", error) from error
