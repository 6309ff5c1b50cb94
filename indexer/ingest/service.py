"""Indexing a library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import StoreDamaged, disk_error
from indexer.ingest import run
from indexer.ingest.roots import split_available_roots
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.ingest.run import IndexRequest
    from indexer.library import Library
    from indexer.ports.progress import Progress

_SECONDS_PER_DAY = 86400.0


def index(
    library: Library, paths: Sequence[bytes], request: IndexRequest, progress: Progress, record_idle: bool = True
) -> Summary:
    """Index folders and files, then bring the vector index up to date. No other process can write meanwhile.

    Folders that are indexed but missing are reported, and keep their entries unless the request says otherwise. A run that finds
    nothing to do leaves no record unless `record_idle`.

    Raises UsageError for a path that does not exist, WriterBusy, ModelUnavailable, DeviceUnavailable, MissingExtra, StoreDamaged
    and Interrupted; what was committed before stays.
    """
    from db.vectors.sync import sync_index  # it imports numpy, which whoever only lists jobs can do without

    settings = library.settings
    roots = split_available_roots(paths, library.source, library.knows)
    settings.make_home()
    context = run.RunContext(
        source=library.source,
        open_executor=library.open_executor,
        own_folder=os.fsencode(settings.home),
        workers=settings.worker_count,
        grace_seconds=_SECONDS_PER_DAY * settings.grace_days,
        record_idle=record_idle,
    )
    with (
        library.database.lock_writer(),
        graceful_stop("what was indexed so far is kept, and the next run goes on from there") as check_stop,
        library.open_batch_analyzer() as analyzer,
    ):
        with library.database.open() as store:
            summary = run.index(roots, store, analyzer, request, context, progress, check_stop)
            key = analyzer.classifier.card.key
            model = next(model for model in store.models() if model.card.key == key)
            try:
                sync_index(store, library.vector_storage(), model)
            except OSError as error:
                raise disk_error(f"All is indexed, but the vector index {error.filename or settings.vectors}", error) from error
            check_stop()
        if not library.database.exists():
            raise StoreDamaged(f"The database {settings.database} was removed while it was written; index again.")
    return summary
