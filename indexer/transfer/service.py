"""The composition root of the commands that carry a library elsewhere and back: backup, restore, export, import."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import need_database, open_with_model
from indexer.domain.errors import StoreDamaged, UsageError, disk_error
from indexer.domain.export import Export, ExportFilter, ExportReport
from indexer.domain.health import BackupReport, RestoreReport
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.ports.progress import Progress
    from indexer.settings import Settings

_EXPORT_PAGE_ROWS = 4096
Writer = Callable[[Export, Path, Callable[[int], None]], int]
"""Writes an export to a file, and says so after every portion; how many rows."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which pictures an export is to hold, as it was typed."""

    emotions: tuple[str, ...] = ()
    under: bytes | None = None


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
    _check_target(target, force)
    if target.resolve() == settings.database.resolve():
        raise UsageError(f"{target} is the library itself; choose another name for its backup.")
    copy = target.with_name(f".{target.name}.{os.getpid()}.sqlite.tmp")
    with graceful_stop("nothing was written") as check_stop, _plain(target):
        try:
            with _pages(progress, check_stop) as advance:
                copy_database(settings.database, copy, advance, check_stop)
            with reading(copy) as connection:
                rows = count_rows(connection)
            files = {DATABASE: copy, **models_in(settings.models)}
            with _bytes(progress, check_stop, sum(file.stat().st_size for file in files.values())) as count:
                manifest = write_archive(target, files, rows, count)
        finally:
            remove_database(copy)
    return BackupReport(target, target.stat().st_size, rows, len(manifest.members) - 1)


def restore(settings: Settings, source: Path, yes: bool, progress: Progress) -> RestoreReport:
    """Put a backup in the place of what a data folder holds, once all of it has been checked; what was there is kept beside it.

    Raises UsageError for a file that is no backup, or where there is a database and not `yes`; StoreDamaged for a damaged backup,
    WriterBusy. Nothing has changed then.
    """
    from db.sqlite.store import SqliteStore
    from db.writer_lock import writer_lock
    from indexer.transfer.backup_file import DATABASE, discard, extract, read_manifest

    manifest = read_manifest(source)
    there = settings.database.exists() or bool(settings.models.is_dir() and any(settings.models.iterdir()))
    if there and not yes:
        raise UsageError(
            f"There is a library in {settings.home} already; to put the backup of {manifest.created} in its place, say --yes. "
            "What is there now is kept under another name."
        )
    settings.make_home()
    folder = settings.home / f".restore.{os.getpid()}.tmp"
    with writer_lock(settings.home), graceful_stop("nothing was restored") as check_stop:
        try:
            discard(folder)
            folder.mkdir()
            with _bytes(progress, check_stop, sum(member.bytes for member in manifest.members.values())) as count:
                extract(source, manifest, folder, count)
            _check_database(source, folder / DATABASE)
            SqliteStore(folder / DATABASE).close()  # brings it up to date, and says so where it is a newer moodex's
            check_stop()
            kept = _put_in_place(settings, folder)
        finally:
            discard(folder)
    return RestoreReport(settings.home, manifest.created, dict(manifest.rows), len(manifest.members) - 1, tuple(kept))


def export(settings: Settings, asked: ExportRequest, target: Path, force: bool, how: tuple[Writer, Progress]) -> ExportReport:
    """Write what a model says of all or some pictures, with people's labels, to a file, as it is at this moment.

    Raises UsageError where the file is there, unless `force`, UnknownEmotion, NotIndexed, ModelUnavailable, StoreDamaged.
    """
    from db.sqlite.engine import translate_sqlite_errors
    from db.sqlite.export_query import exported
    from db.sqlite.raw_connection import reading
    from indexer.domain.emotions import canonical, with_children
    from indexer.search.engine import available_emotions
    from indexer.system.atomic import replace_file

    _check_target(target, force)
    write, progress = how
    rows = 0
    with graceful_stop("nothing was written") as check_stop, open_with_model(settings) as (store, model):
        known = available_emotions(store, model)
        emotions = frozenset().union(*(with_children(canonical(word, known)) for word in asked.emotions))
        wanted = ExportFilter(emotions or None, None if asked.under is None else os.path.realpath(asked.under))

        def advance(count: int) -> None:
            check_stop()
            progress.advance(count, 0)

        def fill(temporary: Path) -> None:
            nonlocal rows
            with translate_sqlite_errors(settings.database), reading(settings.database, check_stop) as connection:
                rows = write(Export(model.card, exported(connection, model.id, model.card, wanted)), temporary, advance)

        progress.start(store.regions(model.id))
        try:
            with _plain(target):
                replace_file(target, fill)
        finally:
            progress.finish()
    return ExportReport(str(target), rows, model.card.name)


def _check_database(source: Path, database: Path) -> None:
    from db.sqlite.raw_connection import require_intact

    try:
        require_intact(database)
    except StoreDamaged as error:
        raise StoreDamaged(f"The database in the backup {source} is damaged; nothing was restored.") from error


def _put_in_place(settings: Settings, folder: Path) -> list[Path]:
    """Let what was restored to a folder be what is used; where what was there before is kept."""
    from db.sqlite.database_files import copy_aside, replace_live_database, unique_backup_name
    from indexer.system.atomic import sync_folder
    from indexer.transfer.backup_file import DATABASE, discard

    kept = []
    if settings.database.exists():
        kept.append(unique_backup_name(settings.database, "before-restore"))
        copy_aside(settings.database, kept[-1])
    restored = folder / "models"
    if settings.models.is_dir() and any(settings.models.iterdir()):
        kept.append(unique_backup_name(settings.models, "before-restore"))
        settings.models.rename(kept[-1])
    if restored.is_dir():
        if settings.models.is_dir():
            settings.models.rmdir()
        restored.rename(settings.models)
    sync_folder(settings.home)
    replace_live_database(folder / DATABASE, settings.database)
    discard(settings.vectors)  # derived: the next search makes them anew
    return kept


def _check_target(target: Path, force: bool) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder; say which file to write.")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; choose another name, or replace it with --force.")
    if not target.parent.is_dir():
        raise UsageError(f"The folder {target.parent} does not exist.")


@contextmanager
def _plain(target: Path) -> Iterator[None]:
    """Say in a sentence where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise disk_error(target, error) from error


@contextmanager
def _bytes(progress: Progress, check_stop: Callable[[], None], total: int) -> Iterator[Callable[[int], None]]:
    def advance(size: int) -> None:
        check_stop()
        progress.advance(size, 0)

    progress.start(total)
    try:
        yield advance
    finally:
        progress.finish()


@contextmanager
def _pages(progress: Progress, check_stop: Callable[[], None]) -> Iterator[Callable[[int, int], None]]:
    """As `_bytes`, for a number of pages that is known only when the work has begun."""
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
