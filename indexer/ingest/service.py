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
    """Index folders and files, then update the vector index. No other process can write during a run.

    Folders that are indexed but missing are reported, and keep their entries unless the request prunes them. `record_idle` is
    whether a run that finds nothing to do is recorded.

    Raises UsageError for a path that does not exist, WriterBusy, ModelUnavailable, DeviceUnavailable, MissingExtra, StoreDamaged
    and Interrupted; committed batches stay.
    """
    from db.vectors.sync import sync_index  # it imports numpy, which a list of jobs does not need

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
        graceful_stop("indexed images are kept, and the next run resumes there") as check_stop,
        library.open_batch_analyzer() as analyzer,
    ):
        with library.database.open() as store:
            summary = run.index(roots, store, analyzer, request, context, progress, check_stop)
            key = analyzer.classifier.card.key
            model = next(model for model in store.models() if model.card.key == key)
            try:
                sync_index(store, library.vector_storage(), model)
            except OSError as error:
                path = error.filename or settings.vectors
                raise disk_error(f"The images are indexed, but the vector index {path}", error) from error
            check_stop()
        if not library.database.exists():
            raise StoreDamaged(f"The database {settings.database} was removed during the run. Index again.")
    return summary
