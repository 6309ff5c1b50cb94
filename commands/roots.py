"""The commands for what is indexed: roots, forget, move."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, stdout, with_library
from commands.path_lists import FilesFrom, Null, all_paths
from indexer.domain.errors import UsageError
from indexer.library import Library


@with_library()
def roots(
    library: Library,
    as_json: AsJson = False,
) -> None:
    """List the indexed folders and files."""
    from commands.output.roots import write_roots
    from indexer.ingest import library_roots

    listed = library_roots.list_roots(library)
    with stdout() as out:
        write_roots(listed, as_json, out)


@with_library()
def forget(
    library: Library,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Indexed folders, files or ids, which may still exist, or - for a list.", metavar="PATH..."),
    ] = None,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: AsJson = False,
) -> None:
    """Take folders or files out of the library. Nothing on the disk changes, and labels are kept."""
    from commands.output.roots import write_forgotten
    from indexer.ingest import library_roots

    wanted = all_paths(paths, files_from, null)
    if not wanted:
        raise UsageError("Give the folders and files to forget: PATH..., or a list with --files-from FILE.")
    report = library_roots.forget(library, wanted)
    with stdout() as out:
        write_forgotten(report, as_json, out)


@with_library()
def move(
    library: Library,
    old: Annotated[Path, typer.Argument(help="Where the indexed folder or file was, or the id of its image.", metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="Where it is now.", metavar="NEW")],
    as_json: AsJson = False,
) -> None:
    """Tell moodex that an indexed folder or file has moved. Nothing on the disk changes."""
    from commands.output.roots import write_moved
    from indexer.ingest import library_roots

    report = library_roots.move(library, os.fsencode(old), os.fsencode(new))
    with stdout() as out:
        write_moved(report, as_json, out)
