"""How long commands take from start to end, whole processes, against the bare imports that they need. Needs hyperfine.

    python bench/startup.py

Indexes the example pictures into a temporary folder, then measures all commands in one hyperfine run.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 15


def main() -> None:
    if not shutil.which("hyperfine"):
        sys.exit("hyperfine is not installed.")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        program = f"{sys.executable} {ROOT / 'cli.py'} --home {home}"
        examples = ROOT / "examples/images"
        subprocess.run([*program.split(), "index", str(examples)], check=True, stdout=subprocess.DEVNULL)
        commands = {
            "import sqlalchemy, typer": f"{sys.executable} -c 'import sqlalchemy, typer'",
            "import sqlalchemy.orm, typer": f"{sys.executable} -c 'import sqlalchemy.orm, typer'",
            "moodex --help": f"{program} --help",
            "moodex search --emotion happy": f"{program} search --emotion happy",
            "moodex search --like PATH": f"{program} search --like {examples}/noto/noto-01.png",
            "moodex search IMAGE, bytes known": f"{program} search {examples}/noto/noto-01.png",
            "moodex status": f"{program} status",
        }
        results = Path(folder) / "results.json"
        named = [word for name, command in commands.items() for word in ("-n", name, command)]
        quiet = ["hyperfine", "-N", "--style", "none", "--warmup", "2", "--runs", str(RUNS), "--export-json", str(results)]
        subprocess.run([*quiet, *named], check=True)
        medians = {result["command"]: result["median"] for result in json.loads(results.read_text())["results"]}
    base = medians["import sqlalchemy, typer"]
    lines = [
        "# Start-up",
        "",
        f"`python bench/startup.py`; Python {platform.python_version()}, {platform.machine()}; medians of {RUNS} runs of",
        "the whole process, all in one run of hyperfine, over the example pictures.",
        "",
        "| command | ms | times the bare imports |",
        "|---|---|---|",
        *(f"| `{name}` | {1000 * seconds:.0f} | {seconds / base:.2f} |" for name, seconds in medians.items()),
    ]
    (ROOT / "bench/results/startup.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
