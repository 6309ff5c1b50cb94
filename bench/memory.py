"""Whether `moodex index` needs the same memory all along, however many pictures there are.

    python bench/memory.py HEADS [--pictures N] [--distinct M]

HEADS is a folder of drawn pictures. Makes M mixed pictures (bench/corpus.py) and, of them, N files of different bytes, indexes
them by the default model, with faces, and looks at the memory of the process tree ten times a second.
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
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--distinct", type=int, default=2_000)
    options = parser.parse_args()
    from bench import corpus
    from bench.machine import machine

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        corpus.make(folder, options.heads, options.distinct, workers=CORES)
        _repeat(folder, options.pictures // options.distinct)
        command = [sys.executable, str(ROOT / "cli.py"), "--home", str(Path(scratch, "home")), "index", str(folder), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with Memory([process]) as memory:
            answer = json.loads(process.communicate()[0].splitlines()[-1])
    tenths = [round(max(part) / 1e6) for part in np.array_split(memory.seen, PARTS)]
    text = page(machine(), answer["indexed"], options.distinct, answer["seconds"], tenths)
    (ROOT / "bench" / "results" / "memory.md").write_text(text)
    print(text)


def _repeat(folder: Path, times: int) -> None:
    """Write every picture so many times in all; the others end in a number, which decoders do not read."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        for number in range(1, times):
            path.with_name(f"{path.stem}-{number}{path.suffix}").write_bytes(data + number.to_bytes(4))


def page(machine: str, pictures: int, distinct: int, seconds: float, tenths: list[int]) -> str:
    """The result as Markdown."""
    return "\n".join(
        [
            "# Memory while indexing",
            "",
            f"`python bench/memory.py HEADS` on {machine}: {pictures:,} mixed files made of {distinct:,} pictures,",
            f"by the default model with faces, in {seconds:,.0f} s. The process tree's memory at its highest in each tenth of",
            "that time, in MB; the last tenth holds the building of the vector index.",
            "",
            f"| {' | '.join(f'{number}.' for number in range(1, PARTS + 1))} |",
            "|---" * PARTS + "|",
            f"| {' | '.join(f'{one:,}' for one in tenths)} |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
