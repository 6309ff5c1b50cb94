"""Measure a scan of unchanged folders, and compare it with a bare walk of the same tree.

    python bench/rescan.py [--files N...] [--rounds R]

The script makes a tree of N image files in folders of 500. The files are hard links to 200 images, so that the tree fits on the
disk. A classifier that computes almost nothing indexes the tree. Each round then walks the tree with os.scandir and stat, and
lets moodex scan it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from indexer.analysis.analyzer import Analyzer  # noqa: E402
from indexer.ingest import service as ingest_service  # noqa: E402
from indexer.ingest.run import IndexRequest  # noqa: E402
from indexer.settings import Settings  # noqa: E402
from tests.support.fake_models import FakeClassifier  # noqa: E402
from tests.support.library import opened  # noqa: E402
from tests.support.quiet import Remembered  # noqa: E402

FILES_PER_FOLDER, DISTINCT_IMAGES = 500, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[100_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = {"machine": machine(), "rounds": options.rounds, "sizes": {}}
    for count in options.files:
        # A separate process measures each size, because the peak memory of a process never falls.
        command = [sys.executable, "-c", f"from bench.rescan import measure; measure({count}, {options.rounds})"]
        process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        results["sizes"][count] = json.loads(process.stdout.splitlines()[-1])
        print(count, results["sizes"][count], flush=True)
    path = ROOT / "bench" / "results" / "rescan"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def measure(count: int, rounds: int) -> None:
    """Measure a tree of `count` files; print seconds and megabytes as JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, settings = Path(scratch, "tree"), Settings(Path(scratch, "home"), faces="off")
        make_tree(tree, count)

        def run() -> Any:
            return ingest_service.index(
                opened(settings, lambda _: Analyzer(FakeClassifier())), [os.fsencode(tree)], IndexRequest(), Remembered()
            )

        first = timed(run)
        first_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        walks, rescans = [], []
        for _ in range(rounds):
            walks.append(timed(lambda: walk(tree)))
            rescans.append(timed(run))
        summary = run()
        if (summary.scanned, summary.unchanged) != (count, count):
            raise SystemExit(f"The last run did not report all files as unchanged: {summary}")
        result = {
            "first": round(first, 2),
            "walk": round(median(walks), 3),
            "rescan": round(median(rescans), 3),
            "ratio": round(median(rescan / bare for rescan, bare in zip(rescans, walks, strict=True)), 2),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
            "first_peak_mb": round(first_peak / 1000),
        }
        print(json.dumps(result))


def make_tree(tree: Path, count: int) -> None:
    """Make a tree of `count` hard links to a few images."""
    from PIL import Image

    originals = tree.parent / "originals"
    originals.mkdir(parents=True)
    for number in range(DISTINCT_IMAGES):
        Image.new("RGB", (32, 32), (number, 255 - number, 7 * number % 256)).save(originals / f"{number}.png")
    for number in range(count):
        folder = tree / f"{number // FILES_PER_FOLDER // 100:03d}" / f"{number // FILES_PER_FOLDER % 100:02d}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(originals / f"{number % DISTINCT_IMAGES}.png", folder / f"{number:07d}.png")


def walk(folder: Path | str) -> int:
    """Stat every file below a folder; return their number."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += walk(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                count += 1
    return count


def timed(work: Callable[[], object]) -> float:
    """Call a function; return the seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Scans of unchanged folders",
        "",
        f"`python bench/rescan.py --files N...` on {results['machine']}, medians of {results['rounds']} rounds. One process",
        "walks the tree (os.scandir and stat of every file) and lets moodex scan it, in turn.",
        "",
        "| files | first run, s | bare walk, s | moodex, s | times | peak memory after the first run and at the end, MB |",
        "|---|---|---|---|---|---|",
    ]
    for count, row in results["sizes"].items():
        lines.append(
            f"| {int(count):,} | {row['first']} | {row['walk']} | {row['rescan']} | {row['ratio']} "
            f"| {row['first_peak_mb']}, {row['peak_mb']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
