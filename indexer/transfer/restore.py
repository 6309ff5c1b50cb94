"""The restoration of a backup."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import StoreDamaged, UsageError
from indexer.domain.health import RestoreReport
from indexer.ports.progress import task
from indexer.system.atomic import sync_folder, unique_backup_name
from indexer.system.signals import graceful_stop
from indexer.transfer.backup_file import DATABASE, discard, extract, read_manifest

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.progress import Progress


def restore(library: Library, source: Path, yes: bool, progress: Progress) -> RestoreReport:
    """Replace the library by a backup after checking all of it. The replaced library is kept under another name.

    Raises UsageError for a file that is not a backup, or if a library exists and `yes` is False; StoreDamaged for a damaged
    backup; WriterBusy. Nothing has changed then.
    """
    manifest = read_manifest(source)
    settings, maintenance = library.settings, library.database.maintenance
    if maintenance is None or not maintenance.is_file:
        raise UsageError("This library is on a database server; restore it with the tools of that server.")
    has_models = settings.models.is_dir() and any(settings.models.iterdir())
    if (library.database.exists() or has_models) and not yes:
        raise UsageError(
            f"{settings.home} already contains a library. To replace it by the backup of {manifest.created}, add --yes; the "
            "present library is kept under another name."
        )
    settings.make_home()
    folder = settings.home / f".restore.{os.getpid()}.tmp"
    with library.database.lock_writer(), graceful_stop("nothing was restored") as check_stop:
        try:
            discard(folder)
            folder.mkdir()
            with task(progress, check_stop, sum(member.bytes for member in manifest.members.values())) as advance:
                extract(source, manifest, folder, advance)
            _check_database(maintenance, source, folder / DATABASE)
            check_stop()
            kept = _put_in_place(library, maintenance, folder)
        finally:
            discard(folder)
    return RestoreReport(settings.home, manifest.created, dict(manifest.rows), len(manifest.members) - 1, tuple(kept))


def _check_database(maintenance: DatabaseMaintenance, source: Path, database: Path) -> None:
    try:
        maintenance.check_copy(database)
    except StoreDamaged as error:
        raise StoreDamaged(f"The database in the backup {source} is damaged; nothing was restored.") from error


def _put_in_place(library: Library, maintenance: DatabaseMaintenance, folder: Path) -> list[Path]:
    """Move the restored files into place; return the paths of the replaced database and models."""
    models = library.settings.models
    kept = [maintenance.copy_aside("before-restore")] if library.database.exists() else []
    restored = folder / "models"
    if models.is_dir() and any(models.iterdir()):
        kept.append(unique_backup_name(models, "before-restore"))
        models.rename(kept[-1])
    if restored.is_dir():
        if models.is_dir():
            models.rmdir()
        restored.rename(models)
    sync_folder(library.settings.home)
    maintenance.replace_by(folder / DATABASE)
    discard(library.settings.vectors)  # derived data, which the next search rebuilds
    return kept
