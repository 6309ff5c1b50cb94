"""The grid of trainings that `moodex compare` runs.

The results of finished trainings are in JSON files, so that an interrupted run resumes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.training import ComparisonRow, ComparisonWatcher, Epoch, Inspection
from indexer.system.atomic import replace_file
from models.inference.classifier import TorchClassifier
from models.training.requests import Grid, TrainOptions
from models.training.splits import DatasetSplit, SplitPlan, split
from models.training.trainer import face_inputs, fit_and_save, prepare, recipe_architecture

if TYPE_CHECKING:
    from indexer.ports.analyzer import InputDecoder
    from models.training.dataset import LabeledImages
    from models.training.recipe import Recipe

_TIMED_IMAGES = 64
"""Images in a call whose speed is measured."""

_MIN_TIMED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of the grid: a data set, a split plan, and a variant with its recipe. `plan` and `recipe` have the same seed."""

    dataset: Path
    plan: SplitPlan
    variant: str
    recipe: Recipe

    @property
    def title(self) -> str:
        return f"{self.dataset.name}, {self.plan.method}, {self.variant}, seed {self.recipe.seed}"


def compare(
    grid: Grid, decoder: InputDecoder, watcher: ComparisonWatcher, check_stop: Callable[[], None] = lambda: None
) -> Iterator[tuple[ComparisonRow, tuple[Epoch, ...]]]:
    """Run the grid, and yield each row as soon as it is finished.

    Rows of an earlier run are used if its `decoder` had the same `faces`. Yields the row and the epochs of its first division.
    `check_stop` is called between batches and may raise. Raises the errors of `models.training.trainer.train`.
    """
    for recipe in grid.variants.values():
        recipe_architecture(recipe)
    cells = [
        _Cell(dataset, replace(plan, seed=seed), variant, replace(recipe, seed=seed))
        for dataset in grid.datasets
        for plan in grid.plans
        for variant, recipe in grid.variants.items()
        for seed in grid.seeds
    ]
    loaded: dict[tuple[Path, int], LabeledImages] = {}  # the images of the last data set and size
    for number, cell in enumerate(cells, start=1):
        key = (cell.dataset, cell.recipe.size)
        if key not in loaded:
            loaded = {key: prepare((cell.dataset,), grid.labels, cell.recipe, decoder, grid.workers, grid.output)}
        path = grid.output / "cells" / _slug(cell, loaded[key]) / "result.json"
        watcher.cell(number, len(cells), cell.title, path.exists())
        if not path.exists():
            row, history = _run_cell(grid, cell, loaded[key], path.parent, watcher, check_stop)
            _write_json(path, {"row": asdict(row), "history": [asdict(epoch) for epoch in history]})
        saved = json.loads(path.read_text())
        yield ComparisonRow(**saved["row"]), tuple(Epoch(**epoch) for epoch in saved["history"])


def _run_cell(
    grid: Grid, cell: _Cell, images: LabeledImages, folder: Path, watcher: ComparisonWatcher, check_stop: Callable[[], None]
) -> tuple[ComparisonRow, tuple[Epoch, ...]]:
    """Train on every division of a cell; return the means of the measurements, and the epochs of the first division."""
    divisions = split(images, cell.plan)
    results = [
        _run_division(grid, cell, images, division, folder / str(number), watcher, check_stop)
        for number, division in enumerate(divisions)
    ]
    first = results[0]
    means = {name: float(np.mean([result[name] for result in results])) for name in _MEANS}
    all_validated = all(result["accuracy_best"] is not None for result in results)
    row = ComparisonRow(
        dataset=cell.dataset.name,
        split=cell.plan.method,
        variant=cell.variant,
        architecture=cell.recipe.architecture,
        weights=cell.recipe.weights,
        seed=cell.recipe.seed,
        pictures=len(images),
        emotions=len(images.emotions),
        divisions=len(divisions),
        epochs=round(float(np.mean([result["epochs"] for result in results]))),
        parameters=first["parameters"],
        accuracy_mean=float(np.mean([result["accuracy_mean"] for result in results])) if all_validated else None,
        accuracy_best=float(np.mean([result["accuracy_best"] for result in results])) if all_validated else None,
        faces=images.faces,
        **means,
    )
    return row, tuple(Epoch(**epoch) for epoch in first["history"])


