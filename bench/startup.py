"""How long commands take from start to end, whole processes, against the bare imports that they need.

    python bench/startup.py [--pictures N]

Indexes the example pictures into a temporary folder, then runs all commands in turn, round after round, so that a slow minute of
the machine is one for all of them; with N, over that many synthetic pictures (bench/synthetic.py). Python keeps compiled byte
code, as it does where nobody forbids it.
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
    parser.add_argument("--pictures", type=int, default=0)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        program = [sys.executable, str(ROOT / "cli.py"), "--home", str(home)]
        examples = ROOT / "examples/images"
        known, unknown = f"{examples}/noto/noto-01.png", Path(folder) / "unknown.png"
        unknown.write_bytes(Path(known).read_bytes() + b" ")
        subprocess.run([*program, "index", str(examples)], check=True, stdout=subprocess.DEVNULL)
        if options.pictures:
            _add(home, options.pictures)
        python = [sys.executable, "-c"]
        commands: dict[str, tuple[list[str], str]] = {
            RICH: ([*python, f"{RICH}.table, rich.panel, rich.markdown"], ""),
            "moodex --help": ([*program, "--help"], RICH),
            SQLITE: ([*python, SQLITE], ""),
            "moodex status": ([*program, "status"], SQLITE),
            "moodex search --emotion happy": ([*program, "search", "--emotion", "happy"], SQLITE),
            FAISS: ([*python, FAISS], ""),
            "moodex search --like PATH --emotion sad": ([*program, "search", "--like", known, "--emotion", "sad"], FAISS),
            ONNX: ([*python, ONNX], ""),
            "moodex search IMAGE, bytes known": ([*program, "search", known], ONNX),
            "moodex search IMAGE, never seen": ([*program, "search", str(unknown)], ONNX),
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 + ROUNDS):
            for name, (command, _base) in commands.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                took[name].append(time.perf_counter() - started)
    took = {name: runs[1:] for name, runs in took.items()}  # the first round only fills the caches

    def times(name: str, base: str) -> str:
        return f"{median(one / other for one, other in zip(took[name], took[base], strict=True)):.2f}" if base else ""

    typed = f"python bench/startup.py{f' --pictures {options.pictures}' if options.pictures else ''}"
    over = f"{options.pictures:,} synthetic pictures" if options.pictures else "the example pictures"
    lines = [
        "# Start-up",
        "",
        f"`{typed}`; Python {platform.python_version()}, {platform.machine()}; medians of {ROUNDS} rounds, ratios",
        f"taken within a round, of whole processes over {over}. The bare imports end as",
        "Python does, with a last collection of garbage, which moodex leaves out.",
        "",
        "| command | ms | times the bare imports |",
        "|---|---|---|",
        *(f"| `{name}` | {1000 * median(took[name]):.0f} | {times(name, base)} |" for name, (_, base) in commands.items()),
    ]
    name = f"startup-{options.pictures}.md" if options.pictures else "startup.md"
    (ROOT / "bench/results" / name).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _add(home: Path, count: int) -> None:
    """Synthetic pictures beside those that are there, with their vector index."""
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
