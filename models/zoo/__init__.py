"""The shipped checkpoints."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "moodex-lite0"
"""Name of the shipped model that is used unless the user chooses another."""


def checkpoints() -> dict[str, Path]:
    """Return the shipped weights files by model name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.safetensors"))}
