"""The export of results for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.emotions import canonical, with_children
from indexer.domain.export import Export, ExportFilter, ExportReport
from indexer.ports.progress import task
from indexer.registry.selection import available_emotions, open_selected
from indexer.system.atomic import replace_file
from indexer.system.paths import indexed_folders
from indexer.system.paths_of_ids import paths_of_ids
from indexer.system.signals import graceful_stop
from indexer.transfer.output_file import check_output_path, translate_output_errors

if TYPE_CHECKING:
    from indexer.domain.export import ExportRequest
    from indexer.library import Library
    from indexer.ports.progress import Progress

Writer = Callable[[Export, Path, Callable[[int], None]], int]
"""Writes an export to a file, calls back with the rows of each chunk, and returns the number of all rows."""


def export(library: Library, request: ExportRequest, write: Writer, progress: Progress) -> ExportReport:
    """Export the model's results and the user's labels, for all or some images, from one snapshot.

    Raises UsageError if the file exists, unless the request forces it, UnknownEmotion, NotIndexed, ModelUnavailable and
    StoreDamaged.
    """
    target = request.target
    check_output_path(target, request.force)
    rows = 0
    with graceful_stop("nothing was written") as check_stop, open_selected(library) as (store, model):
        known = dict.fromkeys(available_emotions(store, model)).keys()
        emotions = frozenset().union(*(with_children(canonical(word, known)) for word in request.emotions))
        has_tags = store.has_tags(model.id)
        under = indexed_folders(paths_of_ids(request.under, store), store.known_paths)

        with task(progress, check_stop, store.regions(model.id)) as advance:

            def fill(temporary: Path) -> None:
                nonlocal rows
                chunks = store.export_rows(model, ExportFilter(emotions or None, under, request.hidden))
                made = library.map_storage().load(model.card)
                rows = write(Export(model.card, tuple(known), chunks, made, has_tags), temporary, advance)

            with translate_output_errors(target):
                replace_file(target, fill)
    return ExportReport(str(target), rows, model.card.name)
