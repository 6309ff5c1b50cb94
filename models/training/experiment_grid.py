"""The grid of trainings that `moodex compare` runs. Finished trainings are kept, so that an interrupted run resumes."""

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
from indexer.domain.training import ComparisonWatcher, Epoch, Inspection, Row
from indexer.system.atomic import replace_file
from models.inference.classifier import TorchClassifier
from models.training.requests import Grid, TrainOptions
from models.training.splits import DatasetSplit, SplitPlan, split
from models.training.trainer import fit_and_save, prepare, recipe_architecture

if TYPE_CHECKING:
    from models.training.dataset import Decode, LabeledImages
    from models.training.recipe import Recipe

_TIMED_IMAGES, _TIMED_SECONDS = 64, 2.0


@dataclass(frozen=True, slots=True)
class _Cell:
    """One row of the result: a data set, a split plan, a variant."""

    dataset: Path
    plan: SplitPlan
    variant: str
    recipe: Recipe

    @property
    def title(self) -> str:
        return f"{self.dataset.name}, {self.plan.method}, {self.variant}, seed {self.recipe.seed}"


def compare(
    grid: Grid, decode: Decode, watcher: ComparisonWatcher, check_stop: Callable[[], None] = lambda: None
) -> Iterator[tuple[Row, tuple[Epoch, ...]]]:
    """Run the grid; yield each row with the epochs of its first division as soon as it is finished.

    Raises as `models.training.trainer.train` does.
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
    loaded: dict[tuple[Path, int], LabeledImages] = {}
    for number, cell in enumerate(cells, start=1):
        key = (cell.dataset, cell.recipe.size)
        if key not in loaded:
            loaded = {key: prepare((cell.dataset,), grid.labels, cell.recipe, decode, grid.workers, grid.output)}
        path = grid.output / "cells" / _slug(cell, loaded[key]) / "result.json"
        watcher.cell(number, len(cells), cell.title, path.exists())
        if not path.exists():
            row, history = _run(grid, cell, loaded[key], path.parent, watcher, check_stop)
            _write(path, {"row": asdict(row), "history": [asdict(epoch) for epoch in history]})
        kept = json.loads(path.read_text())
        yield Row(**kept["row"]), tuple(Epoch(**epoch) for epoch in kept["history"])


def _run(
    grid: Grid, cell: _Cell, images: LabeledImages, folder: Path, watcher: ComparisonWatcher, check_stop: Callable[[], None]
) -> tuple[Row, tuple[Epoch, ...]]:
    divisions = split(images, cell.plan)
    done = [
        _one(grid, cell, images, division, folder / str(number), watcher, check_stop) for number, division in enumerate(divisions)
    ]
    first = done[0]
    means = {name: float(np.mean([one[name] for one in done])) for name in _MEANS}
    validated = [one["accuracy_best"] is not None for one in done]
    row = Row(
        dataset=cell.dataset.name,
        split=cell.plan.method,
        variant=cell.variant,
        architecture=cell.recipe.architecture,
        weights=cell.recipe.weights,
        seed=cell.recipe.seed,
        pictures=len(images),
        emotions=len(images.emotions),
        divisions=len(divisions),
        epochs=round(float(np.mean([one["epochs"] for one in done]))),
        parameters=first["parameters"],
        accuracy_mean=float(np.mean([one["accuracy_mean"] for one in done])) if all(validated) else None,
        accuracy_best=float(np.mean([one["accuracy_best"] for one in done])) if all(validated) else None,
        **means,
    )
    return row, tuple(Epoch(**epoch) for epoch in first["history"])


_MEANS = (
    "seconds_per_epoch", "images_per_second", "accuracy_train", "test_accuracy", "test_balanced", "test_macro_f1", "chance",
)  # fmt: skip


def _one(
    grid: Grid,
    cell: _Cell,
    images: LabeledImages,
    division: DatasetSplit,
    folder: Path,
    watcher: ComparisonWatcher,
    check_stop: Callable[[], None],
) -> dict[str, Any]:
    """Train and measure one division, or find what was measured before."""
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
        trained = fit_and_save(options, images, division, _Following(watcher), check_stop)
        if trained.tested is None:
            raise UsageError(f"The split {cell.plan.method!r} leaves no images to measure on.")
        best = [epoch.validation_accuracy for epoch in trained.history if epoch.validation_accuracy is not None]
        classifier = TorchClassifier.open(trained.path, grid.device)
        found = {
            "epochs": len(trained.history),
            "seconds_per_epoch": float(np.mean([epoch.seconds for epoch in trained.history])),
            "parameters": trained.parameters,
            "images_per_second": images_per_second(classifier),
            "accuracy_train": trained.history[-1].accuracy,
            "accuracy_mean": float(np.mean(best)) if best else None,
            "accuracy_best": max(best) if best else None,
            "test_accuracy": trained.tested.accuracy,
            "test_balanced": trained.tested.balanced_accuracy,
            "test_macro_f1": trained.tested.macro_f1,
            "chance": trained.tested.chance,
            "tested": trained.tested.as_json(),
            "split": division.name,
            "history": [asdict(epoch) for epoch in trained.history],
        }
        _write(path, found)
        trained.path.unlink()  # a grid of large networks would fill the disk
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept


def images_per_second(classifier: TorchClassifier) -> float:
    """Measure how many random images a classifier handles per second, in batches of its choice, after a warm-up."""
    size = classifier.card.input.size
    pixels = np.random.default_rng(0).integers(0, 256, (_TIMED_IMAGES, size, size, 3), dtype=np.uint8)
    classifier.classify(pixels)
    started, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < _TIMED_SECONDS:
        classifier.classify(pixels)
        rounds += 1
    return rounds * len(pixels) / (time.perf_counter() - started)


class _Following:
    """Passes the epochs of one training to the watcher of a comparison."""

    def __init__(self, watcher: ComparisonWatcher) -> None:
        self._watcher = watcher

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None:
        """Report nothing: the data is the same for every variant."""

    def resumed(self) -> None:
        """Report nothing: `cell` has reported the training."""

    def epoch(self, epoch: Epoch) -> None:
        self._watcher.epoch(epoch)


def _slug(cell: _Cell, images: LabeledImages) -> str:
    """Return a readable folder name for a cell, with a digest of everything that decides its result."""
    facts = [asdict(cell.recipe), asdict(cell.plan), [(file.digest, file.emotion) for file in images.files]]
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=5).hexdigest()
    words = "-".join(part for part in (cell.dataset.name, cell.plan.method, cell.variant, str(cell.recipe.seed)))
    return f"{''.join(c if c.isalnum() or c in '-_+' else '-' for c in words)}-{digest}"


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(facts, indent=1)))
