"""A training in a separate process that prints a line after every batch, and saves its state after every batch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from indexer.analysis.input_decoder import InputDecoder
from indexer.domain.training import Epoch, Inspection
from models.training import loop
from models.training.recipe import Recipe
from models.training.requests import TrainOptions
from models.training.splits import SplitPlan
from models.training.trainer import train

RECIPE = Recipe(
    architecture="baseline_cnn+dropout", weights="none", size=32, epochs=3, pictures_per_epoch=0, batch_size=8, frozen=0,
    mixup=0.2, patience=3,
)  # fmt: skip


class SilentProgress:
    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None: ...
    def resumed(self) -> None: ...
    def epoch(self, epoch: Epoch) -> None: ...


def print_batch() -> None:
    sys.stdout.write("batch\n")
    sys.stdout.flush()


if __name__ == "__main__":
    faces, folder = map(Path, sys.argv[1:])
    loop._SAVE_EVERY_SECONDS = 0.0
    options = TrainOptions(
        (faces,), "faces", folder / "models", folder / "work", RECIPE, SplitPlan("random", 0.2, 0.2), device="cpu"
    )
    train(options, InputDecoder(), SilentProgress(), print_batch)
