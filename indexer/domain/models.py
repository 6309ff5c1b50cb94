"""Models: their cards, and what is installed and stored of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from indexer.domain.hub import HubSource
    from indexer.domain.images import InputSpec

EXPRESSION, APPEARANCE = "feel", "look"
"""The spaces of an embedding, as stored: expression, and appearance (the character and the style)."""

NEARLY_EQUAL = 0.995
NEARLY_EQUAL_IN_SPACES = 0.965
"""Minimum cosine similarity of near-duplicates, for embeddings without and with spaces. With spaces, copies that were reduced and
saved again have 0.967 and more, other images 0.86 and less.
"""

FULL_PRECISION = "fp32"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The description of a model: what moodex needs to run it and to verify it.

    - `weights_digest`: BLAKE3 hex digest of the weights file. Calibration is part of the weights (the last layer is divided by
      the temperature), so the digest covers it.
    - `labels`: canonical emotions in the order of the model's outputs.
    - `spaces`: parts of an embedding with their sizes, in order. Without any, the whole embedding serves every purpose.
    - `backbone_digest`: BLAKE3 hex digest of all weights except the last layer. Models with the same one share embeddings.
    - `precision`: "fp32", "bf16" or "fp16". Results differ between precisions.
    - `hub`: the files of a hub that the model needs; None for a model that is whole, and for a card from the store.
    - `members`: names and keys of the models of a blend, which has no network.
    - `about`: training data, credits and measured accuracy, for people.

    Raises ValueError for a card that cannot be used.
    """

    name: str
    architecture: str
    weights_digest: str
    labels: tuple[str, ...]
    input: InputSpec
    embedding_size: int
    spaces: tuple[tuple[str, int], ...] = ()
    backbone_digest: str = ""
    precision: str = FULL_PRECISION
    hub: HubSource | None = field(default=None, compare=False)
    members: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    about: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.name or not self.labels or len(set(self.labels)) != len(self.labels) or self.embedding_size < 1:
            raise ValueError(f"not a usable model card: {self.name!r}")
        if self.spaces and sum(size for _, size in self.spaces) != self.embedding_size:
            raise ValueError(f"the spaces of {self.name!r} do not add up to its embedding size")

    @property
    def key(self) -> str:
        """Hex digest of everything that affects the outputs. Predictions of different keys are never mixed."""
        facts = [self.architecture, self.weights_digest, list(self.labels), asdict(self.input), self.embedding_size]
        return _digest([*facts, *([self.spaces] if self.spaces else []), *self._less_precise])

    @property
    def embedder_key(self) -> str:
        """Hex digest of everything that affects the embeddings. Models with the same one share stored embeddings."""
        if not self.backbone_digest:
            return self.key
        return _digest([self.backbone_digest, asdict(self.input), self.embedding_size, self.spaces, *self._less_precise])

    @property
    def reads_faces(self) -> bool:
        """Whether the model reads the faces of an image; otherwise it reads the whole image."""
        return self.hub is None or self.hub.faces

    @property
    def _less_precise(self) -> list[str]:
        return [] if self.precision == FULL_PRECISION else [self.precision]

    def space_slice(self, space: str) -> slice:
        """Return the slice of an embedding that a space takes; the whole embedding for a model without spaces."""
        start = 0
        for name, size in self.spaces:
            if name == space:
                return slice(start, start + size)
            start += size
        return slice(0, self.embedding_size)


def with_precision(card: ModelCard, precision: str) -> ModelCard:
    """Return the card of a model in another precision, which counts as another model with another name."""
    if precision == FULL_PRECISION:
        return card
    return replace(card, name=name_for_precision(card.name, precision), precision=precision)


def name_for_precision(name: str, precision: str) -> str:
    """Return the name of a model in a precision."""
    return name if precision == FULL_PRECISION else f"{name}@{precision}"


def _digest(facts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


class StoredModel(NamedTuple):
    """A model in the store. `used`: the store has predictions of it."""

    id: int
    card: ModelCard
    used: bool


class InstalledModel(NamedTuple):
    """A model that is known by name. `origin` is "shipped" or "yours"."""

    name: str
    weights: Path
    origin: str
