"""The use cases of `moodex train`, `evaluate`, `compare` and `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.imaging.decode import decode_file
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
    from models.training.label_mapping import Labels
    from models.training.requests import EvaluateOptions, Grid, InspectOptions, TrainOptions

_KEPT = "rerun the same command to resume"


def train(options: TrainOptions, watcher: TrainingWatcher) -> Trained:
    """Train a model. Raises UsageError, ModelUnavailable, DeviceUnavailable, MissingExtra, Interrupted."""
    from models.training import trainer

    with graceful_stop(_KEPT) as check_stop:
        return trainer.train(options, decode_file, watcher, check_stop)


def inspect(options: InspectOptions) -> Inspection:
    """Check a data set, divided as training would divide it, without training. Raises UsageError."""
    from models.training import dataset_checks, splits, trainer

    trainer.recipe_architecture(options.recipe)
    images = trainer.prepare(options.datasets, options.labels, options.recipe, decode_file, options.workers, options.work)
    divisions = splits.split(images, options.plan)
    return dataset_checks.inspect(images, divisions[0] if len(divisions) == 1 else None, options.work)


def evaluate(options: EvaluateOptions) -> tuple[str, Evaluation, list[Mistake]]:
    """Return the model's name, its measures on labeled images, and its mistakes, most confident first."""
    from models.inference.classifier import TorchClassifier
    from models.training.evaluate import evaluate_model

    classifier = TorchClassifier.open(options.weights, options.device, options.require_gpu, options.batch_size)
    evaluation, mistakes = evaluate_model(
        classifier, options.datasets, options.labels, decode_file, options.closed, options.views
    )
    return classifier.card.name, evaluation, mistakes


def compare(grid: Grid, watcher: ComparisonWatcher) -> Iterator[tuple[Row, tuple[Epoch, ...]]]:
    """Run a grid of trainings; yield each row with its epochs as soon as it is finished. Raises as `train` does."""
    from models.training import experiment_grid

    with graceful_stop(_KEPT) as check_stop:
        yield from experiment_grid.compare(grid, decode_file, watcher, check_stop)


def explain_image(weights: Path, image: Path, emotion: str | None, method: str) -> Explained:
    """Explain one image for an emotion; None explains the most probable one. Raises as `models.training.explain` does."""
    from models.training import explain

    return explain.explain_image(weights, image, decode_file, emotion, method)


def explain_data(weights: Path, dataset: Path, labels: Labels, method: str) -> ExplainedData:
    """Explain a data set, emotion by emotion. Raises as `models.training.explain` does."""
    from models.training import explain

    return explain.explain_data(weights, dataset, labels, decode_file, method)
