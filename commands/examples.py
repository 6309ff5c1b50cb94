"""Examples of command lines, which the help of a command shows."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "index": (
        "moodex index ~/Pictures/stickers",
        "moodex index ~/manga --exclude '*.gif' --watch",
        "find . -name '*.png' -print0 | moodex index - -0",
        "moodex index s3://pictures --cluster auto",
    ),
    "cluster plan": ("moodex cluster plan s3://pictures/2024 --images 100000000 --machines 16 --price 0.8",),
    "search": (
        "moodex search happy",
        "moodex search --emotion crying --not angry --under ~/manga -k 50",
        "moodex search face.png --emotion sad --dedupe --open",
        "moodex search angry --copy-to ~/angry",
        "moodex search --tag 1girl --not-tag comic --emotion sad",
        "moodex search happy --null | xargs -0 ls -l",
    ),
    "show": ("moodex show face.png", "moodex show 1f3a9c2e --json"),
    "roots": ("moodex roots", "moodex roots --json"),
    "forget": ("moodex forget ~/Pictures/old",),
    "move": ("moodex move /mnt/old/manga ~/manga",),
    "serve": ("moodex serve --open", "moodex serve --host 0.0.0.0 --allow-host pictures.example"),
    "map": ("moodex map", "moodex map --model mine"),
    "mcp": ("moodex mcp", "moodex mcp --home ~/stickers-library"),
    "status": ("moodex status --failures 100",),
    "label": (
        "moodex label a.png b.png --emotion sad",
        "moodex label 1f3a9c2e --emotion angry",
        "moodex label labels.csv",
        "moodex label --list > labels.csv",
        "moodex label a.png --attach 1f3a9c2e",
    ),
    "hide": ("moodex hide ~/private", "moodex hide 1f3a9c2e", "moodex hide ~/private --remove"),
    "doubts": ("moodex doubts -k 50",),
    "teach": ("moodex teach --suggest 20", "moodex teach", "moodex teach --undo"),
    "train": ("moodex train faces/ --check", "moodex train faces/ --name mine"),
    "evaluate": ("moodex evaluate default faces/", "moodex evaluate mine labels.csv --output report"),
    "compare": ("moodex compare faces/ --epochs 5",),
    "compare-models": ("moodex compare-models faces/ moodex-lite0 wd-vit-tagger-v3",),
    "explain": ("moodex explain face.png --open", "moodex explain faces/ --method occlusion"),
    "runs": ("moodex runs --limit 5",),
    "doctor": ("moodex doctor", "moodex doctor --deep", "moodex doctor --repair"),
    "backup": ("moodex backup library.moodex",),
    "restore": ("moodex restore library.moodex --yes",),
    "migrate": (
        "moodex migrate --from sqlite:$HOME/.local/share/moodex/moodex.sqlite --to postgresql://moodex@db.example/pictures",
    ),
    "export": ("moodex export results.csv", "moodex export happy.parquet --emotion happy --under ~/manga"),
    "sidecars": ("moodex sidecars --xmp --under ~/stickers --dry-run", "moodex sidecars --captions --emotion sad"),
    "import": ("moodex import labels.csv --skip-unknown",),
}
"""Command lines by command."""


def epilog(command: str) -> str | None:
    """Return the end of the help of a command; None if it has no examples."""
    examples = EXAMPLES.get(command)
    return None if examples is None else "\n\n".join(["Examples:", *(f"  {line}" for line in examples)])
