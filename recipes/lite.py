"""Write requirements-lite.txt: the dependencies of moodex without PyTorch, and those of `moodex serve`.

    python -m recipes.lite

Run it again after a change of the dependencies in pyproject.toml; a test fails if the two differ.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from indexer.system.optional import TORCH

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "requirements-lite.txt"

_HEADER = """\
# moodex without PyTorch, the lite form: every command but train, evaluate, compare and explain.
#
#     pip install -r requirements-lite.txt && pip install --no-deps .
#
# `python -m recipes.lite` writes this file from pyproject.toml.
"""


def lite_requirements() -> str:
    """Return the content of requirements-lite.txt: one requirement a line, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = (*project["dependencies"], *project["optional-dependencies"]["web"])
    kept = [line for line in wanted if Requirement(line).name not in TORCH]
    return _HEADER + "".join(f"{line}\n" for line in kept)


if __name__ == "__main__":
    TARGET.write_text(lite_requirements(), encoding="utf-8")
