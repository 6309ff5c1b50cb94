"""The use cases of `moodex train`, `compare` and `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.domain.training import (
        ComparisonRow,
        ComparisonWatcher,
        Epoch,
        Explained,
        ExplainedData,
        Inspection,
        Trained,
        TrainingWatcher,
    )
    from indexer.ports.analyzer import InputDecoder
    from models.training.label_mapping import Labels
    from models.training.requests import Grid, InspectOptions, TrainOptions

_HOW_TO_RESUME = "rerun the same command to resume"


def train(options: TrainOptions, decoder: InputDecoder, watcher: TrainingWatcher) -> Trained:
    """Train a model, and report its progress to the watcher.

    Raises UsageError, ModelUnavailable, DeviceUnavailable, MissingExtra, MoodexError if the disk is full, and Interrupted after
    a signal.
    """
    from models.training import trainer

    with graceful_stop(_HOW_TO_RESUME) as check_stop:
        return trainer.train(options, decoder, watcher, check_stop)


def inspect(options: InspectOptions, decoder: InputDecoder) -> Inspection:
    """Check data sets, divided as a training would divide them. Raises UsageError."""
    from models.training import dataset_checks, splits, trainer

    trainer.recipe_architecture(options.recipe)
    images = trainer.prepare(options.datasets, options.labels, options.recipe, decoder, options.workers, options.work)
    divisions = splits.split(images, options.plan)
    return dataset_checks.inspect(images, divisions[0] if len(divisions) == 1 else None, options.work)


def compare(grid: Grid, decoder: InputDecoder, watcher: ComparisonWatcher) -> Iterator[tuple[ComparisonRow, tuple[Epoch, ...]]]:
    """Run a grid of trainings, and yield each row with its epochs as soon as it is finished. Raises the errors of `train`."""
    from models.training import experiment_grid

    with graceful_stop(_HOW_TO_RESUME) as check_stop:
        yield from experiment_grid.compare(grid, decoder, watcher, check_stop)


def explain_image(weights: Path, image: Path, decoder: InputDecoder, emotion: str | None, method: str) -> Explained:
    """Explain an emotion in one image; see `models.training.explain.explain_image`."""
    from models.training import explain

    return explain.explain_image(weights, image, decoder, emotion, method)


def explain_data(weights: Path, dataset: Path, labels: Labels, decoder: InputDecoder, method: str) -> ExplainedData:
    """Explain each emotion in a data set; see `models.training.explain.explain_data`."""
    from models.training import explain

    return explain.explain_data(weights, dataset, labels, decoder, method)
