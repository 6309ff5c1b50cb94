"""The commands for what people say themselves: label, the doubts that models have about it, teach."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.options import MOST, AsJson, Home, Model, load_command_settings, stdout


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("label")(label)
    app.command("doubts")(doubts)
    app.command("teach")(teach)


def label(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Indexed pictures, folders of them, or tables (.csv: path, label).", metavar="[PATH...]"),
    ] = None,
    emotion: Annotated[str | None, typer.Option("--emotion", "-e", help="What they feel like, by any name.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Emotions that moodex does not know become emotions of your own.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take labels back; models decide again.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show every label, as a table that label takes back in.")] = False,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out what is not indexed instead of failing.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say yourself what pictures feel like. Your word goes before every model's, in every search, from then on."""
    from commands.output.labels import write_changed, write_labels
    from indexer.domain.errors import UsageError
    from indexer.labels import service as labels_service
    from indexer.labels.assign import parse_assignments
    from indexer.labels.table import is_table

    settings = load_command_settings(context, home=home)
    given = [os.fsencode(path) for path in paths or ()]
    if listed:
        if given or emotion or remove:
            raise UsageError("--list goes alone: it shows every label.")
        found = labels_service.labels(settings)
        with stdout() as out:
            write_labels(found, as_json, out)
        return
    if not given:
        raise UsageError("Say which pictures: PATH..., or --list to see every label.")
    if remove and emotion is not None:
        raise UsageError("Say either --emotion or --remove, not both.")
    tables = sum(map(is_table, given))
    if emotion is not None and tables == len(given):
        raise UsageError("Tables say themselves what pictures feel like; leave out --emotion.")
    if not remove and emotion is None and tables < len(given):
        raise UsageError("Say what the pictures feel like: --emotion EMOTION, or --remove to take labels back.")
    changed = labels_service.label(settings, parse_assignments(given, emotion, remove), new, skip_unknown)
    with stdout() as out:
        write_changed(changed, as_json, out)


def doubts(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-k", min=1, max=MOST, help="How many.")] = 20,
    model: Model = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List the labels that the model contradicts most surely: they deserve another look."""
    from commands.output.labels import write_doubts
    from indexer.labels import service as labels_service

    found = labels_service.doubts(load_command_settings(context, home=home, model=model), limit)
    with stdout() as out:
        write_doubts(found, as_json, out)


def teach(
    context: typer.Context,
    name: Annotated[str | None, typer.Option("--name", help="What to call the new version. (default: numbered)")] = None,
    count: Annotated[
        int | None, typer.Option("--suggest", min=1, help="List so many pictures worth labelling.", metavar="N")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Return to the model from before the last teaching.")] = False,
    model: Model = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Let the model learn from your labels, and look at everything again with what it learned, without opening a picture."""
    from commands.output import labels as render
    from commands.output.progress import TerminalProgress
    from indexer.domain.errors import UsageError
    from indexer.labels import service as labels_service
    from indexer.teaching import service as teaching_service

    if (name is not None) + (count is not None) + undo > 1:
        raise UsageError("--name, --suggest and --undo each go alone.")
    settings = load_command_settings(context, home=home, model=model)
    with stdout() as out:
        if count is not None:
            render.write_suggestions(labels_service.suggest(settings, count), as_json, out)
        elif undo:
            render.write_undone(teaching_service.undo_teaching(settings, TerminalProgress("Looking again")), as_json, out)
        else:
            render.write_teaching(teaching_service.teach(settings, name, TerminalProgress("Looking again")), as_json, out)
