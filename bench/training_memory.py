"""Measure how much memory training needs, by the number of images.

    python bench/training_memory.py [--sizes N ...] [--side PIXELS] [--target]

The script trains a small network for one epoch of a few batches on N synthetic images, as `moodex train` does: decode into the
cache, check the data, split, train, calibrate, measure. A decoder that draws noise replaces the files. A separate process
measures each N and samples its anonymous resident memory (RssAnon: memory that the system cannot drop or read again) a hundred
times a second. One more run has images of the default recipe's size, whose batches are larger; `--target` adds a run with
500,000 of them, which takes an hour and 25 GB of disk. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from indexer.domain.images import InputSpec  # noqa: E402
from indexer.domain.training import WHOLE_IMAGES, Epoch, Inspection  # noqa: E402

DEFAULT_SIZES, DEFAULT_SIDE = (10_000, 25_000, 60_000), 32
FULL_SIDE, FULL_SIDE_IMAGES = 128, 4_000
TARGET_IMAGES, TARGET_GIB = 500_000, 4.0
EMOTIONS = ("happy", "sad", "angry", "neutral", "surprise")
STEPS = 20


class MemorySampler:
    """Samples the anonymous resident memory of this process in a thread; `peak` is in bytes."""

    def __init__(self) -> None:
        self.peak, self._stopped = anonymous_memory(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(0.01):
            self.peak = max(self.peak, anonymous_memory())


class SilentWatcher:
    """A `TrainingWatcher` that ignores all events."""

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None: ...
    def resumed(self) -> None: ...
    def epoch(self, epoch: Epoch) -> None: ...


def anonymous_memory() -> int:
    """Return the anonymous resident memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


class NoiseDecoder:
    """Implements `indexer.ports.analyzer.InputDecoder` without files."""

    faces = WHOLE_IMAGES

    def decode(self, path: Path, spec: InputSpec) -> np.ndarray:
        """Draw the image of a path: 8 x 8 random cells, enlarged, so that no two images look the same."""
        cells = np.random.default_rng(int(path.stem)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return cells.repeat(spec.size // 8, axis=0).repeat(spec.size // 8, axis=1)


def measure(count: int, side: int) -> dict[str, float]:
    """Train on `count` images of `side` pixels in this process; return bytes of memory and of the cache."""
    import faiss  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    from models.training.dataset import load_images
    from models.training.dataset_readers import Source, SourceImage
    from models.training.recipe import Recipe
    from models.training.requests import TrainOptions
    from models.training.splits import SplitPlan, split
    from models.training.trainer import fit_and_save, input_of

    recipe = Recipe(architecture="baseline_cnn", weights="none", size=side, epochs=1, pictures_per_epoch=32 * STEPS, frozen=0.0)
    before = anonymous_memory()
    with MemorySampler() as sampler, tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
        folder = Path(scratch)
        sources = [Source(f"set{n}", folder / "images" / f"set{n}", f"artist{n}") for n in range(20)]
        files = []
        for number in range(count):
            source, emotion = sources[number % 20], EMOTIONS[number % 5]
            path = source.folder / emotion / f"{number:08}.png"
            files.append(SourceImage(path, emotion, emotion, source, digest=f"{number:064x}"))
        images = load_images(files, input_of(recipe), NoiseDecoder(), cache_folder=folder)
        loaded = anonymous_memory()
        options = TrainOptions(
            datasets=(folder,), name="bench", output=folder / "models", work=folder / "work", recipe=recipe, device="cpu"
        )
        trained = fit_and_save(options, images, split(images, SplitPlan())[0], SilentWatcher())
        if trained.tested is None or trained.tested.n < count // 20:
            raise SystemExit("The training did not measure its test part.")
    return {"before": before, "loaded": loaded, "peak": sampler.peak, "cache": count * side * side * 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(DEFAULT_SIZES))
    parser.add_argument("--side", type=int, default=DEFAULT_SIDE)
    parser.add_argument("--target", action="store_true", help=f"measure {TARGET_IMAGES:,} images of {FULL_SIDE} pixels, too")
    parser.add_argument("--measure", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    if options.measure:
        print(json.dumps(measure(options.measure, options.side)))
        return
    from bench.machine import machine

    full_sizes = (FULL_SIDE_IMAGES, TARGET_IMAGES) if options.target else (FULL_SIDE_IMAGES,)
    runs = [(count, options.side) for count in options.sizes] + [(count, FULL_SIDE) for count in full_sizes]
    measurements = [run(count, side) for count, side in runs]
    text = page(machine(), runs, measurements)
    (ROOT / "bench" / "results" / "training_memory.md").write_text(text)
    print(text)


def run(count: int, side: int) -> dict[str, float]:
    """Measure in a new process, because memory that an earlier run has freed would hide the need of this one."""
    command = [sys.executable, __file__, "--measure", str(count), "--side", str(side)]
    process = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return result


def page(machine: str, runs: list[tuple[int, int]], measurements: list[dict[str, float]]) -> str:
    """Return the results as Markdown."""
    small = [
        (count, row["peak"] - row["before"]) for (count, side), row in zip(runs, measurements, strict=True) if side != FULL_SIDE
    ]
    per_image = float(np.polyfit(*zip(*small, strict=True), 1)[0])
    size = f"{TARGET_IMAGES:,} images of {FULL_SIDE} x {FULL_SIDE} pixels"
    if runs[-1][0] == TARGET_IMAGES:
        target = f"The last row has {size}. It needs {measurements[-1]['peak'] / 1e9:.1f} GB of memory."
    else:
        expected = measurements[-1]["peak"] + per_image * (TARGET_IMAGES - FULL_SIDE_IMAGES)
        target = f"Extrapolated, not measured: {size} need {expected / 1e9:.1f} GB of memory."
    rows = [
        f"| {count:,} | {side} x {side} | {row['cache'] / 1e6:,.0f} | {row['before'] / 1e6:,.0f} | {row['loaded'] / 1e6:,.0f} "
        f"| {row['peak'] / 1e6:,.0f} | {(row['peak'] - row['before']) / count:,.0f} |"
        for (count, side), row in zip(runs, measurements, strict=True)
    ]
    return "\n".join(
        [
            "# Memory while training",
            "",
            f"`python bench/training_memory.py` on {machine}: one epoch of {STEPS} batches of 32 images with `baseline_cnn` on",
            "the CPU. The validation and test parts, a tenth of the images each, are measured completely. Anonymous resident",
            "memory of the process in MB. It excludes the pages of the cache file, because the system can drop them at any time.",
            "",
            "| images | size | cache file, MB | after imports | after decoding | peak | peak without imports, bytes per image |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Between runs with images of one size, the peak grows by {per_image:,.0f} bytes per image: its path, label, digest",
            "and row numbers, not its pixels.",
            "",
            target,
            f"The aim is at most {TARGET_GIB:.0f} GiB. A larger network adds its weights, gradients and activations, which",
            "do not depend on the number of images.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
