"""The composition root of the commands that make and judge models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.domain.training import (
        ComparisonWatcher,
        Epoch,
        Evaluation,
        Explained,
        ExplainedData,
        Inspection,
        Mistake,
        Row,
        Trained,
        TrainingWatcher,
    )
    from indexer.settings import Settings
    from models.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled pictures as a command line names them: data sets, rules for labels as `Labels.from_rules` reads them, the fields
    of a `SplitPlan`.
    """

    datasets: tuple[Path, ...]
    rules: tuple[str, ...] = ()
    split: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a training is to make: a model of that name in a folder, calibrated by a temperature (None: by what is measured)."""

    name: str
    output: Path
    temperature: float | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which trainings: a grid file or "study", changes to its recipes, splits, seeds, patterns of the variants wanted."""

    grid: str
    changes: Mapping[str, Any]
    splits: tuple[str, ...]
    seeds: tuple[int, ...]
    only: tuple[str, ...]
    output: Path


def recipe_from(name: str, changes: Mapping[str, Any], rules: Sequence[str]) -> Recipe:
    """A recipe by name or file, with single fields changed: by value where not None, then by rules as FIELD=VALUE.

    Raises UsageError.
    """
    import tomllib

    from indexer.domain.errors import UsageError
    from models.training.recipe import find_recipe, varied

    chosen = {field: value for field, value in changes.items() if value is not None}
    for rule in rules:
        field, equals, value = (part.strip() for part in rule.partition("="))
        if not field or not equals:
            raise UsageError(f"{rule!r} sets nothing; write --set FIELD=VALUE.")
        try:
            chosen[field] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            chosen[field] = value
    return varied(find_recipe(name), chosen, "The command line")


def train(settings: Settings, data: Data, target: Target, recipe: Recipe, watcher: TrainingWatcher) -> Trained:
    """Train a model. Raises UsageError, ModelUnavailable, DeviceUnavailable, MissingExtra."""
    from indexer.imaging.decode import decode_file
    from models.training.label_mapping import Labels
    from models.training.splits import SplitPlan
    from models.training.trainer import TrainOptions
    from models.training.trainer import train as run

    settings.make_home()
    options = TrainOptions(
        data.datasets,
        target.name,
        target.output,
        settings.trainings / target.name,
        recipe,
        SplitPlan(seed=recipe.seed, **(data.split or {})),
        Labels.from_rules(data.rules),
        target.temperature,
        settings.device,
        settings.workers,
        target.force,
    )
    with graceful_stop("the same command goes on where this one stopped") as check_stop:
        return run(options, decode_file, watcher, check_stop)


def inspect(settings: Settings, data: Data, recipe: Recipe) -> Inspection:
    """Look at labelled pictures, as training would divide them, without training. Raises UsageError."""
    from indexer.imaging.decode import decode_file
    from models.training.dataset_checks import inspect as look
    from models.training.label_mapping import Labels
    from models.training.splits import SplitPlan, split
    from models.training.trainer import prepare

    pictures = prepare(data.datasets, Labels.from_rules(data.rules), recipe, decode_file, settings.workers)
    divisions = split(pictures, SplitPlan(seed=recipe.seed, **(data.split or {})))
    return look(pictures, divisions[0] if len(divisions) == 1 else None)


def evaluate(settings: Settings, data: Data, closed: bool = False, views: int = 1) -> tuple[str, Evaluation, list[Mistake]]:
    """The chosen model's name, its measures on labelled pictures, and its mistakes, the surest first."""
    from indexer.bootstrap import model_registry
    from indexer.imaging.decode import decode_file
    from models.inference.classifier import TorchClassifier
    from models.training.evaluate import evaluate_model
    from models.training.label_mapping import Labels

    path = model_registry(settings).weights()
    classifier = TorchClassifier.open(path, settings.device, settings.require_gpu, settings.batch_size)
    labels = Labels.from_rules(data.rules)
    return classifier.card.name, *evaluate_model(classifier, data.datasets, labels, decode_file, closed, views)


def compare(
    settings: Settings, data: Data, comparison: Comparison, watcher: ComparisonWatcher
) -> Iterator[tuple[Row, tuple[Epoch, ...]]]:
    """Run a grid of trainings; gives each row with its epochs as it is finished. Raises UsageError."""
    from fnmatch import fnmatchcase

    from indexer.domain.errors import UsageError
    from indexer.imaging.decode import decode_file
    from models.training.experiment_grid import Grid, read_variants
    from models.training.experiment_grid import compare as run
    from models.training.label_mapping import Labels
    from models.training.splits import SplitPlan

    variants, only = read_variants(comparison.grid, comparison.changes), comparison.only
    chosen = {name: recipe for name, recipe in variants.items() if not only or any(fnmatchcase(name, part) for part in only)}
    if not chosen:
        raise UsageError(f"No variant matches {', '.join(map(repr, only))}; there are {', '.join(map(repr, variants))}.")
    plans = tuple(SplitPlan(method, **(data.split or {})) for method in comparison.splits)
    labels, output = Labels.from_rules(data.rules), comparison.output
    grid = Grid(chosen, data.datasets, plans, comparison.seeds, labels, output, settings.device, settings.workers)
    with graceful_stop("the same command goes on where this one stopped") as check_stop:
        yield from run(grid, decode_file, watcher, check_stop)


def explain_picture(settings: Settings, picture: Path, emotion: str | None, method: str) -> Explained:
    """What the chosen model sees in one picture for an emotion, or for the one that it tells."""
    from indexer.bootstrap import model_registry
    from indexer.imaging.decode import decode_file
    from models.training.explain import explain_picture as explain

    return explain(model_registry(settings).weights(), picture, decode_file, emotion, method)


def explain_data(settings: Settings, data: Data, method: str) -> ExplainedData:
    """What the chosen model sees in a data set, emotion by emotion."""
    from indexer.bootstrap import model_registry
    from indexer.imaging.decode import decode_file
    from models.training.explain import explain_data as explain
    from models.training.label_mapping import Labels

    return explain(model_registry(settings).weights(), data.datasets[0], Labels.from_rules(data.rules), decode_file, method)
