"""The checkpoints that come with the program."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "moodex-lite0"


def checkpoints() -> dict[str, Path]:
    """The shipped weights files by model name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.safetensors"))}
