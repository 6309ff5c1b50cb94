"""The commands about models as such: list, add, default, remove, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, Home, load_command_settings, stdout

app = typer.Typer(help="The models that tell emotions.", no_args_is_help=True)


class ExportFormat(StrEnum):
    """What a model can be exported as."""

    ONNX = "onnx"
    TORCH = "torch"


@app.command("list")
def list_command(context: typer.Context, as_json: AsJson = False, home: Home = None) -> None:
    """List the models that --model knows, with what is indexed by each."""
    from commands.output.models import write_models
    from indexer.registry.service import list_models

    models = list_models(load_command_settings(context, home=home))
    with stdout() as out:
        write_models(models, as_json, out)


@app.command("add")
def add_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .safetensors file with its .json card beside it.", metavar="FILE")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it. (default: as its card says)")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of yours that has this name.")] = False,
    home: Home = None,
) -> None:
    """Verify a trained model and copy it to where --model NAME finds it."""
    from indexer.bootstrap import model_registry
    from indexer.system.text import printable

    card = model_registry(load_command_settings(context, home=home)).add(file, name, force)
    print(printable(card.name))  # noqa: T201


@app.command("default")
def default_command(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The model to use from now on.", metavar="[NAME]")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Choose the model that is used where no --model is given, or show it. MOODEX_MODEL and the configuration file go first."""
    from commands.output.models import write_default
    from indexer.registry.service import default_model

    default = default_model(load_command_settings(context, home=home), name)
    with stdout() as out:
        write_default(default, as_json, out)


@app.command("remove")
def remove_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model of yours.", metavar="NAME")],
    predictions: Annotated[bool, typer.Option("--predictions", help="Also delete what is indexed with it.")] = False,
    home: Home = None,
) -> None:
    """Remove a model. What is indexed with it stays searchable by its name, unless --predictions."""
    from commands.output.models import write_removed
    from indexer.registry.service import remove_model

    forgotten = remove_model(load_command_settings(context, home=home), name, predictions)
    with stdout() as out:
        write_removed(name, forgotten, out)


@app.command("export")
def export_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model's name, or a .safetensors file.", metavar="NAME")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    form: Annotated[ExportFormat, typer.Option("--format", "-f", help="The format.")] = ExportFormat.ONNX,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    home: Home = None,
) -> None:
    """Write a model for other programs, after checking that it gives the same answers there."""
    from commands.output.models import write_exported
    from indexer.registry.service import export_model

    exported = export_model(load_command_settings(context, home=home), name, form.value, output, force)
    with stdout() as out:
        write_exported(exported, out)
