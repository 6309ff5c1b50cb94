"""The commands that make, judge and question models: train, evaluate, compare, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.options import AsJson, Device, Home, Model, Workers, load_command_settings, stdout

if TYPE_CHECKING:
    from models.training.service import Data

Datasets = Annotated[
    list[Path],
    typer.Argument(
        help="Folders EMOTION/FILE, SET/EMOTION/FILE or FERG-DB's, or tables (.csv: path, label).", metavar="DATASET..."
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option("--map", help="What a label means, as WORD=EMOTION; WORD= leaves its pictures out. May be repeated."),
]
Validation = Annotated[float | None, typer.Option("--validation", min=0, max=0.9, help="The share to choose by. (default: 0.1)")]
Test = Annotated[float | None, typer.Option("--test", min=0, max=0.9, help="The share to measure on. (default: 0.1)")]
By = Annotated[str | None, typer.Option("--by", help="What a group is: artist, set or character. (default: what there is)")]
Folds = Annotated[int | None, typer.Option("--folds", min=2, help="How many folds k-fold has. (default: 5)")]
Architecture = Annotated[
    str | None, typer.Option("--architecture", help="The network, with its words: resnet50, googlenet+plain+dropout.")
]
Weights = Annotated[str | None, typer.Option("--weights", help="Start from imagenet, none, a checkpoint or a .pth file.")]
Size = Annotated[int | None, typer.Option("--size", help="The input's side in pixels.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="How often to go through the pictures.")]
PicturesPerEpoch = Annotated[
    int | None, typer.Option("--pictures-per-epoch", help="How many are drawn an epoch; 0: as many as there are.")
]
TrainBatch = Annotated[int | None, typer.Option("--batch-size", help="Pictures a step.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Any other field of the recipe, as FIELD=VALUE; may be repeated.")]
Views = Annotated[int, typer.Option("--views", min=1, max=6, help="Look at each picture so many ways and take the mean.")]

_STEM = 50
"""Letters of a picture's name that go into the name of its explanation; each takes four bytes at most."""


def train(
    context: typer.Context,
    datasets: Datasets,
    name: Annotated[str | None, typer.Option("--name", help="What the model will be called.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Where to put it. (default: where --model finds it)")] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="A recipe of docs/guides/train.md, or a .toml file.")] = "default",
    architecture: Architecture = None,
    weights: Weights = None,
    size: Size = None,
    epochs: Epochs = None,
    pictures_per_epoch: PicturesPerEpoch = None,
    batch_size: TrainBatch = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after so many epochs without getting better; 0: never.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same machine: same weights.")] = None,
    sets: Sets = None,
    split: Annotated[
        str, typer.Option("--split", help="random, contiguous, group, given, or none: everything but what is held out.")
    ] = "random",
    validation: Validation = None,
    test: Test = None,
    by: By = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option("--hold-out", help="An artist, set or character to measure on, not to train on; may be repeated."),
    ] = None,
    rules: Rules = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", min=0.05, max=20, help="Calibrate by this. (default: fitted on the validation part)"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only look at the data and say what is in them.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model of that name; give up an interrupted training.")
    ] = False,
    device: Device = None,
    workers: Workers = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Train a model on labelled pictures; index --model NAME uses it at once. The same command goes on after an interruption."""
    from commands.output.training import TerminalTraining, write_inspection, write_trained
    from indexer.domain.errors import UsageError
    from models.training import service as training_service

    settings = load_command_settings(context, home=home, device=device, workers=workers)
    changes = {
        "architecture": architecture, "weights": weights, "size": size, "epochs": epochs,
        "pictures_per_epoch": pictures_per_epoch, "batch_size": batch_size, "patience": patience, "seed": seed,
    }  # fmt: skip
    chosen = training_service.recipe_from(recipe, changes, sets or ())
    plan = {"method": split, "hold_out": tuple(hold_out or ()), "validation": validation, "test": test, "by": by}
    data = _data(datasets, rules, plan)
    if check:
        with stdout() as out:
            write_inspection(training_service.inspect(settings, data, chosen), as_json, out)
        return
    if name is None:
        raise UsageError("Say what the model will be called: --name NAME.")
    target = training_service.Target(name, output or settings.models, temperature, force)
    trained = training_service.train(settings, data, target, chosen, TerminalTraining())
    with stdout() as out:
        write_trained(trained, as_json, out)


def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model's name, a .safetensors file, or default.", metavar="MODEL")],
    datasets: Datasets,
    output: Annotated[
        Path | None, typer.Option("--output", help="A folder for pictures of confusion, calibration and the surest mistakes.")
    ] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Guess only among the emotions that occur in the data.")] = False,
    views: Views = 1,
    rules: Rules = None,
    device: Device = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Measure a model on labelled pictures: accuracy, calibration, and where it goes wrong."""
    from commands.output.charts import need_charts
    from commands.output.evaluation import write_evaluation, write_report
    from indexer.imaging.thumbnail import thumbnail
    from indexer.system.text import printable
    from models.training import service as training_service

    if output is not None:
        need_charts()
    settings = load_command_settings(context, home=home, model=None if model == "default" else model, device=device)
    name, evaluation, mistakes = training_service.evaluate(settings, _data(datasets, rules, {}), closed, views)
    with stdout() as out:
        write_evaluation(evaluation, as_json, out)
        if output is not None:
            title = f"{name} on {', '.join(path.name for path in datasets)}"
            files = write_report(evaluation, mistakes, title, output, thumbnail)
            if not as_json:
                out.write("\n" + "".join(f"{printable(str(path))}\n" for path in files))


