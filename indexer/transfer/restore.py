"""Restoring a backup."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import StoreDamaged, UsageError
from indexer.domain.health import RestoreReport
from indexer.ports.progress import task
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


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
            with task(progress, check_stop, sum(member.bytes for member in manifest.members.values())) as count:
                extract(source, manifest, folder, count)
            _check_database(source, folder / DATABASE)
            SqliteStore(folder / DATABASE).close()  # brings it up to date, and says so where it is a newer moodex's
            check_stop()
            kept = _put_in_place(settings, folder)
        finally:
            discard(folder)
    return RestoreReport(settings.home, manifest.created, dict(manifest.rows), len(manifest.members) - 1, tuple(kept))


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
