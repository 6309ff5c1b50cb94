"""Backups: labels, results and the user's own models in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from indexer.domain.health import BackupReport
from indexer.ports.progress import task
from indexer.system.signals import graceful_stop
from indexer.transfer.backup_file import DATABASE, models_in, write_archive
from indexer.transfer.output_file import check_output_path, translate_output_errors

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.ports.progress import Progress

_PAGE_BYTES = 4096
"""The size of a page of the database, as progress shows it."""


def backup(library: Library, target: Path, force: bool, progress: Progress) -> BackupReport:
    """Write a snapshot of the database and the user's own models into one file, even during an index run.

    Raises UsageError if the file exists, unless `force`, or cannot be written; NotIndexed and StoreDamaged.
    """
    library.require_database()
    check_output_path(target, force)
    maintenance = library.database.maintenance
    if maintenance is None or not maintenance.is_file:
        raise UsageError("This library is on a database server; back it up with the tools of that server.")
    if maintenance.holds(target):
        raise UsageError(f"{target} is the library itself; choose another name for the backup.")
    copy = target.with_name(f".{target.name}.{os.getpid()}.sqlite.tmp")
    with graceful_stop("nothing was written") as check_stop, translate_output_errors(target):
        try:
            with _page_progress(progress, check_stop) as advance_pages:
                rows = maintenance.copy_to(copy, advance_pages, check_stop)
            files = {DATABASE: copy, **models_in(library.settings.models)}
            with task(progress, check_stop, sum(file.stat().st_size for file in files.values())) as advance:
                manifest = write_archive(target, files, rows, advance)
        finally:
            maintenance.remove_copy(copy)
    return BackupReport(target, target.stat().st_size, rows, len(manifest.members) - 1)


@contextmanager
def _page_progress(progress: Progress, check_stop: Callable[[], None]) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of copying pages, whose number is known only after the first call."""
    before = -1

    def advance(done: int, total: int) -> None:
        nonlocal before
        check_stop()
        if before < 0:
            progress.start(total * _PAGE_BYTES)
            before = 0
        progress.advance((done - before) * _PAGE_BYTES, 0)
        before = done

    try:
        yield advance
    finally:
        progress.finish()
