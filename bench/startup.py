"""Measure whole processes of commands, and compare them with the bare imports that they need.

    python bench/startup.py [--images N]

The script indexes the example images into a temporary folder. Each round then runs all commands in turn, so that a slow minute of
the machine affects all of them. With N, the library also has that many synthetic images (bench/synthetic.py). Python stores
compiled byte code, as it does by default.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS = 31
SQLITE = "import sqlalchemy.dialects.sqlite, typer"
FAISS = f"{SQLITE}, numpy, faiss"
ONNX = f"{FAISS}, PIL.Image, onnxruntime"
RICH = "import typer, rich"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=0)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        program = [sys.executable, str(ROOT / "cli.py"), "--home", str(home)]
        examples = ROOT / "examples/images"
        indexed, unindexed = f"{examples}/noto/noto-01.png", Path(folder) / "unindexed.png"
        unindexed.write_bytes(Path(indexed).read_bytes() + b" ")
        subprocess.run([*program, "index", str(examples)], check=True, stdout=subprocess.DEVNULL)
        if options.images:
            _add_synthetic_images(home, options.images)
        python = [sys.executable, "-c"]
        commands: dict[str, tuple[list[str], str]] = {
            RICH: ([*python, f"{RICH}.table, rich.panel, rich.markdown"], ""),
            "moodex --help": ([*program, "--help"], RICH),
            SQLITE: ([*python, SQLITE], ""),
            "moodex status": ([*program, "status"], SQLITE),
            "moodex search --emotion happy": ([*program, "search", "--emotion", "happy"], SQLITE),
            FAISS: ([*python, FAISS], ""),
            "moodex search --like PATH --emotion sad": ([*program, "search", "--like", indexed, "--emotion", "sad"], FAISS),
            ONNX: ([*python, ONNX], ""),
            "moodex search IMAGE, indexed": ([*program, "search", indexed], ONNX),
            "moodex search IMAGE, not indexed": ([*program, "search", str(unindexed)], ONNX),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 + ROUNDS):
            for name, (command, _imports) in commands.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - started)
    seconds = {name: runs[1:] for name, runs in seconds.items()}  # the first round only fills the caches

    def ratio(name: str, imports: str) -> str:
        if not imports:
            return ""
        return f"{median(run / bare for run, bare in zip(seconds[name], seconds[imports], strict=True)):.2f}"

    command_line = f"python bench/startup.py{f' --images {options.images}' if options.images else ''}"
    library = f"{options.images:,} synthetic images" if options.images else "the example images"
    lines = [
        "# Start-up",
        "",
        f"`{command_line}`; Python {platform.python_version()}, {platform.machine()}; whole processes, over {library}. The times",
        f"are medians of {ROUNDS} rounds; the ratios are medians of the ratios within a round. The bare imports end as Python",
        "does, with a last garbage collection, which moodex skips.",
        "",
        "| command | ms | times the bare imports |",
        "|---|---|---|",
        *(
            f"| `{name}` | {1000 * median(seconds[name]):.0f} | {ratio(name, imports)} |"
            for name, (_, imports) in commands.items()
        ),
    ]
    name = f"startup-{options.images}.md" if options.images else "startup.md"
    (ROOT / "bench/results" / name).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _add_synthetic_images(home: Path, count: int) -> None:
    """Add synthetic images to the library and index their vectors."""
    from bench import synthetic
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index

    synthetic.fill(home / "moodex.sqlite", count, first=1000)
    with SqliteStore(home / "moodex.sqlite") as store:
        (model,) = store.models()
        sync_index(store, FaissFiles(home / "vectors"), model)


if __name__ == "__main__":
    main()
