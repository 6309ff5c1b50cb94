"""The commands that keep a library safe: doctor, backup, restore, export, import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from commands.options import AsJson, Home, Model, load_command_settings, stdout


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("doctor")(doctor)
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.command("export")(export)
    app.command("import")(import_command)


def doctor(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, after saving a copy.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every picture file, too, and compare its bytes.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> NoReturn:
    """Check that the data folder is sound, down to every row, also while something is indexed; mend it if wanted."""
    from commands.output.health import write_doctored
    from commands.output.progress import TerminalProgress
    from indexer.maintenance import service as maintenance_service

    done = maintenance_service.doctor(
        load_command_settings(context, home=home), deep, repair, TerminalProgress("Checking", "rows")
    )
    with stdout() as out:
        write_doctored(done, as_json, out)
    raise typer.Exit(done.exit_code)


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Save labels, predictions, embeddings and your own models in one checked file, also while something is indexed."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_backed_up
    from indexer.transfer import backup as transfer_backup

    done = transfer_backup.backup(load_command_settings(context, home=home), file, force, TerminalProgress("Saving", "B"))
    with stdout() as out:
        write_backed_up(done, as_json, out)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that moodex backup wrote.", metavar="FILE")],
    yes: Annotated[bool, typer.Option("--yes", help="Put it in the place of the library there is, which is kept aside.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Bring a backup back, once every byte of it has been checked; what was there before is kept under another name."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_restored
    from indexer.transfer import restore as transfer_restore

    done = transfer_restore.restore(load_command_settings(context, home=home), file, yes, TerminalProgress("Restoring", "B"))
    with stdout() as out:
        write_restored(done, as_json, out)


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write: .parquet, .csv or .jsonl.", metavar="FILE")],
    emotion: Annotated[
        list[str] | None, typer.Option("--emotion", "-e", help="Only pictures of an emotion; may be repeated.")
    ] = None,
    under: Annotated[Path | None, typer.Option("--under", help="Only pictures below this folder.")] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Embeddings, too; Parquet has them always.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    model: Model = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Write what is known of every picture as a table for other programs: emotions, labels, faces, digests, embeddings."""
    from commands.output.progress import TerminalProgress
    from commands.output.transfer import write_exported
    from indexer.domain.export import ExportRequest
    from indexer.exporters.text import writer_for
    from indexer.transfer import export as transfer_export

    settings = load_command_settings(context, home=home, model=model)
    asked = ExportRequest(tuple(emotion or ()), os.fsencode(under) if under else None)
    how = (writer_for(file, embeddings), TerminalProgress("Exporting", "rows"))
    done = transfer_export.export(settings, asked, file, force, how)
    with stdout() as out:
        write_exported(done, as_json, out)


def import_command(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(help="Tables of labels (.csv: path or digest, label), as moodex export writes.", metavar="FILE..."),
    ],
    new: Annotated[bool, typer.Option("--new", help="Emotions that moodex does not know become emotions of your own.")] = False,
    skip_unknown: Annotated[bool, typer.Option("--skip-unknown", help="Leave out pictures that are not indexed here.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Take in labels from tables, all of them or none. A digest goes before a path, so that moved libraries keep their labels."""
    from commands.output.labels import write_changed
    from indexer.domain.errors import UsageError
    from indexer.labels import service as labels_service
    from indexer.labels.assign import parse_assignments

    tables = [os.fsencode(file) for file in files]
    for table in tables:
        if not table.lower().endswith(b".csv"):
            raise UsageError(f"{os.fsdecode(table)!r} is no .csv file; to label pictures: moodex label PATH... --emotion EMOTION")
    changed = labels_service.label(
        load_command_settings(context, home=home), parse_assignments(tables, None, False), new, skip_unknown
    )
    with stdout() as out:
        write_changed(changed, as_json, out)
