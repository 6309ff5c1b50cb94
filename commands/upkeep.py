"""The commands that keep a library safe: doctor, backup, restore, export, import."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from commands.options import AsJson, Home, settings_of, stdout


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, after saving a copy.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every picture file, too, and compare its bytes.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> NoReturn:
    """Check that the data folder is sound, down to every row, also while something is indexed; mend it if wanted."""
    from indexer import upkeep
    from render.doctor import write_doctored
    from render.progress import TerminalProgress

    done = upkeep.doctor(settings_of(context, home=home), deep, repair, TerminalProgress("Checking", "rows"))
    with stdout() as out:
        write_doctored(done, as_json, out)
    raise typer.Exit(done.exit_code)
