"""The commands that transfer a library: backup, restore, export, import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, New, SkipUnknown, Under, stdout, with_library
from commands.path_lists import FilesFrom, Null, all_paths, has_list
from indexer.library import Library


@with_library()
def backup(
    library: Library,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save labels, results and custom models to one verified file."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_backed_up
    from indexer.transfer import backup as service

    report = service.backup(library, file, force, TerminalProgress("Saving", "B"))
    with stdout() as out:
        write_backed_up(report, as_json, out)


@with_library()
def restore(
    library: Library,
    file: Annotated[Path, typer.Argument(help="A file that moodex backup wrote.", metavar="FILE")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace an existing library, which is kept under another name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the library with a backup (the old one is kept)."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_restored
    from indexer.transfer import restore as service

    report = service.restore(library, file, yes, TerminalProgress("Restoring", "B"))
    with stdout() as out:
        write_restored(report, as_json, out)


@with_library("model")
def export(
    library: Library,
    file: Annotated[Path, typer.Argument(help="The file to write: .parquet, .csv, .jsonl, or .json for COCO.", metavar="FILE")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Only these indexed images, ids or folders, or - for a list.", metavar="[PATH...]"),
    ] = None,
    emotion: Annotated[list[str] | None, typer.Option("--emotion", "-e", help="Only this emotion; may be repeated.")] = None,
    under: Under = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Also write embeddings; Parquet always has them.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Include hidden images.")] = False,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: AsJson = False,
) -> None:
    """Export results to Parquet, CSV, JSON Lines or COCO."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_exported
    from indexer.domain.errors import UsageError
    from indexer.domain.export import ExportRequest
    from indexer.exporters.text import writer_for
    from indexer.transfer import export as service

    listed = all_paths(paths, files_from, null)
    if has_list(paths, files_from) and not listed:
        raise UsageError("The list of paths is empty; omit it to export everything.")
    request = ExportRequest(file, force, tuple(emotion or ()), (*map(os.fsencode, under or ()), *listed), hidden)
    report = service.export(library, request, writer_for(file, embeddings), TerminalProgress("Exporting", "rows"))
    with stdout() as out:
        write_exported(report, as_json, out)


@with_library()
def import_command(
    library: Library,
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV files with columns path or digest, and label, as moodex export writes.", metavar="FILE..."),
    ],
    new: New = False,
    skip_unknown: SkipUnknown = False,
    as_json: AsJson = False,
) -> None:
    """Import labels from CSV files (all or nothing). Rows match by image digest first, then by path."""
    from commands.output.labels import write_changed
    from indexer.domain.errors import UsageError
    from indexer.labels import service
    from indexer.labels.assign import parse_assignments

    tables = [os.fsencode(file) for file in files]
    for table in tables:
        if not table.lower().endswith(b".csv"):
            raise UsageError(
                f"{os.fsdecode(table)!r} is not a .csv file; to label images: moodex label PATH... --emotion EMOTION"
            )
    assignments = parse_assignments(tables, None, False)
    changed = service.label(library, assignments, new, skip_unknown)
    with stdout() as out:
        write_changed(changed, as_json, out)


@with_library("model")
def sidecars(
    library: Library,
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Write IMAGE.xmp with the emotions as keywords, for photo managers.")
    ] = False,
    captions: Annotated[bool, typer.Option("--captions", help="Write NAME.txt with the emotions, for trainers.")] = False,
    emotion: Annotated[list[str] | None, typer.Option("--emotion", "-e", help="Only this emotion; may be repeated.")] = None,
    under: Under = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Include hidden images.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be written or removed; change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace captions that hold something else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the emotions to files beside the images. Images are never changed."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_sidecar_report
    from indexer.domain.errors import UsageError
    from indexer.system.text import display_path
    from indexer.transfer.sidecar_formats import SidecarFormat
    from indexer.transfer.sidecars import SidecarRequest, write_sidecars

    formats = ((SidecarFormat.XMP,) if xmp else ()) + ((SidecarFormat.CAPTION,) if captions else ())
    if not formats:
        raise UsageError("Choose what to write: --xmp for photo managers, --captions for trainers, or both.")
    request = SidecarRequest(
        formats, tuple(emotion or ()), tuple(map(os.fsencode, under or ())), hidden=hidden, dry_run=dry_run, force=force
    )
    with stdout() as out:

        def tell(path: bytes) -> None:
            if dry_run and not as_json:
                out.write(f"{display_path(path)}\n")

        report = write_sidecars(library, request, TerminalProgress("Writing", "rows"), tell)
        write_sidecar_report(report, as_json, out)
    raise typer.Exit(3 if report.failed else 0)
