"""The commands for labels: label, doubts, teach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.options import MAX_COUNT, AsJson, New, SkipUnknown, stdout, with_library
from commands.path_lists import FilesFrom, Null, all_paths
from indexer.library import Library

_SHOWN_CONFLICTS = 20


@with_library()
def label(
    library: Library,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Indexed images or ids, folders, CSV files (path, label), or - for a list.", metavar="[PATH...]"),
    ] = None,
    emotion: Annotated[str | None, typer.Option("--emotion", "-e", help="The emotion, by any synonym.")] = None,
    new: New = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove labels; the model decides again.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List all labels as CSV that moodex label reads.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="List the labels whose images have no file any more.")] = False,
    attach: Annotated[
        str | None, typer.Option("--attach", help="Give the label with this id, of --orphans, to the image.", metavar="ID")
    ] = None,
    skip_unknown: SkipUnknown = False,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: AsJson = False,
) -> None:
    """Label images with an emotion. Labels override the model in every search."""
    from commands.output.labels import write_changed, write_labels
    from indexer.domain.errors import UsageError
    from indexer.labels import service as labels_service
    from indexer.labels.assign import parse_assignments
    from indexer.labels.table import is_table

    sources = all_paths(paths, files_from, null)
    if listed or orphans:
        if sources or emotion or remove or attach or (listed and orphans):
            raise UsageError("--list shows every label, and --orphans those without files; omit the other arguments.")
        labels = labels_service.list_labels(library, orphans)
        with stdout() as out:
            write_labels(labels, as_json, out)
        return
    if not sources:
        raise UsageError("Give the images to label: PATH..., or --list to see every label.")
    if attach is not None:
        if len(sources) != 1 or emotion or remove:
            raise UsageError("--attach takes one image: moodex label IMAGE --attach ID")
        changed = labels_service.attach(library, attach, sources[0])
        with stdout() as out:
            write_changed(changed, as_json, out)
        return
    if remove and emotion is not None:
        raise UsageError("Give either --emotion or --remove, not both.")
    tables = sum(map(is_table, sources))
    if emotion is not None and tables == len(sources):
        raise UsageError("CSV files contain the emotions; omit --emotion.")
    if not remove and emotion is None and tables < len(sources):
        raise UsageError("Give the emotion: --emotion EMOTION, or --remove to remove labels.")
    changed = labels_service.label(library, parse_assignments(sources, emotion, remove), new, skip_unknown)
    with stdout() as out:
        write_changed(changed, as_json, out)


@with_library("model")
def doubts(
    library: Library,
    limit: Annotated[
        int | None, typer.Option("-k", min=1, max=MAX_COUNT, help="Number of labels. (default: 20; all with --json)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List labels that the model strongly disagrees with."""
    from commands.output.labels import write_doubts
    from indexer.labels import service as labels_service

    conflicts = labels_service.list_conflicts(library, limit or (MAX_COUNT if as_json else _SHOWN_CONFLICTS))
    with stdout() as out:
        write_doubts(conflicts, as_json, out)


@with_library("model")
def teach(
    library: Library,
    name: Annotated[str | None, typer.Option("--name", help="Name of the new version. (default: numbered)")] = None,
    count: Annotated[int | None, typer.Option("--suggest", min=1, help="List N images worth labeling.", metavar="N")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Return to the model from before the last teaching.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune the model on your labels and re-score the library."""
    from commands.output import labels as render
    from commands.output.progress import TerminalProgress
    from indexer.domain.errors import UsageError
    from indexer.teaching import service as teaching_service

    if (name is not None) + (count is not None) + undo > 1:
        raise UsageError("--name, --suggest and --undo cannot be combined.")
    with stdout() as out:
        if count is not None:
            render.write_suggestions(teaching_service.suggest(library, count), as_json, out)
        elif undo:
            render.write_undone(teaching_service.undo_teaching(library, TerminalProgress("Re-scoring")), as_json, out)
        else:
            render.write_teaching(teaching_service.teach(library, name, TerminalProgress("Re-scoring")), as_json, out)


@with_library()
def hide(
    library: Library,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Indexed images or ids, folders, or - for a list.", metavar="PATH..."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Show the images again.")] = False,
    skip_unknown: SkipUnknown = False,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: AsJson = False,
) -> None:
    """Keep images out of searches and exports, with their labels. --hidden includes them."""
    from commands.output.labels import write_hidden
    from indexer.domain.errors import UsageError
    from indexer.labels import hide as service

    wanted = all_paths(paths, files_from, null)
    if not wanted:
        raise UsageError("Give the images to hide: PATH..., or a list with --files-from FILE.")
    changed = service.hide(library, wanted, not remove, skip_unknown)
    with stdout() as out:
        write_hidden(changed, not remove, as_json, out)
