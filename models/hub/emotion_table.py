"""The table by which tags become emotions. `tag_emotions.toml` states the rules; this module reads and applies them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.emotions import OUTCOMES, canonical
from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.tags import canonical_tag

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids

SHIPPED_TABLE = Path(__file__).with_name("tag_emotions.toml")
_BASE = "base"
_MAX_BYTES = 1 << 20
_LEAST_EVIDENCE = 1e-4
"""Added to evidence, so that its logarithm is finite."""


@dataclass(frozen=True, slots=True)
class TagRules:
    """The table for the tags of one model.

    - `labels`: emotions, in the order of moodex.
    - `columns`: int64, (K,), positions of the tags with a rule among the outputs of the model.
    - `weights`: float32, (labels, K), -1 to 1. `base`: float32, (labels,), 0-1.
    """

    labels: tuple[str, ...]
    columns: Ids
    weights: Floats
    base: Floats

    def logits(self, tags: Floats) -> Floats:
        """Return the logits of emotions, float32, (N, labels), for probabilities of all tags, float32, (N, tags)."""
        return evidence_logits(tags[:, self.columns], self.weights, self.base)


def evidence_logits(tags: Floats, weights: Floats, base: Floats) -> Floats:
    """Return logits, float32, (N, labels), for the probabilities of the tags with a rule, float32, (N, K); see `TagRules`."""
    supporting, contrary = np.maximum(weights, 0), np.maximum(-weights, 0)
    absent = (1 - base) * np.prod(1 - supporting * tags[:, None, :], axis=2)
    evidence = (1 - absent) * np.prod(1 - contrary * tags[:, None, :], axis=2)
    logits: Floats = np.log(evidence + np.float32(_LEAST_EVIDENCE)).astype(np.float32)
    return logits


def rules_for(tags: Sequence[str], table: Path | None = None) -> TagRules:
    """Return the rules of a table, or of the shipped one, for a model with some tags.

    Raises UsageError for a file that is not such a table, ModelUnavailable if fewer than two emotions have a tag of the model.
    """
    path = table or SHIPPED_TABLE
    content = read_table(path)
    base = {emotion_in(name, path): _number(value, path, name, least=0) for name, value in content.pop(_BASE, {}).items()}
    positions = {tag: number for number, tag in reversed(list(enumerate(tags)))}
    by_emotion: dict[str, dict[int, float]] = {}
    for name, weights in content.items():
        if not isinstance(weights, dict):
            raise UsageError(f"{path} is not a table of tags and emotions: {name} is not a section with tags.")
        known = {canonical_tag(tag): _number(weight, path, tag, least=-1) for tag, weight in weights.items()}
        by_emotion[emotion_in(name, path)] = {positions[tag]: weight for tag, weight in known.items() if tag in positions}
    labels = tuple(label for label in OUTCOMES if any(weight > 0 for weight in by_emotion.get(label, {}).values()))
    if len(labels) < 2:
        raise ModelUnavailable(f"The model has tags of fewer than two emotions of the table {path}; give another: --tag-emotions")
    columns = sorted(set[int]().union(*(by_emotion[label] for label in labels)))
    matrix = np.zeros((len(labels), len(columns)), dtype=np.float32)
    for row, label in enumerate(labels):
        for column, weight in by_emotion[label].items():
            matrix[row, columns.index(column)] = weight
    return TagRules(
        labels, np.array(columns, dtype=np.int64), matrix, np.array([base.get(label, 0.0) for label in labels], dtype=np.float32)
    )


def read_table(path: Path) -> dict[str, Any]:
    """Return the content of a file of TOML. Raises UsageError."""
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(_MAX_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise UsageError(f"The table {path} cannot be read as TOML: {error}.") from error


def emotion_in(name: str, path: Path) -> str:
    """Return the canonical emotion of a word in a table. Raises UsageError, which names the file."""
    try:
        return canonical(name)
    except UsageError as error:
        raise UsageError(f"In the table {path}: {error}") from error


def _number(value: object, path: Path, name: str, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 1:
        raise UsageError(f"In the table {path}, the weight of {name!r} is {value!r}; it must be a number from {least:g} to 1.")
    return float(value)