_MEANS = (
    "seconds_per_epoch", "images_per_second", "accuracy_train", "test_accuracy", "test_balanced", "test_macro_f1", "chance",
)  # fmt: skip
"""Measurements of a row that are means over its divisions."""


def _run_division(
    grid: Grid,
    cell: _Cell,
    images: LabeledImages,
    division: DatasetSplit,
    folder: Path,
    watcher: ComparisonWatcher,
    check_stop: Callable[[], None],
) -> dict[str, Any]:
    """Train on one division and measure the model, or read the measurements of a finished training.

    Raises UsageError if the division has no test images.
    """
    path = folder / "division.json"
    if not path.exists():
        options = TrainOptions(
            datasets=(cell.dataset,),
            name="model",
            output=folder,
            work=folder,
            recipe=cell.recipe,
            plan=cell.plan,
            labels=grid.labels,
            device=grid.device,
        )
        for leftover in folder.glob("model.*"):
            leftover.unlink()
        trained = fit_and_save(options, images, division, _EpochWatcher(watcher), check_stop)
        if trained.tested is None:
            raise UsageError(f"The split {cell.plan.method!r} leaves no images to measure on.")
        validated = [epoch.validation_accuracy for epoch in trained.history if epoch.validation_accuracy is not None]
        classifier = TorchClassifier.open(trained.path, grid.device)
        result = {
            "epochs": len(trained.history),
            "seconds_per_epoch": float(np.mean([epoch.seconds for epoch in trained.history])),
            "parameters": trained.parameters,
            "images_per_second": images_per_second(classifier),
            "accuracy_train": trained.history[-1].accuracy,
            "accuracy_mean": float(np.mean(validated)) if validated else None,
            "accuracy_best": max(validated) if validated else None,
            "test_accuracy": trained.tested.accuracy,
            "test_balanced": trained.tested.balanced_accuracy,
            "test_macro_f1": trained.tested.macro_f1,
            "chance": trained.tested.chance,
            "tested": trained.tested.as_json(),
            "split": division.name,
            "history": [asdict(epoch) for epoch in trained.history],
        }
        _write_json(path, result)
        trained.path.unlink()  # a grid of large networks would fill the disk
    saved: dict[str, Any] = json.loads(path.read_text())
    return saved


def images_per_second(classifier: TorchClassifier) -> float:
    """Measure how many random images a classifier classifies per second, after a warm-up."""
    size = classifier.card.input.size
    pixels = np.random.default_rng(0).integers(0, 256, (_TIMED_IMAGES, size, size, 3), dtype=np.uint8)
    classifier.classify(pixels)
    started, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < _MIN_TIMED_SECONDS:
        classifier.classify(pixels)
        rounds += 1
    return rounds * len(pixels) / (time.perf_counter() - started)


class _EpochWatcher:
    """Implements `indexer.domain.training.TrainingWatcher`: passes epochs to the watcher of a comparison."""

    def __init__(self, watcher: ComparisonWatcher) -> None:
        self._watcher = watcher

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None:
        """Report nothing: the data is the same for every variant."""

    def resumed(self) -> None:
        """Report nothing: `cell` has reported the training."""

    def epoch(self, epoch: Epoch) -> None:
        self._watcher.epoch(epoch)


def _slug(cell: _Cell, images: LabeledImages) -> str:
    """Return a readable folder name for a cell, with a digest of everything that affects its result."""
    inputs = [asdict(cell.recipe), asdict(cell.plan), [(file.digest, file.emotion) for file in images.files]]
    inputs += face_inputs(images)
    digest = hashlib.blake2b(json.dumps(inputs).encode(), digest_size=5).hexdigest()
    title = "-".join((cell.dataset.name, cell.plan.method, cell.variant, str(cell.recipe.seed)))
    return f"{''.join(c if c.isalnum() or c in '-_+' else '-' for c in title)}-{digest}"


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(values, indent=1)))
