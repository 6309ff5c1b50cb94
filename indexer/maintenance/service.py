"""The health check and the repair of a library, as one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import need_database
from indexer.domain.errors import disk_error
from indexer.domain.health import DoctorReport, Repair
from indexer.maintenance.check import IntegrityCheck
from indexer.maintenance.repair import repair_findings
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


def doctor(settings: Settings, deep: bool, repair: bool, progress: Progress) -> DoctorReport:
    """Look for what is wrong with a data folder and, if wanted, mend what can be. Without a repair, only reads, whoever writes;
    but an older schema is brought up to date, as by every command.

    Raises NotIndexed, WriterBusy where a repair meets a writer, StoreDamaged where nothing at all can be read for a repair or the
    database is another program's.
    """
    from db.sqlite.errors import translate_sqlite_errors
    from db.writer_lock import writer, writer_lock

    need_database(settings)
    if not repair:
        with graceful_stop("nothing was changed") as check_stop, translate_sqlite_errors(settings.database):
            holder = writer(settings.home)
            look = IntegrityCheck(settings, None if holder is None else holder.pid, progress, check_stop)
            return DoctorReport(settings.home, look.run(deep))
    with (
        writer_lock(settings.home),
        graceful_stop("what was mended stays so; the same command goes on from there") as check_stop,
        _writable(settings.home),
        translate_sqlite_errors(settings.database),
    ):
        look = IntegrityCheck(settings, None, progress, check_stop)
        found = look.run(deep)
        if not any(one.about.mended for one in found.findings):
            return DoctorReport(settings.home, found)
        saved, recovered = repair_findings(settings, look, found, progress)
        return DoctorReport(settings.home, found, Repair(saved, recovered, look.run(False)))


@contextmanager
def _writable(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(f"The data folder {home}", error) from error
