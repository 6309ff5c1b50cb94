"""Measure `moodex import` of a table of labels: all rows known, and all rows unknown.

    python bench/label_table.py [--images N] [--rows R] [--rounds K]

The library has N synthetic images (bench/synthetic.py). Each round imports a table of R random labels for indexed paths, and one
of R paths that are not indexed, with --skip-unknown. Whole processes are measured, start-up included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from bench.synthetic import FILES_PER_FOLDER, fill  # noqa: E402

EMOTIONS = ("happy", "sad", "angry")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"indexed": [], "not indexed": []}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        fill(home / "moodex.sqlite", options.images)
        for number in range(options.rounds):
            for kind, root in (("indexed", "/synthetic"), ("not indexed", "/nowhere")):
                write_table(home / "table.csv", root, options.images, options.rows, number)
                seconds[kind].append(run(home))
    text = page(machine(), options.images, options.rows, seconds)
    (ROOT / "bench" / "results" / "label_table.md").write_text(text)
    print(text)


def write_table(path: Path, root: str, images: int, rows: int, seed: int) -> None:
    """Write a table of `rows` random labels for paths of synthetic images."""
    random = np.random.default_rng(seed)
    chosen = 1 + random.choice(images, rows, replace=False)
    lines = [
        f"{root}/{1 + image // FILES_PER_FOLDER:06d}/{image:09d}.png,{emotion}\n"
        for image, emotion in zip(chosen.tolist(), random.choice(EMOTIONS, rows), strict=True)
    ]
    path.write_text("path,label\n" + "".join(lines))


def run(home: Path) -> float:
    """Import the table of a data folder; return the seconds."""
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "import", "--skip-unknown", str(home / "table.csv")]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def page(machine: str, images: int, rows: int, seconds: dict[str, list[float]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Tables of labels",
        "",
        f"`python bench/label_table.py --images {images} --rows {rows}` on {machine}: medians of",
        f"{len(seconds['indexed'])} rounds, start-up included.",
        "",
        "| paths | rows | seconds | ms a row |",
        "|---|---|---|---|",
    ]
    for kind, times in seconds.items():
        lines.append(f"| {kind} | {rows:,} | {median(times):.1f} | {1000 * median(times) / rows:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
