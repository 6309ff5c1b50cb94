"""How much memory training needs, by the number of images.

    python bench/training_memory.py [--sizes N ...] [--side PIXELS]

Trains a small network for one epoch of a few batches on N synthetic images, as `moodex train` does: decode into the cache, check
the data, split, train, calibrate, measure. A decoder that draws noise takes the place of files. Every N is a process of its own,
which samples its anonymous resident memory (RssAnon: what the system cannot drop or read again) a hundred times a second. One
more run has the images of the default recipe's size, whose batches are larger. Linux only.
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
from indexer.domain.training import Epoch, Inspection  # noqa: E402

DEFAULT_SIZES, DEFAULT_SIDE = (10_000, 25_000, 60_000), 32
FULL_SIDE, FULL_SIDE_IMAGES = 128, 4_000
TARGET_IMAGES, TARGET_GB = 500_000, 4.0
EMOTIONS = ("happy", "sad", "angry", "neutral", "surprise")
STEPS = 20


class Sampler:
    """Samples the anonymous resident memory of this process in a thread; `peak` is in bytes."""

    def __init__(self) -> None:
        self.peak, self._over = anonymous_memory(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.01):
            self.peak = max(self.peak, anonymous_memory())


class Quiet:
    """A watcher of a training that reports nothing."""

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None: ...
    def resumed(self) -> None: ...
    def epoch(self, epoch: Epoch) -> None: ...


def anonymous_memory() -> int:
    """Return the anonymous resident memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def noise(path: Path, spec: InputSpec) -> np.ndarray:
    """Draw the image of a path: 8 x 8 random gray cells, enlarged, so that no two look the same."""
    cells = np.random.default_rng(int(path.stem)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cells.repeat(spec.size // 8, axis=0).repeat(spec.size // 8, axis=1)


def measure(count: int, side: int) -> dict[str, float]:
    """Train on `count` images of that side in this process; return bytes of memory and of the cache."""
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
    with Sampler() as sampler, tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
        folder = Path(scratch)
        sources = [Source(f"set{n}", folder / "images" / f"set{n}", f"artist{n}") for n in range(20)]
        found = []
        for number in range(count):
            source, emotion = sources[number % 20], EMOTIONS[number % 5]
            path = source.folder / emotion / f"{number:08}.png"
            found.append(SourceImage(path, emotion, emotion, source, digest=f"{number:064x}"))
        images = load_images(found, input_of(recipe), noise, cache_folder=folder)
        loaded = anonymous_memory()
        options = TrainOptions(
            datasets=(folder,), name="bench", output=folder / "models", work=folder / "work", recipe=recipe, device="cpu"
        )
        trained = fit_and_save(options, images, split(images, SplitPlan())[0], Quiet())
        if trained.tested is None or trained.tested.n < count // 20:
            raise SystemExit("The training did not measure its test part.")
    return {"before": before, "loaded": loaded, "peak": sampler.peak, "cache": count * side * side * 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(DEFAULT_SIZES))
    parser.add_argument("--side", type=int, default=DEFAULT_SIDE)
    parser.add_argument("--measure", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    if options.measure:
        print(json.dumps(measure(options.measure, options.side)))
        return
    from bench.machine import machine

    runs = [(count, options.side) for count in options.sizes] + [(FULL_SIDE_IMAGES, FULL_SIDE)]
    found = [run(count, side) for count, side in runs]
    text = page(machine(), runs, found)
    (ROOT / "bench" / "results" / "training_memory.md").write_text(text)
    print(text)


def run(count: int, side: int) -> dict[str, float]:
    """Measure in a new process: memory that another run has freed would hide what this one needs."""
    command = [sys.executable, __file__, "--measure", str(count), "--side", str(side)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def page(machine: str, runs: list[tuple[int, int]], found: list[dict[str, float]]) -> str:
    """Return the result as Markdown."""
    counts = np.array([count for count, _ in runs[:-1]], dtype=float)
    per_image = float(np.polyfit(counts, [one["peak"] - one["before"] for one in found[:-1]], 1)[0])
    full = found[-1]["peak"] + per_image * (TARGET_IMAGES - FULL_SIDE_IMAGES)
    cache = TARGET_IMAGES * FULL_SIDE**2 * 3 / 1e9
    rows = [
        f"| {count:,} | {side} x {side} | {one['cache'] / 1e6:,.0f} | {one['before'] / 1e6:,.0f} | {one['loaded'] / 1e6:,.0f} "
        f"| {one['peak'] / 1e6:,.0f} | {(one['peak'] - one['before']) / count:,.0f} |"
        for (count, side), one in zip(runs, found, strict=True)
    ]
    return "\n".join(
        [
            "# Memory while training",
            "",
            f"`python bench/training_memory.py` on {machine}: one epoch of {STEPS} batches of 32 images with `baseline_cnn` on",
            "the CPU, validation and test parts of a tenth each measured whole. Anonymous resident memory of the process in MB;",
            "pages of the cache file are not in it, for the system can drop them at any time.",
            "",
            "| images | size | cache file, MB | after imports | after decoding | peak | peak without imports, bytes per image |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Between the runs of one size the peak grows by {per_image:,.0f} bytes per image: its path, label, digest and row",
            "numbers, not its pixels.",
            "",
            f"Extrapolated, not measured: {TARGET_IMAGES:,} images of {FULL_SIDE} x {FULL_SIDE} pixels need {full / 1e9:.1f} GB",
            f"of memory (the last row, and {per_image:,.0f} bytes for each further image), and a cache file of {cache:.1f} GB.",
            f"The aim is at most {TARGET_GB:.0f} GiB. A larger network adds its weights, gradients and activations, which do not",
            "depend on the number of images.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
