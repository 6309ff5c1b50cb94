"""The composition root of indexing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from indexer.bootstrap import AnalyzerFactory, knows, open_batch_analyzer, open_store, workers
from indexer.domain.errors import StoreDamaged, disk_error
from indexer.registry.selection import select_stored_model
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.ingest.run import IndexOptions
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


def index(
    settings: Settings,
    paths: Sequence[bytes],
    options: IndexOptions,
    progress: Progress,
    reader_factory: AnalyzerFactory = open_batch_analyzer,
) -> Summary:
    """Index folders and files, then bring the vector index up to date. The only writer, for as long as it runs.

    Folders that are known and not there are reported, and lose nothing unless told to.
    """
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index
    from db.writer_lock import writer_lock
    from indexer.ingest import run
    from indexer.ingest.roots import split_available_roots

    roots, away = split_available_roots(paths, partial(knows, settings))
    settings.make_home()
    options = replace(
        options,
        scan=replace(options.scan, own_folder=os.fsencode(settings.home)),
        workers=workers(settings),
        grace=86400.0 * settings.grace_days if options.grace is None else options.grace,
    )
    with (
        writer_lock(settings.home),
        graceful_stop("what was indexed so far is kept, and the next run goes on from there") as check_stop,
        reader_factory(settings) as reader,
    ):
        card = reader.classifier.card
        with open_store(settings) as store:
            summary = run.index(roots, store, reader, options, progress, check_stop, away)
            try:
                sync_index(store, FaissFiles(settings.vectors), select_stored_model(store, card.name, card.key))
            except OSError as error:
                raise disk_error(f"All is indexed, but the vector index {error.filename or settings.vectors}", error) from error
            check_stop()
        if not settings.database.exists():
            raise StoreDamaged(f"The database {settings.database} was removed while it was written; index again.")
    return summary
