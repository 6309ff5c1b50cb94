"""Model cards: JSON files next to weights files. Reads no weights and imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.hub import PREFIX, HubSource, parse_reference
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.system.safe_read import read_bounded

MAX_BYTES = 1 << 22
"""Size limit of a card, 4 MiB: a hundred times the shipped one."""

MAX_LABELS = 255
"""Most emotions of a model: vector indexes store an emotion in one byte, and need one value for "none"."""

_MAX_TEXT_LENGTH = 200
"""Characters of a name, a label or a digest."""

_MAX_INPUT_NUMBER = 1e6
"""Largest absolute value of a number in the input of a card."""

_MAX_REASON_LENGTH = 200
"""Characters of a reason in an error message: a damaged card can make a parser quote all of it."""


def card_path(weights: Path) -> Path:
    """Return the path of the card of a weights file."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> ModelCard:
    """Read and validate the card of a weights file.

    Raises ModelUnavailable if the card is missing, larger than `MAX_BYTES`, not JSON, or lacks a field or has an invalid one.
    """
    path = card_path(weights)
    try:
        content = json.loads(read_bounded(path, MAX_BYTES).decode("utf-8"), object_pairs_hook=_without_duplicate_names)
    except FileNotFoundError as error:
        raise ModelUnavailable(f"The model {weights} has no card: {path} is missing.") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelUnavailable(f"The model card {path} cannot be read as JSON: {_shortened(reason)}.") from error
    try:
        return _parse_card(content)
    except KeyError as error:
        raise ModelUnavailable(f"The model card {path} lacks {error}.") from error
    except (TypeError, ValueError, AttributeError, UsageError) as error:
        raise ModelUnavailable(f"The model card {path} is not a model card: {_shortened(error)}.") from error


def card_text(card: ModelCard) -> str:
    """Return a card as JSON, without its precision, which the user chooses for each run."""
    fields = asdict(card)
    about, fields["spaces"] = fields.pop("about"), dict(card.spaces)
    del fields["precision"]
    for name in ("hub", "members"):
        if not getattr(card, name):
            del fields[name]
    return json.dumps({**fields, "about": about}, indent=2, ensure_ascii=False) + "\n"


def _parse_card(content: Any) -> ModelCard:
    """Build a card from parsed JSON. Raises KeyError for a missing field, TypeError and ValueError for an invalid one."""
    if not isinstance(content, dict):
        raise TypeError("it is not an object")
    labels, spaces, about = content["labels"], content.get("spaces", {}), content.get("about", {})
    if not isinstance(labels, list) or not all(isinstance(label, str) and label == label.strip().lower() for label in labels):
        raise ValueError("its labels are not a list of lower-case words")
    if len(labels) > MAX_LABELS or not all(map(_is_name, labels)):
        raise ValueError(f"its labels are not at most {MAX_LABELS} words of at most {_MAX_TEXT_LENGTH} printable characters")
    for name in ("name", "architecture", "weights_digest", "backbone_digest"):
        if not isinstance(content.get(name, ""), str):
            raise TypeError(f"its {name} is not text")
        if content.get(name) and not _is_name(content[name]):
            raise ValueError(f"its {name} is not text of at most {_MAX_TEXT_LENGTH} printable characters")
    if type(content["embedding_size"]) is not int:
        raise TypeError("its embedding_size is not a whole number")
    if not isinstance(spaces, dict) or not all(type(size) is int and size > 0 for size in spaces.values()):
        raise TypeError("its spaces are not sizes by name")
    if not isinstance(about, dict):
        raise TypeError("its about is not an object")
    json.dumps(about, ensure_ascii=False).encode()  # raises for a lone surrogate
    return ModelCard(
        name=content["name"],
        architecture=content["architecture"],
        weights_digest=content["weights_digest"],
        labels=tuple(labels),
        input=_parse_input(content["input"]),
        embedding_size=content["embedding_size"],
        spaces=tuple(spaces.items()),
        backbone_digest=content.get("backbone_digest", ""),
        hub=_parse_hub(content["hub"]) if "hub" in content else None,
        members=_parse_members(content.get("members", [])),
        about=about,
    )


def _parse_members(content: Any) -> tuple[tuple[str, str], ...]:
    """Return names and keys of the models of a blend. Raises ValueError for other values."""
    members = tuple(tuple(pair) for pair in content)
    if not all(len(pair) == 2 and all(isinstance(part, str) and _is_name(part) for part in pair) for pair in members):
        raise ValueError("its members are not names and keys of models")
    return members


def _parse_hub(content: Any) -> HubSource:
    """Build the source of a model of a hub from parsed JSON. Raises as `_parse_card` does."""
    if not isinstance(content, dict) or not isinstance(content["files"], dict) or not isinstance(content["options"], dict):
        raise TypeError("its hub is not a repository with files and options")
    repository, commit = parse_reference(f"{PREFIX}{content['repository']}@{content['revision']}")
    names = [*content["files"], *content["files"].values(), content["kind"]]
    if not all(isinstance(name, str) and _is_name(name) for name in names) or not all(map(_is_inside, content["files"])):
        raise ValueError("the files of its hub are not names with digests")
    return HubSource(repository, commit, content["kind"], content["files"], content["options"], bool(content.get("faces")))


def _parse_input(content: Any) -> InputSpec:
    if not isinstance(content, dict) or not {"size", "mean", "std"} <= content.keys() <= {"size", "mean", "std", "background"}:
        raise TypeError("its input is not size, mean and std, and perhaps background")
    types = {int: ("size", "background"), float: ("mean", "std")}
    for number_type, names in types.items():
        for name in names:
            value = content.get(name, 0)
            # Negated, because `abs(value) > _MAX_INPUT_NUMBER` is False for NaN.
            if type(value) not in (int, number_type) or not abs(value) <= _MAX_INPUT_NUMBER:
                raise TypeError(f"the {name} of its input is not a usable number")
    return InputSpec(**content)


def _is_inside(name: str) -> bool:
    """Return whether the name of a file cannot lead out of its repository."""
    return not name.startswith("/") and ".." not in name.split("/") and not set(name) & set("\\:")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_TEXT_LENGTH and text.isprintable()


def _without_duplicate_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict. Raises ValueError for a duplicate name: programs differ in which value they use."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("it has a name twice")
    return fields


def _shortened(reason: object) -> str:
    return " ".join(str(reason).split())[:_MAX_REASON_LENGTH].rstrip(".")
