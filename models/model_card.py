"""Model cards: JSON files next to weights files. Reads and writes no weights; imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.domain.errors import ModelUnavailable
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.system.safe_read import read_bounded

MAX_BYTES = 1 << 22
"""Size limit of a card, 4 MiB: a hundred times the shipped one."""

MAX_LABELS = 255
"""Most emotions of a model: vector indexes store them in one byte, and need a value for "none"."""

_MAX_TEXT_LENGTH = 200
_MAX_NUMBER = 1e6


def card_path(weights: Path) -> Path:
    """Return the path of the card of a weights file."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> ModelCard:
    """Read the card of a weights file, not the weights. Raises ModelUnavailable if it is missing or not a card."""
    path = card_path(weights)
    try:
        written = json.loads(read_bounded(path, MAX_BYTES).decode("utf-8"), object_pairs_hook=_without_doubles)
    except FileNotFoundError as error:
        raise ModelUnavailable(f"The model {weights} has no card: {path} is missing.") from error
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise ModelUnavailable(f"The model card {path} cannot be read as JSON: {_shortened(why)}.") from error
    try:
        return _card(written)
    except KeyError as error:
        raise ModelUnavailable(f"The model card {path} lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelUnavailable(f"The model card {path} is not a model card: {_shortened(error)}.") from error


def card_text(card: ModelCard) -> str:
    """Return a card as JSON."""
    facts = asdict(card)
    about, facts["spaces"] = facts.pop("about"), dict(card.spaces)
    del facts["precision"]  # the user chooses it for each run
    return json.dumps({**facts, "about": about}, indent=2, ensure_ascii=False) + "\n"


def _card(written: Any) -> ModelCard:
    if not isinstance(written, dict):
        raise TypeError("it is not an object")
    labels, spaces, about = written["labels"], written.get("spaces", {}), written.get("about", {})
    if not isinstance(labels, list) or not all(isinstance(label, str) and label == label.strip().lower() for label in labels):
        raise ValueError("its labels are not a list of lower-case words")
    if len(labels) > MAX_LABELS or not all(map(_is_name, labels)):
        raise ValueError(f"its labels are not at most {MAX_LABELS} words of at most {_MAX_TEXT_LENGTH} printable characters")
    for name in ("name", "architecture", "weights_digest", "backbone_digest"):
        if not isinstance(written.get(name, ""), str):
            raise TypeError(f"its {name} is not text")
        if written.get(name) and not _is_name(written[name]):
            raise ValueError(f"its {name} is not text of at most {_MAX_TEXT_LENGTH} printable characters")
    if type(written["embedding_size"]) is not int:
        raise TypeError("its embedding_size is not a whole number")
    if not isinstance(spaces, dict) or not all(type(size) is int and size > 0 for size in spaces.values()):
        raise TypeError("its spaces are not sizes by name")
    if not isinstance(about, dict):
        raise TypeError("its about is not an object")
    json.dumps(about, ensure_ascii=False).encode()  # raises for a lone surrogate
    return ModelCard(
        name=written["name"],
        architecture=written["architecture"],
        weights_digest=written["weights_digest"],
        labels=tuple(labels),
        input=_input(written["input"]),
        embedding_size=written["embedding_size"],
        spaces=tuple(spaces.items()),
        backbone_digest=written.get("backbone_digest", ""),
        about=about,
    )


def _input(written: Any) -> InputSpec:
    if not isinstance(written, dict) or not {"size", "mean", "std"} <= written.keys() <= {"size", "mean", "std", "background"}:
        raise TypeError("its input is not size, mean and std, and perhaps background")
    numbers = {int: ("size", "background"), float: ("mean", "std")}
    for kind, names in numbers.items():
        for name in names:
            value = written.get(name, 0)
            if type(value) not in (int, kind) or not abs(value) <= _MAX_NUMBER:  # NaN is not
                raise TypeError(f"the {name} of its input is not a usable number")
    return InputSpec(**written)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_TEXT_LENGTH and text.isprintable()


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object without duplicate names: programs disagree on which of two values counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it has a name twice")
    return found


def _shortened(why: object) -> str:
    return " ".join(str(why).split())[:200].rstrip(".")
