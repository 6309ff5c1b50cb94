"""The shipped checkpoints."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "moodex-lite0"


def checkpoints() -> dict[str, Path]:
    """Return the shipped weights files by model name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.safetensors"))}
