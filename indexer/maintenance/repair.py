"""Repair of what the check found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import model_registry
from indexer.domain.health import CheckReport
from indexer.maintenance.check import IntegrityCheck

if TYPE_CHECKING:
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


def repair_findings(
    settings: Settings, look: IntegrityCheck, found: CheckReport, progress: Progress
) -> tuple[Path | None, Mapping[str, int] | None]:
    """Mend what was found; the copy of the database from before, and the rows of each table where it was written anew."""
    from db.sqlite.database_files import copy_aside, unique_backup_name

    saved, recovered = None, None
    if any(one.about.mended and not one.about.derived for one in found.findings):
        saved = unique_backup_name(settings.database, "before-repair")
        copy_aside(settings.database, saved)
        if found.of("unreadable", "pages"):
            recovered = _salvage(settings, sum(found.rows.values()), progress)
        else:
            _repair_rows(settings, settings.database, found.of("indexes"), False)
        if look.rotten:
            from db.sqlite.file_checks import requeue_files

            requeue_files(settings.database, look.rotten)
    for path in look.strays:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _repair_vectors(settings, everything=recovered is not None or found.of("vectors_damaged", "vectors_wrong"))
    return saved, recovered


def _salvage(settings: Settings, rows: int, progress: Progress) -> Mapping[str, int]:
    from db.sqlite.database_files import remove_database, replace_database
    from db.sqlite.raw_connection import require_intact
    from db.sqlite.salvage import salvage

    new = settings.home / f".{settings.database.name}.{os.getpid()}.tmp"
    try:
        progress.start(rows)
        counts = salvage(settings.database, new, lambda rows: progress.advance(rows, 0))
        _repair_rows(settings, new, False, True)
        require_intact(new)
        replace_database(new, settings.database)
    finally:
        progress.finish()
        remove_database(new)
    return counts


def _repair_rows(settings: Settings, database: Path, indexes: bool, recovered: bool) -> None:
    from db.sqlite.raw_connection import writing
    from db.sqlite.repair import repair
    from db.sqlite.store import SqliteStore
    from indexer.maintenance.file_check import digest_of

    if recovered:
        SqliteStore(database).close()  # brings it up to date
    cards = {card.key: card for _, card in model_registry(settings).cards()}
    with writing(database) as connection:
        if indexes:
            connection.execute("REINDEX")
        repair(connection, cards, digest_of, recovered)


def _repair_vectors(settings: Settings, everything: bool) -> None:
    """Make the kept vector indexes current; all of them anew where `everything` is."""
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index

    files = FaissFiles(settings.vectors)
    with SqliteStore(settings.database) as store:
        for model in store.models():
            if everything:
                files.forget(model.card)
            if model.used:
                sync_index(store, files, model)
