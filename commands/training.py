"""The commands that train, evaluate, compare and explain models. They are the only ones that need PyTorch on a CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from commands.options import AsJson, Datasets, Device, Home, LabelRules, load_command_settings, stdout, with_settings
from indexer.settings import Settings
from indexer.system.optional import require_torch

if TYPE_CHECKING:
    from indexer.ports.analyzer import InputDecoder
    from models.training.splits import SplitPlan

Validation = Annotated[
    float | None, typer.Option("--validation", min=0, max=0.9, help="Share of images to choose the best epoch by. (default: 0.1)")
]
Test = Annotated[float | None, typer.Option("--test", min=0, max=0.9, help="Share of images to measure on. (default: 0.1)")]
GroupBy = Annotated[str | None, typer.Option("--by", help="artist, set or character (default: the coarsest that divides)")]
Folds = Annotated[int | None, typer.Option("--folds", min=2, help="Number of folds of k-fold. (default: 5)")]
Architecture = Annotated[
    str | None, typer.Option("--architecture", help="Network with its modifiers: resnet50, googlenet+plain+dropout.")
]
Weights = Annotated[str | None, typer.Option("--weights", help="Start from imagenet, none, a checkpoint or a .pth file.")]
Teachers = Annotated[
    list[str] | None,
    typer.Option("--teacher", help="Also learn from the outputs of this model. Repeatable."),
]
Size = Annotated[int | None, typer.Option("--size", help="Side of the input in pixels.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Number of passes over the images.")]
ImagesPerEpoch = Annotated[
    int | None, typer.Option("--pictures-per-epoch", help="Images sampled per epoch; 0: as many as the data has.")
]
TrainBatch = Annotated[int | None, typer.Option("--batch-size", help="Images per training step.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Set any other field of the recipe, as FIELD=VALUE. Repeatable.")
]
Whole = Annotated[bool, typer.Option("--whole", help="Use whole images instead of the main face of each.")]
Views = Annotated[int, typer.Option("--views", min=1, max=6, help="Average this many augmented views of each image.")]

_MAX_STEM_LETTERS = 50
"""Most characters of the image's name in the name of an explanation: UTF-8 takes up to 4 bytes each, and file names 255 bytes."""

_Value = TypeVar("_Value")


@with_settings("device", "workers")
def train(
    settings: Settings,
    datasets: Datasets,
    name: Annotated[str | None, typer.Option("--name", help="Name of the new model.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write to. (default: where --model finds the name)")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="Recipe: a name of docs/guides/train.md, or a .toml file.")] = "default",
    architecture: Architecture = None,
    weights: Weights = None,
    teachers: Teachers = None,
    size: Size = None,
    epochs: Epochs = None,
    images_per_epoch: ImagesPerEpoch = None,
    batch_size: TrainBatch = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after this many epochs without improvement; 0: never.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed and machine: same weights.")] = None,
    assignments: Assignments = None,
    split: Annotated[
        str, typer.Option("--split", help="random, contiguous, group, given, or none: everything but --hold-out.")
    ] = "random",
    validation: Validation = None,
    test: Test = None,
    by: GroupBy = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option("--hold-out", help="Artist, set or character to measure on instead of train on. Repeatable."),
    ] = None,
    rules: LabelRules = None,
    whole: Whole = False,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", min=0.05, max=20, help="Calibration temperature. (default: fitted on the validation part)"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the data and report, without training.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model of that name; discard an interrupted training.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on labeled images. Rerun the same command to resume."""
    require_torch("moodex train", "train")
    from commands.output.training import TerminalTraining, write_inspection, write_trained
    from indexer.domain.errors import UsageError
    from models.training import service
    from models.training.label_mapping import Labels
    from models.training.recipe import RecipeOverrides, find_recipe
    from models.training.requests import InspectOptions, TrainOptions

    overrides = RecipeOverrides(
        architecture=architecture,
        weights=weights,
        teachers=tuple(teachers) if teachers else None,
        size=size,
        epochs=epochs,
        pictures_per_epoch=images_per_epoch,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
        assignments=tuple(assignments or ()),
    )
    chosen = overrides.apply(find_recipe(recipe), "The command line")
    plan = _split_plan(split, validation, test, by, hold_out=hold_out, seed=chosen.seed)
    labels = Labels.from_rules(rules or ())
    if check:
        checked = service.inspect(
            InspectOptions(
                datasets=tuple(datasets),
                work=settings.trainings,
                recipe=chosen,
                plan=plan,
                labels=labels,
                workers=settings.workers,
            ),
            _decoder(settings, whole),
        )
        with stdout() as out:
            write_inspection(checked, as_json, out)
        return
    if name is None:
        raise UsageError("The model needs a name; add --name NAME.")
    if output is None:
        from indexer.bootstrap import model_registry

        model_registry(settings).path_for_new(name, force=True)  # refuses a name that --model would not find
    settings.make_home()
    options = TrainOptions(
        datasets=tuple(datasets),
        name=name,
        output=output or settings.models,
        work=settings.trainings / name,
        recipe=chosen,
        plan=plan,
        labels=labels,
        temperature=temperature,
        device=settings.device,
        workers=settings.workers,
        force=force,
    )
    trained = service.train(options, _decoder(settings, whole), TerminalTraining())
    with stdout() as out:
        write_trained(trained, as_json, out)


