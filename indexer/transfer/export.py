"""Export of results for other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import open_with_model
from indexer.domain.export import Export, ExportFilter, ExportReport, ExportRequest
from indexer.system.signals import graceful_stop
from indexer.transfer.output_file import check_output_path, translate_output_errors

if TYPE_CHECKING:
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


Writer = Callable[[Export, Path, Callable[[int], None]], int]
"""Writes an export to a file, and says so after every portion; how many rows."""


def export(settings: Settings, asked: ExportRequest, target: Path, force: bool, how: tuple[Writer, Progress]) -> ExportReport:
    """Write what a model says of all or some pictures, with people's labels, to a file, as it is at this moment.

    Raises UsageError where the file is there, unless `force`, UnknownEmotion, NotIndexed, ModelUnavailable, StoreDamaged.
    """
    from db.sqlite.errors import translate_sqlite_errors
    from db.sqlite.export_query import exported
    from db.sqlite.raw_connection import reading
    from indexer.domain.emotions import canonical, with_children
    from indexer.registry.selection import available_emotions
    from indexer.system.atomic import replace_file

    check_output_path(target, force)
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
            with translate_output_errors(target):
                replace_file(target, fill)
        finally:
            progress.finish()
    return ExportReport(str(target), rows, model.card.name)
