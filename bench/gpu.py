"""Measure `moodex index` on a GPU: end to end, and each stage alone.

    python bench/gpu.py HEADS [--images N] [--rounds R] [--output FILE]

HEADS is a folder of drawn heads (PNG), from which the script makes mixed images (bench/corpus.py). The command runs into an empty
database, start-up included. The stages run in this process, warm: decoding in child processes by all cores, the face detector on
decoded pages, and the classifier on batches of its own size. The slowest stage bounds the command. Without a GPU, the same
numbers are those of the CPU, and the page says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import corpus  # noqa: E402
from bench.index import CORES, MODELS, measure_command, write_resnet50  # noqa: E402
from bench.machine import machine  # noqa: E402
from indexer.bootstrap import open_analyzer  # noqa: E402
from indexer.settings import Settings  # noqa: E402

STAGE_IMAGES = 512
"""Images that are decoded and searched for faces. They repeat in the batches of the classifier."""

CLASSIFIER_BATCHES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "gpu")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "gpu": _gpu(), "images": options.images, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        corpus.make(scratch / "images", options.heads, options.images, workers=CORES)
        write_resnet50(scratch / "resnet50")
        results["models"] = {model: _measure(model, scratch, options.rounds) for model in MODELS}
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(page(results))
    print(page(results))


def _gpu() -> str:
    """Return the name of the GPU; "none" without one."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def _measure(model: str, scratch: Path, rounds: int) -> dict[str, float]:
    """Return images a second of the command and of each stage, medians over rounds, and the memory of the command."""
    folder = scratch / "images"
    runs = [measure_command(ROOT, model, folder, scratch) for _ in range(rounds)]
    measured = {"command": median(run["rate"] for run in runs), "peak_mb": median(run["peak_mb"] for run in runs)}
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    measured |= _stages(model, scratch, paths[:: max(1, len(paths) // STAGE_IMAGES)], rounds)
    print(model, json.dumps(measured), flush=True)
    return measured


def _stages(model: str, scratch: Path, paths: list[Path], rounds: int) -> dict[str, float]:
    network = str(scratch / "resnet50" / "resnet50.safetensors") if model.startswith("resnet50") else None
    with open_analyzer(Settings(scratch / "home", model=network, faces=MODELS[model])) as analyzer:
        data = [path.read_bytes() for path in paths]
        with ThreadPoolExecutor(CORES) as threads:
            images = list(threads.map(analyzer.decode, data))
            rates = {"decode": _rate(lambda: list(threads.map(analyzer.decode, data)), len(data), rounds)}
        pages = [image.pixels for image in images]
        if analyzer.detector is not None:
            detector = analyzer.detector
            rates["detector"] = _rate(lambda: detector.detect(pages), len(pages), rounds)
        classifier = analyzer.classifier
        side, count = classifier.card.input.size, CLASSIFIER_BATCHES * classifier.batch_size
        batch = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        rates["classifier"] = _rate(lambda: classifier.classify(batch), count, rounds)
        return {**rates, "batch_size": classifier.batch_size}


def _rate(work: Callable[[], object], count: int, rounds: int) -> float:
    """Return the images a second of some work over `count` images, the median of the rounds after one to warm up."""
    work()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return count / median(seconds)


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Indexing on a GPU",
        "",
        f"`python bench/gpu.py HEADS` on {results['machine']}, GPU: {results['gpu']}. Images a second over {results['images']}",
        f"mixed images, medians of {results['rounds']} rounds: the command with its start-up, and each stage alone, warm.",
        "",
        "| model | moodex index | decoding | face detector | classifier | batch | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, one in results["models"].items():
        rates = [f"{one[stage]:.0f}" if stage in one else "-" for stage in ("command", "decode", "detector", "classifier")]
        lines.append(f"| {model} | {' | '.join(rates)} | {one['batch_size']} | {one['peak_mb']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
