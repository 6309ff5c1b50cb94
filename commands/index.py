"""The command that indexes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from commands.options import (
    AsJson,
    Exclude,
    FollowSymlinks,
    Models,
    stdout,
    with_library,
)
from commands.path_lists import FilesFrom, Null, all_paths
from indexer.domain.errors import UsageError
from indexer.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable

    from indexer.ports.progress import Progress


@with_library(
    "device", "require_gpu", "batch_size", "workers", "faces", "look_alikes", "engine", "precision", "inventory", "cluster"
)
def index(
    library: Library,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders, archives, images, ids or addresses, or - for a list.", metavar="PATH..."),
    ] = None,
    model: Models = None,
    exclude: Exclude = None,
    follow_symlinks: FollowSymlinks = False,
    one_file_system: Annotated[bool, typer.Option("--one-file-system", help="Skip folders on other file systems.")] = False,
    prune: Annotated[
        bool | None,
        typer.Option("--prune/--no-prune", help="Remove entries of missing files. (default: only when it looks safe)"),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --prune: even if a folder is missing, empty, or lost most of its files.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Re-analyze every file.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file, and re-analyze those whose bytes changed.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and index changes within seconds.")] = False,
    poll: Annotated[
        float | None,
        typer.Option("--poll", min=1, help="With --watch: poll every N seconds instead of using events.", metavar="SECONDS"),
    ] = None,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Index images: detect faces, classify emotions, store the results."""
    from commands.output.progress import TerminalProgress
    from commands.output.summary import write_summary
    from indexer.ingest import service as ingest_service
    from indexer.ingest.run import IndexRequest
    from indexer.system.events import log_event
    from indexer.system.text import joined, printable

    if yes and not prune:
        raise UsageError("--yes confirms --prune; give both.")
    if poll is not None and not watch:
        raise UsageError("--poll is for --watch; give both.")
    if poll is not None and not math.isfinite(poll):
        raise UsageError("--poll takes a number of seconds.")
    request = IndexRequest(
        exclude=tuple(exclude or ()),
        follow_symlinks=follow_symlinks,
        one_file_system=one_file_system,
        prune=None if prune and not yes else prune,
        force=force,
        verify=verify,
        further_models=tuple(model[1:] if model else ()),
    )
    open_progress: Callable[[], Progress] = TerminalProgress
    if model:
        library = library.reopen(replace(library.settings, model=model[0]))
    if model and len(model) > 1:
        open_progress = partial(TerminalProgress, f"Indexing with {joined(map(printable, model))}")
    roots = all_paths(paths, files_from, null)
    if not roots:
        raise UsageError("Give the folders and image files to index: PATH..., or a list with --files-from FILE.")
    roots = ingest_service.typed_paths(library, roots)
    if watch:
        from commands import logs
        from indexer.scheduling.watch import watch as run_watch

        logs.configure(library.settings.log_format, library.settings.verbosity, service=True)
        with stdout() as out:
            run_watch(library, roots, request, poll, open_progress, lambda done: write_summary(done, as_json, out, flush=True))
    summary = ingest_service.index(library, roots, request, open_progress())
    log_event("info", "run_done", f"Indexed in {summary.seconds:.1f} s.", **summary.as_dict())
    with stdout() as out:
        write_summary(summary, as_json, out)
    raise typer.Exit(summary.exit_code)
