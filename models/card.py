"""Model cards as JSON files beside their weights. Reads and writes no weights, and imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.domain import InputSpec, ModelCard
from indexer.errors import ModelUnavailable


def card_path(weights: Path) -> Path:
    """Where the card of a weights file lies."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> ModelCard:
    """The card of a weights file. Raises ModelUnavailable where it is missing or not a card; the weights are not looked at."""
    path = card_path(weights)
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return _card(written)
    except FileNotFoundError as error:
        raise ModelUnavailable(f"The model {weights} has no card: {path} is missing.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelUnavailable(f"The model card {path} cannot be read as JSON: {error}.") from error
    except KeyError as error:
        raise ModelUnavailable(f"The model card {path} lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelUnavailable(f"The model card {path} is not a model card: {error}.") from error


def card_text(card: ModelCard) -> str:
    """A card as it is written."""
    facts = asdict(card)
    about, facts["spaces"] = facts.pop("about"), dict(card.spaces)
    del facts["precision"]  # it is chosen whenever the model is used
    return json.dumps({**facts, "about": about}, indent=2, ensure_ascii=False) + "\n"


def _card(written: dict[str, Any]) -> ModelCard:
    labels = written["labels"]
    if not isinstance(labels, list) or not all(isinstance(label, str) and label == label.strip().lower() for label in labels):
        raise ValueError("its labels are not a list of lower-case words")
    for name in ("name", "architecture", "weights_digest", "backbone_digest"):
        if not isinstance(written.get(name, ""), str):
            raise TypeError(f"its {name} is not text")
    if not isinstance(written["embedding_size"], int):
        raise TypeError("its embedding_size is not a whole number")
    spaces = written.get("spaces", {})
    if not all(isinstance(size, int) and size > 0 for size in spaces.values()):
        raise TypeError("its spaces are not sizes by name")
    return ModelCard(
        name=written["name"],
        architecture=written["architecture"],
        weights_digest=written["weights_digest"],
        labels=tuple(labels),
        input=InputSpec(**written["input"]),
        embedding_size=written["embedding_size"],
        spaces=tuple(spaces.items()),
        backbone_digest=written.get("backbone_digest", ""),
        about=dict(written.get("about", {})),
    )