def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model's name, a .safetensors file, or default.", metavar="MODEL")],
    datasets: Datasets,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for charts of confusion and calibration, and for the worst mistakes.")
    ] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Consider only emotions that occur in the data set.")] = False,
    views: Views = 1,
    rules: LabelRules = None,
    whole: Whole = False,
    device: Device = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Measure a model on labeled images: accuracy, calibration, errors."""
    require_torch("moodex evaluate", "train")
    from commands.output.charts import need_charts
    from commands.output.evaluation import write_evaluation, write_report
    from indexer.bootstrap import open_predictor
    from indexer.imaging.thumbnail import thumbnail
    from indexer.system.text import printable
    from models.training.evaluate import evaluate_model
    from models.training.label_mapping import Labels

    if output is not None:
        need_charts()
    settings = load_command_settings(context, home=home, model=None if model == "default" else model, device=device)
    predictor = open_predictor(replace(settings, faces="off") if whole else settings, views, engine="torch")
    evaluation, mistakes = evaluate_model(predictor, datasets, Labels.from_rules(rules or ()), closed)
    with stdout() as out:
        write_evaluation(evaluation, as_json, out)
        if output is not None:
            title = f"{predictor.name} on {', '.join(path.name for path in datasets)}"
            files = write_report(evaluation, mistakes, title, output, thumbnail)
            if not as_json:
                out.write("\n" + "".join(f"{printable(str(path))}\n" for path in files))


@with_settings("device", "engine", "faces")
def compare_models(
    settings: Settings,
    dataset: Annotated[Path, typer.Argument(help="A data set as for train.", metavar="DATASET")],
    models: Annotated[list[str], typer.Argument(help="Models by name, or default.", metavar="MODEL...")],
    rules: LabelRules = None,
    as_json: AsJson = False,
) -> None:
    """Show which of several models is right most often on labeled images."""
    from commands.output.evaluation import write_compared
    from indexer.bootstrap import open_predictor
    from models.training.compare_models import compare_models as compare_judged
    from models.training.judged import judge
    from models.training.label_mapping import Labels

    labels = Labels.from_rules(rules or ())
    judged = {}
    for name in dict.fromkeys(models):
        predictor = open_predictor(replace(settings, model=None if name == "default" else name))
        judged[name] = judge(predictor, [dataset], labels)
    with stdout() as out:
        write_compared(compare_judged(judged), as_json, out)


@with_settings("device", "workers")
def compare(
    settings: Settings,
    datasets: Annotated[
        list[Path], typer.Argument(help="Data sets as for train; each is compared separately.", metavar="DATASET...")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", help="The grid: a .toml file, or study (the thirteen rows of the study).")
    ] = "study",
    output: Annotated[Path, typer.Option("--output", help="Folder for results and finished trainings.")] = Path("moodex-compare"),
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", help="random, contiguous, group, leave-one-group-out, k-fold or given. Repeatable."),
    ] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", min=0, help="A seed. Repeatable. (default: 0)")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only variants that match a pattern, such as 'GoogLeNet*'.")
    ] = None,
    size: Size = None,
    epochs: Epochs = None,
    images_per_epoch: ImagesPerEpoch = None,
    batch_size: TrainBatch = None,
    weights: Weights = None,
    validation: Validation = None,
    test: Test = None,
    by: GroupBy = None,
    folds: Folds = None,
    rules: LabelRules = None,
    whole: Whole = False,
    as_json: AsJson = False,
) -> None:
    """Train several variants on the same splits and compare them."""
    require_torch("moodex compare", "train")
    from commands.output.charts import history_charts, need_charts, speed_chart
    from commands.output.training import TerminalTraining, write_rows, write_tables
    from indexer.system.text import printable
    from models.training import service
    from models.training.grid_file import read_variants, select_variants
    from models.training.label_mapping import Labels
    from models.training.recipe import RecipeOverrides
    from models.training.requests import Grid

    need_charts()
    overrides = RecipeOverrides(
        size=size, epochs=epochs, pictures_per_epoch=images_per_epoch, batch_size=batch_size, weights=weights
    )
    grid = Grid(
        variants=select_variants(read_variants(recipe, overrides), only or ()),
        datasets=tuple(datasets),
        plans=tuple(_split_plan(method, validation, test, by, folds=folds) for method in splits or ["random"]),
        seeds=tuple(seeds or [0]),
        output=output,
        labels=Labels.from_rules(rules or ()),
        device=settings.device,
        workers=settings.workers,
    )
    rows, histories = [], {}
    for row, history in service.compare(grid, _decoder(settings, whole), TerminalTraining()):
        rows.append(row)
        histories[f"{row.dataset}, {row.split}\n{row.variant}"] = history
        write_tables(rows, output)
    history_charts(histories, output / "curves.png")
    speed_chart(rows, output / "speed.png")
    with stdout() as out:
        write_rows(rows, as_json, out)
        if not as_json:
            names = ("results.csv", "results.md", "curves.png", "speed.png")
            out.write("\n" + "".join(f"{printable(str(output / name))}\n" for name in names))


@with_settings("model")
def explain(
    settings: Settings,
    path: Annotated[Path, typer.Argument(help="An image, its id, or a data set as for train.", metavar="IMAGE|DATASET")],
    emotion: Annotated[
        str | None, typer.Option("--emotion", "-e", help="Emotion to explain. (default: the most probable one)")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="grad-cam, integrated-gradients or occlusion.")] = "grad-cam",
    output: Annotated[
        Path | None, typer.Option("--output", help="A .png file for an image, a folder for a data set. (default: here)")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the result.")] = False,
    rules: LabelRules = None,
    whole: Whole = False,
    as_json: AsJson = False,
) -> None:
    """Show which image regions drive the model's decision."""
    require_torch("moodex explain", "train")
    from commands.output import explanation
    from commands.output.charts import need_charts
    from indexer.domain.errors import UsageError
    from models.training import service
    from models.training.label_mapping import Labels

    need_charts()
    decoder = _decoder(settings, whole)
    path = _indexed_file(settings, path)
    if path.is_dir() or path.suffix.lower() == ".csv":
        if emotion is not None:
            raise UsageError("--emotion is for one image; a data set is explained emotion by emotion.")
        data = service.explain_data(_weights(settings), path, Labels.from_rules(rules or ()), decoder, method)
        folder = output or Path(f"explained-{path.resolve().stem}")
        files = [folder / "emotions.png", folder / "deletion.png"]
        explanation.emotion_sheet(data.averages, files[0])
        explanation.deletion_chart(data.deletion, data.method, files[1])
        with stdout() as out:
            explanation.write_explained_data(data, files, as_json, out)
    else:
        if output is not None and output.suffix.lower() != ".png":
            raise UsageError(f"{output} is not a name of a PNG file; give --output a name that ends in .png.")
        explained = service.explain_image(_weights(settings), path, decoder, emotion, method)
        files = [output or Path(f"explained-{path.stem[:_MAX_STEM_LETTERS]}-{explained.emotion.replace('/', '_')}.png")]
        explanation.overlay(explained, files[0])
        with stdout() as out:
            explanation.write_explained(explained, files[0], as_json, out)
    if open_it:
        typer.launch(str(files[0]))


