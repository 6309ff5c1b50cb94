"""Run the grid of the study on open data.

    python bench/study.py DATA [--work DIR]

The study asks how much transfer learning and the other variants contribute, and how much the split hides. DATA holds sets as
`<set>/<emotion>/<file>`: those named avatar_* are the large data set, those named emoji_* the tiny one. Both are split at random
and by artist. The work folder keeps finished runs, and a stopped grid resumes. Results go to bench/results/study-avatars and
bench/results/study-emoji.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cli  # noqa: E402

OPTIONS = {
    "emoji": ["--epochs", "20", "--test", "0.3"],
    "avatars": ["--epochs", "4", "--test", "0.2", "--only", "*scratch", "--only", "Lite0*"],
}
RESULT_FILES = ("results.csv", "results.md", "curves.png", "speed.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "moodex-study"), help="folder of finished runs")
    options = parser.parse_args()
    for name, arguments in OPTIONS.items():
        folder = options.work / "data" / name
        link_sets(options.data.resolve(), name.removesuffix("s"), folder)
        output = options.work / name
        grid = ["--recipe", str(ROOT / "bench/study.toml"), "--split", "random", "--split", "group", "--whole", *arguments]
        if code := cli.run(["compare", str(folder), *grid, "--output", str(output)]):
            return code
        results = ROOT / "bench" / "results" / f"study-{name}"
        results.mkdir(parents=True, exist_ok=True)
        for file in RESULT_FILES:
            shutil.copyfile(output / file, results / file)
        table = (results / "results.md").read_text()
        head = f"`python bench/study.py DATA` on {machine()}; {' '.join(arguments)}, 64 px."
        (results / "results.md").write_text(f"{head}\n\n{table}")
    return 0


def link_sets(data: Path, kind: str, folder: Path) -> None:
    """Fill a folder with links to the sets of one kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(data.glob(f"{kind}_*")):
        link = folder / source.name
        if not link.exists():
            link.symlink_to(source, target_is_directory=True)


def machine() -> str:
    """Return the processor and the number of cores."""
    path = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in path.read_text().splitlines() if line.startswith("model name")]
        if path.exists()
        else []
    )
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