def compare(
    context: typer.Context,
    datasets: Annotated[
        list[Path], typer.Argument(help="Data sets as of train, each compared on its own.", metavar="DATASET...")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", help="The grid: a .toml file, or study, the study's thirteen rows.")
    ] = "study",
    output: Annotated[Path, typer.Option("--output", help="A folder for results, and for what is finished of them.")] = Path(
        "moodex-compare"
    ),
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", help="random, contiguous, group, leave-one-group-out, k-fold or given; may be repeated."),
    ] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", min=0, help="A seed; may be repeated. (default: 0)")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only variants that match, as 'GoogLeNet*'.")] = None,
    size: Size = None,
    epochs: Epochs = None,
    pictures_per_epoch: PicturesPerEpoch = None,
    batch_size: TrainBatch = None,
    weights: Weights = None,
    validation: Validation = None,
    test: Test = None,
    by: By = None,
    folds: Folds = None,
    rules: Rules = None,
    device: Device = None,
    workers: Workers = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Train a grid of variants on the same splits and seeds, and put their results side by side."""
    from commands.output.charts import history_charts, need_charts, speed_chart
    from commands.output.training import TerminalTraining, write_rows, write_tables
    from indexer.system.text import printable
    from models.training import service as training_service

    need_charts()
    settings = load_command_settings(context, home=home, device=device, workers=workers)
    changes = {
        "size": size, "epochs": epochs, "pictures_per_epoch": pictures_per_epoch, "batch_size": batch_size, "weights": weights,
    }  # fmt: skip
    data = _data(datasets, rules, {"validation": validation, "test": test, "by": by, "folds": folds})
    rows, histories = [], {}
    grid = training_service.Comparison(
        recipe, changes, tuple(splits or ["random"]), tuple(seeds or [0]), tuple(only or ()), output
    )
    for row, history in training_service.compare(settings, data, grid, TerminalTraining()):
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


def explain(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A picture, or a data set as of train.", metavar="IMAGE|DATASET")],
    emotion: Annotated[
        str | None, typer.Option("--emotion", "-e", help="What to explain. (default: what the model says)")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="grad-cam, integrated-gradients or occlusion.")] = "grad-cam",
    output: Annotated[
        Path | None, typer.Option("--output", help="A .png file for a picture, a folder for a data set. (default: here)")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show the result.")] = False,
    rules: Rules = None,
    model: Model = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show where a model looks when it tells an emotion, in one picture or on average over a data set."""
    from commands.output import explanation
    from commands.output.charts import need_charts
    from indexer.domain.errors import UsageError
    from models.training import service as training_service

    need_charts()
    settings = load_command_settings(context, home=home, model=model)
    if path.is_dir() or path.suffix.lower() == ".csv":
        if emotion is not None:
            raise UsageError("--emotion is for one picture; a data set is explained emotion by emotion.")
        data = training_service.explain_data(settings, _data([path], rules, {}), method)
        folder = output or Path(f"explained-{path.resolve().stem}")
        made = [folder / "emotions.png", folder / "deletion.png"]
        explanation.emotion_sheet(data.averages, made[0])
        explanation.deletion_chart(data.deletion, data.method, made[1])
        with stdout() as out:
            explanation.write_explained_data(data, made, as_json, out)
    else:
        explained = training_service.explain_picture(settings, path, emotion, method)
        # A name of a file that fits in one, whatever the picture and the emotion are called.
        made = [output or Path(f"explained-{path.stem[:_STEM]}-{explained.emotion.replace('/', '_')}.png")]
        explanation.overlay(explained, made[0])
        with stdout() as out:
            explanation.write_explained(explained, made[0], as_json, out)
    if open_it:
        typer.launch(str(made[0]))


def _data(datasets: list[Path], rules: list[str] | None, plan: dict[str, Any]) -> Data:
    from models.training.service import Data

    return Data(tuple(datasets), tuple(rules or ()), {name: value for name, value in plan.items() if value is not None})
