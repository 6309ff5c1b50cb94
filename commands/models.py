"""The commands for installed models: list, add, calibrate, blend, default, remove, export."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands import logs
from commands.options import AsJson, Datasets, LabelRules, stdout, with_library
from indexer.domain.errors import UsageError
from indexer.library import Library

app = typer.Typer(help="Manage models: list, add, calibrate, blend, set default, remove, export.", no_args_is_help=True)


class Channels(StrEnum):
    """The orders in which a network reads the colors of a pixel."""

    RGB = "rgb"
    BGR = "bgr"


class ExportFormat(StrEnum):
    """The formats of an exported model."""

    ONNX = "onnx"
    TORCH = "torch"


@app.command("list")
@with_library()
def list_command(
    library: Library,
    as_json: AsJson = False,
) -> None:
    """List installed models and the number of images that each has analyzed."""
    from commands.output.models import write_models
    from indexer.registry.service import list_models

    models = list_models(library)
    with stdout() as out:
        write_models(models, as_json, out)


@app.command("add")
@with_library("engine", "tag_emotions")
def add_command(
    library: Library,
    source: Annotated[
        str,
        typer.Argument(
            help="A .safetensors file, or a model of a hub, also open_clip:ARCH/WEIGHTS.",
            metavar="FILE|hf:OWNER/NAME",
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model. (default: that of its card or hub)")] = None,
    tag_threshold: Annotated[
        float, typer.Option("--tag-threshold", min=0.01, max=1, help="Least probability of a tag that is stored.")
    ] = 0.35,
    channels: Annotated[
        Channels | None, typer.Option("--channels", help="Order of colors of the network, if its layout does not tell.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Own texts by which CLIP recognizes emotions.", metavar="FILE")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a custom model of this name.")] = False,
) -> None:
    """Install a trained model, or a tagger or CLIP of the Hugging Face Hub, so that --model NAME finds it."""
    from indexer.domain.hub import OPEN_CLIP_PREFIX, PREFIX
    from indexer.registry.service import add_hub_model, add_model
    from indexer.system.text import printable

    if not source.startswith((PREFIX, OPEN_CLIP_PREFIX)):
        card = add_model(library, Path(source), name, force)
    else:
        from indexer.ports.models import HubOptions

        settings = library.settings
        table = Path(settings.tag_emotions).expanduser() if settings.tag_emotions else None
        show_bars = logs.shows_progress() and sys.stderr.isatty()
        order = channels and channels.value
        options = HubOptions(settings.engine, table, tag_threshold, order, prompts, quiet=not show_bars)
        log = logging.getLogger(logs.PROGRESS_LINES)
        card = add_hub_model(library, source, options, log.info, name, force)
    print(printable(card.name))  # noqa: T201


@app.command("calibrate")
@with_library("device", "engine", "faces")
def calibrate_command(
    library: Library,
    name: Annotated[str, typer.Argument(help="A tagger of a hub, by name.", metavar="MODEL")],
    datasets: Datasets,
    rules: LabelRules = None,
    as_json: AsJson = False,
) -> None:
    """Fit the probabilities of a tagger's emotions to labeled images."""
    from dataclasses import replace

    from commands.output.models import write_calibrated
    from indexer.bootstrap import model_registry, open_for_datasets
    from indexer.registry.service import rescore_calibrated
    from models.hub.calibrate import calibrate, check_calibratable
    from models.model_card import read_card
    from models.training.judged import judge
    from models.training.label_mapping import Labels
    from models.training.predictors import ModelPredictor

    settings = replace(library.settings, model=name)
    registry = model_registry(settings)
    check_calibratable(registry, name)
    before = read_card(registry.find(name))
    classifier, decoder = open_for_datasets(settings)
    judged = judge(ModelPredictor(classifier, decoder), datasets, Labels.from_rules(rules or ()))
    report, combine = calibrate(registry, name, judged)
    report = rescore_calibrated(library, before, report, combine)
    with stdout() as out:
        write_calibrated(report, as_json, out)


@app.command("blend")
@with_library()
def blend_command(
    library: Library,
    name: Annotated[str, typer.Argument(help="The name of the blend.", metavar="NAME")],
    members: Annotated[list[str], typer.Argument(help="Models that have indexed the same images.", metavar="MODEL...")],
    weights: Annotated[
        str, typer.Option("--weights", help="auto: fit them to your labels; or one number for each model: 0.7,0.3.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a custom model of this name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Average the predictions of models, without computing them again."""
    from commands.output.models import write_blended
    from indexer.registry.blends import blend_models

    report = blend_models(library, name, members, _numbers(weights), force)
    with stdout() as out:
        write_blended(report, as_json, out)


def _numbers(weights: str) -> list[float] | None:
    """Return weights as numbers; None for "auto". Raises UsageError for other words."""
    if weights == "auto":
        return None
    try:
        return [float(part) for part in weights.split(",")]
    except ValueError as error:
        raise UsageError(f"--weights is {weights!r}; it takes auto, or numbers such as 0.7,0.3.") from error


@app.command("default")
@with_library()
def default_command(
    library: Library,
    name: Annotated[str | None, typer.Argument(help="The new default model.", metavar="[NAME]")] = None,
    as_json: AsJson = False,
) -> None:
    """Set or show the default model. MOODEX_MODEL and the configuration file override it."""
    from commands.output.models import write_default
    from indexer.registry.service import default_model

    default = default_model(library, name)
    with stdout() as out:
        write_default(default, as_json, out)


@app.command("remove")
@with_library()
def remove_command(
    library: Library,
    name: Annotated[str, typer.Argument(help="A custom model.", metavar="NAME")],
    predictions: Annotated[bool, typer.Option("--predictions", help="Also delete its predictions.")] = False,
) -> None:
    """Remove a custom model. Its predictions stay searchable unless --predictions."""
    from commands.output.models import write_removed
    from indexer.registry.service import remove_model

    forgotten = remove_model(library, name, predictions)
    with stdout() as out:
        write_removed(name, forgotten, out)


@app.command("export")
@with_library()
def export_command(
    library: Library,
    name: Annotated[str, typer.Argument(help="A model's name, or a .safetensors file.", metavar="NAME")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    form: Annotated[ExportFormat, typer.Option("--format", "-f", help="The format.")] = ExportFormat.ONNX,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Export a model to ONNX or torch.export, after checking that its outputs are equal."""
    from commands.output.models import write_exported
    from indexer.registry.service import export_model

    exported = export_model(library, name, form.value, output, force)
    with stdout() as out:
        write_exported(exported, out)
