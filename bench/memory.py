"""Measure whether the memory of `moodex index` stays constant during a run.

    python bench/memory.py HEADS [--images N] [--distinct M]

HEADS is a folder of drawn heads (PNG). The script makes M mixed images (bench/corpus.py) and, from them, N files with different
bytes. It indexes the files with the default model and face detection, and samples the memory of the process tree ten times a
second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.index import CORES, Memory  # noqa: E402

PARTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--distinct", type=int, default=2_000)
    options = parser.parse_args()
    from bench import corpus
    from bench.machine import machine

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "images")
        corpus.make(folder, options.heads, options.distinct, workers=CORES)
        _repeat(folder, options.images // options.distinct)
        command = [sys.executable, str(ROOT / "cli.py"), "--home", str(Path(scratch, "home")), "index", str(folder), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with Memory([process]) as memory:
            summary = json.loads(process.communicate()[0].splitlines()[-1])
    peaks_mb = [round(max(part) / 1e6) for part in np.array_split(memory.seen, PARTS)]
    text = page(machine(), summary["indexed"], options.distinct, summary["seconds"], peaks_mb)
    (ROOT / "bench" / "results" / "memory.md").write_text(text)
    print(text)


def _repeat(folder: Path, times: int) -> None:
    """Copy every image until there are `times` files of it. Each copy ends with a number, which decoders ignore."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        for number in range(1, times):
            path.with_name(f"{path.stem}-{number}{path.suffix}").write_bytes(data + number.to_bytes(4))


def page(machine: str, images: int, distinct: int, seconds: float, peaks_mb: list[int]) -> str:
    """Return the result as Markdown."""
    return "\n".join(
        [
            "# Memory while indexing",
            "",
            f"`python bench/memory.py HEADS` on {machine}: {images:,} mixed files made from {distinct:,} images,",
            f"the default model, face detection on, {seconds:,.0f} s. The highest memory of the process tree in each tenth of",
            "the run, in MB. The last tenth includes building the vector index.",
            "",
            f"| {' | '.join(f'{number}.' for number in range(1, PARTS + 1))} |",
            "|---" * PARTS + "|",
            f"| {' | '.join(f'{peak:,}' for peak in peaks_mb)} |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