def _indexed_file(settings: Settings, path: Path) -> Path:
    """Return the path of an indexed image whose id was given, or the path itself."""
    from indexer.bootstrap import open_library
    from indexer.search.service import indexed_file_of

    return Path(os.fsdecode(indexed_file_of(open_library(settings), os.fsencode(path))))


def _weights(settings: Settings) -> Path:
    """Return the weights file of the chosen model. Raises ModelUnavailable."""
    from indexer.bootstrap import model_registry

    return model_registry(settings).weights()


def _decoder(settings: Settings, whole: bool) -> InputDecoder:
    """Open the decoder of data sets that the settings describe; `whole` turns the detection of faces off."""
    from indexer.bootstrap import open_input_decoder

    return open_input_decoder(replace(settings, faces="off") if whole else settings)


def _split_plan(
    method: str,
    validation: float | None,
    test: float | None,
    by: str | None,
    *,
    hold_out: Sequence[str] | None = None,
    folds: int | None = None,
    seed: int = 0,
) -> SplitPlan:
    from models.training.splits import DEFAULT_FOLDS, DEFAULT_SHARE, SplitPlan

    return SplitPlan(
        method=method,
        validation=_given_or(validation, DEFAULT_SHARE),
        test=_given_or(test, DEFAULT_SHARE),
        by=by or "",
        hold_out=tuple(hold_out or ()),
        folds=_given_or(folds, DEFAULT_FOLDS),
        seed=seed,
    )


def _given_or(value: _Value | None, default: _Value) -> _Value:
    return default if value is None else value
