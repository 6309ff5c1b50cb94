"""How long commands take from start to end, whole processes, against the bare imports that they need. Needs hyperfine.

    python bench/startup.py [--pictures N]

Indexes the example pictures into a temporary folder, then measures all commands in one hyperfine run; with N, over that many
synthetic pictures (bench/synthetic.py). Python keeps compiled byte code, as it does where nobody forbids it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RUNS = 15
SQLITE = "import sqlalchemy.dialects.sqlite, typer"
FAISS = f"{SQLITE}, numpy, faiss"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=0)
    options = parser.parse_args()
    if not shutil.which("hyperfine"):
        sys.exit("hyperfine is not installed.")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        program = f"{sys.executable} {ROOT / 'cli.py'} --home {home}"
        examples = ROOT / "examples/images"
        known, unknown = f"{examples}/noto/noto-01.png", Path(folder) / "unknown.png"
        unknown.write_bytes(Path(known).read_bytes() + b" ")
        subprocess.run([*program.split(), "index", str(examples)], check=True, stdout=subprocess.DEVNULL)
        if options.pictures:
            _add(home, options.pictures)
        run = f"{sys.executable} -c"
        commands = {
            "import typer, rich": (f"{run} 'import typer, rich.table, rich.panel, rich.markdown'", ""),
            "moodex --help": (f"{program} --help", "import typer, rich"),
            SQLITE: (f"{run} '{SQLITE}'", ""),
            "moodex status": (f"{program} status", SQLITE),
            "moodex search --emotion happy": (f"{program} search --emotion happy", SQLITE),
            FAISS: (
                f"{run} '{FAISS}'",
                "",
            ),
            "moodex search --like PATH --emotion sad": (
                f"{program} search --like {known} --emotion sad",
                FAISS,
            ),
            "the same, numpy, faiss, PIL, onnxruntime": (
                f"{run} '{FAISS}, PIL.Image, onnxruntime'",
                "",
            ),
            "moodex search IMAGE, bytes known": (f"{program} search {known}", "the same, numpy, faiss, PIL, onnxruntime"),
            "moodex search IMAGE, never seen": (f"{program} search {unknown}", "the same, numpy, faiss, PIL, onnxruntime"),
        }
        results = Path(folder) / "results.json"
        named = [word for name, (command, _) in commands.items() for word in ("-n", name, command)]
        quiet = ["hyperfine", "-N", "--style", "none", "--warmup", "2", "--runs", str(RUNS), "--export-json", str(results)]
        subprocess.run([*quiet, *named], check=True)
        medians = {result["command"]: result["median"] for result in json.loads(results.read_text())["results"]}
    command = f"python bench/startup.py{f' --pictures {options.pictures}' if options.pictures else ''}"
    over = f"{options.pictures:,} synthetic pictures" if options.pictures else "the example pictures"
    lines = [
        "# Start-up",
        "",
        f"`{command}`; Python {platform.python_version()}, {platform.machine()}; medians of {RUNS} runs of the whole",
        f"process, all in one run of hyperfine, over {over}.",
        "",
        "| command | ms | times the bare imports |",
        "|---|---|---|",
        *(
            f"| `{name}` | {1000 * medians[name]:.0f} | {f'{medians[name] / medians[base]:.2f}' if base else ''} |"
            for name, (_, base) in commands.items()
        ),
    ]
    name = f"startup-{options.pictures}.md" if options.pictures else "startup.md"
    (ROOT / "bench/results" / name).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _add(home: Path, count: int) -> None:
    """Synthetic pictures beside those that are there, with their vector index."""
    from bench import synthetic
    from db.store import SqliteStore
    from db.vector_files import FaissFiles
    from indexer.reconcile import keep_vectors

    synthetic.fill(home / "moodex.sqlite", count, first=1000)
    with SqliteStore(home / "moodex.sqlite") as store:
        (model,) = store.models()
        keep_vectors(store, FaissFiles(home / "vectors"), model)


if __name__ == "__main__":
    main()
