"""Measurements on the card of the shipped model and on its page in docs/."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models import checkpoint_arrays, zoo
from models.model_card import read_card
from models.training.model_card_markdown import markdown

_ROOT = Path(__file__).resolve().parent.parent


def describe(path: Path, measured: Mapping[str, Any]) -> None:
    """Write the measurements, and the texts of the recipe, on the card of the shipped model with the weights at `path`."""
    card = read_card(path)
    texts = tomllib.loads((_ROOT / "recipes" / f"{zoo.DEFAULT}.toml").read_text())
    described = replace(card, about={**card.about, **texts, "measured": dict(measured)})
    checkpoint_arrays.write_card(path, described)
    (_ROOT / "docs" / "explanation" / "model-card.md").write_text(markdown(described))
