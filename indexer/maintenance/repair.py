"""The repair of a library after a check."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db.vectors.sync import sync_index
from indexer.maintenance.file_check import digest_of

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.library import Library
    from indexer.maintenance.check import CheckResult
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.progress import Progress


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The copy of the database from before the repair, and the salvaged rows of each table.

    `saved` is None if the database was not touched, `salvaged` if it did not have to be rebuilt.
    """

    saved: Path | None = None
    salvaged: Mapping[str, int] | None = None


def repair(library: Library, maintenance: DatabaseMaintenance, check: CheckResult, progress: Progress) -> RepairResult:
    """Repair the findings of a check.

    Copies the database before it changes rows or pages, deletes leftover files, and updates or rebuilds the vector indexes.
    """
    result = RepairResult()
    report = check.report
    if any(finding.about.repairable and not finding.about.derived for finding in report.findings):
        saved, salvaged = maintenance.copy_aside("before-repair"), None
        cards = {card.key: card for _, card in library.models.cards()}
        if report.of("unreadable", "pages"):
            salvaged = _salvage(library, maintenance, cards, sum(report.rows.values()), progress)
        else:
            maintenance.repair_rows(cards, partial(digest_of, library.source), rebuild_indexes=report.of("indexes"))
        if check.rotten:
            with library.database.open() as store:
                store.requeue(check.rotten)
        result = RepairResult(saved, salvaged)
    for path in check.leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _sync_indexes(library, rebuild=result.salvaged is not None or report.of("vectors_damaged", "vectors_wrong"))
    return result


def _salvage(
    library: Library, maintenance: DatabaseMaintenance, cards: Mapping[str, ModelCard], rows: int, progress: Progress
) -> Mapping[str, int]:
    progress.start(rows)
    try:
        return maintenance.salvage(cards, partial(digest_of, library.source), lambda done: progress.advance(done, 0))
    finally:
        progress.finish()


def _sync_indexes(library: Library, rebuild: bool) -> None:
    """Bring the vector index of every model up to date, or rebuild it."""
    storage = library.vector_storage()
    with library.database.open() as store:
        for model in store.models():
            if rebuild:
                storage.delete(model.card)
            if model.used:
                sync_index(store, storage, model)
