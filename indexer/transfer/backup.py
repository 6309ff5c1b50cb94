"""Backups: everything that cannot be computed again, in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import need_database
from indexer.domain.errors import UsageError
from indexer.domain.health import BackupReport
from indexer.ports.progress import task
from indexer.system.signals import graceful_stop
from indexer.transfer.output_file import check_output_path, translate_output_errors

if TYPE_CHECKING:
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


_EXPORT_PAGE_ROWS = 4096


def backup(settings: Settings, target: Path, force: bool, progress: Progress) -> BackupReport:
    """Write everything that cannot be computed anew, and what it took long to compute, into one file, also while something is
    indexed: the database as it is at this moment, and the user's own models.

    Raises UsageError where the file is there, unless `force`, or cannot be written, NotIndexed, StoreDamaged.
    """
    from db.sqlite.check import count_rows
    from db.sqlite.database_files import copy_database, remove_database
    from db.sqlite.raw_connection import reading
    from indexer.transfer.backup_file import DATABASE, models_in, write_archive

    need_database(settings)
    check_output_path(target, force)
    if target.resolve() == settings.database.resolve():
        raise UsageError(f"{target} is the library itself; choose another name for its backup.")
    copy = target.with_name(f".{target.name}.{os.getpid()}.sqlite.tmp")
    with graceful_stop("nothing was written") as check_stop, translate_output_errors(target):
        try:
            with _pages(progress, check_stop) as advance:
                copy_database(settings.database, copy, advance, check_stop)
            with reading(copy) as connection:
                rows = count_rows(connection)
            files = {DATABASE: copy, **models_in(settings.models)}
            with task(progress, check_stop, sum(file.stat().st_size for file in files.values())) as count:
                manifest = write_archive(target, files, rows, count)
        finally:
            remove_database(copy)
    return BackupReport(target, target.stat().st_size, rows, len(manifest.members) - 1)


@contextmanager
def _pages(progress: Progress, check_stop: Callable[[], None]) -> Iterator[Callable[[int, int], None]]:
    """As `task`, for a number of pages that is known only when the work has begun."""
    before = -1

    def advance(done: int, total: int) -> None:
        nonlocal before
        check_stop()
        if before < 0:
            progress.start(total * _EXPORT_PAGE_ROWS)
            before = 0
        progress.advance((done - before) * _EXPORT_PAGE_ROWS, 0)
        before = done

    try:
        yield advance
    finally:
        progress.finish()
