"""What a second look at unchanged folders costs, against a bare walk of the same tree.

    python bench/rescan.py [--files N] [--rounds R]

Makes a tree of N picture files in folders of 500 (links to a few, so that the disk holds it), indexes it by a classifier that
computes next to nothing, and then, in turn, walks it with os.scandir and stat, and lets moodex look again.
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

A_FOLDER, DISTINCT = 500, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[100_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = {"machine": machine(), "rounds": options.rounds, "sizes": {}}
    for count in options.files:
        # A process each, for the memory.
        command = [sys.executable, "-c", f"from bench.rescan import measure; measure({count}, {options.rounds})"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        results["sizes"][count] = json.loads(done.stdout.splitlines()[-1])
        print(count, results["sizes"][count], flush=True)
    path = ROOT / "bench" / "results" / "rescan"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def measure(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tree, settings = Path(scratch, "tree"), Settings(Path(scratch, "home"), faces="off")
        plant(tree, count)

        def look() -> Any:
            return ingest_service.index(
                opened(settings, lambda _: Analyzer(FakeClassifier())), [os.fsencode(tree)], IndexRequest(), Remembered()
            )

        first = timed(look)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        walks, looks = [], []
        for _ in range(rounds):
            walks.append(timed(lambda: walk(tree)))
            looks.append(timed(look))
        summary = look()
        if (summary.scanned, summary.unchanged) != (count, count):
            raise SystemExit(f"Not everything is unchanged: {summary}")
        found = {
            "first": round(first, 2),
            "walk": round(median(walks), 3),
            "again": round(median(looks), 3),
            "ratio": round(median(again / bare for again, bare in zip(looks, walks, strict=True)), 2),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
            "first_peak_mb": round(before / 1000),
        }
        print(json.dumps(found))


def plant(tree: Path, count: int) -> None:
    from PIL import Image

    kinds = tree.parent / "kinds"
    kinds.mkdir(parents=True)
    for number in range(DISTINCT):
        Image.new("RGB", (32, 32), (number, 255 - number, 7 * number % 256)).save(kinds / f"{number}.png")
    for number in range(count):
        folder = tree / f"{number // A_FOLDER // 100:03d}" / f"{number // A_FOLDER % 100:02d}"
        if number % A_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(kinds / f"{number % DISTINCT}.png", folder / f"{number:07d}.png")


def walk(folder: Path | str) -> int:
    """Stat every file below a folder."""
    seen = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                seen += walk(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                seen += 1
    return seen


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# A second look at unchanged folders",
        "",
        f"`python bench/rescan.py --files N...` on {results['machine']}, medians of {results['rounds']} rounds, in one",
        "process, the walk (os.scandir and stat of every file) and the look in turn.",
        "",
        "| files | first run, s | bare walk, s | moodex, s | times | peak memory, first run and in all, MB |",
        "|---|---|---|---|---|---|",
    ]
    for count, one in results["sizes"].items():
        lines.append(
            f"| {int(count):,} | {one['first']} | {one['walk']} | {one['again']} | {one['ratio']} "
            f"| {one['first_peak_mb']}, {one['peak_mb']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
