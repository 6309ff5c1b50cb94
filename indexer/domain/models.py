"""Models: their cards, and what is installed and stored of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from indexer.domain.images import InputSpec

FEEL, LOOK = "feel", "look"
"""The spaces an embedding may have: what a picture feels, and who is drawn and how."""


FULL_PRECISION = "fp32"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What must be known of a model to use it and to trust it.

    `weights_digest` is the BLAKE3 hex digest of the weights' bytes; `labels` are canonical emotions in the order of the model's
    outputs. Calibration is part of the weights (the last layer is divided by the temperature), so that the digest covers it.
    `spaces` are the parts of an embedding with their sizes, in order; none means one part that serves for everything.
    `backbone_digest` is the BLAKE3 hex digest of all weights but the last layer's: models that share it share embeddings.
    `precision` is what its network is computed in: "fp32", "bf16" or "fp16", whose answers differ.
    `about` holds what people read: training data, credits, measured accuracy.
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
    about: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.name or not self.labels or len(set(self.labels)) != len(self.labels) or self.embedding_size < 1:
            raise ValueError(f"not a usable model card: {self.name!r}")
        if self.spaces and sum(size for _, size in self.spaces) != self.embedding_size:
            raise ValueError(f"the spaces of {self.name!r} are not its embedding")

    @property
    def key(self) -> str:
        """Hex digest of everything that decides a model's outputs: predictions of different keys never mix."""
        facts = [self.architecture, self.weights_digest, list(self.labels), asdict(self.input), self.embedding_size]
        return _digest([*facts, *([self.spaces] if self.spaces else []), *self._less_precise])

    @property
    def embedder_key(self) -> str:
        """Hex digest of everything that decides a model's embeddings: models with the same one read each other's."""
        if not self.backbone_digest:
            return self.key
        return _digest([self.backbone_digest, asdict(self.input), self.embedding_size, self.spaces, *self._less_precise])

    @property
    def _less_precise(self) -> list[str]:
        return [] if self.precision == FULL_PRECISION else [self.precision]

    def space_slice(self, space: str) -> slice:
        """Where a space lies in an embedding; all of it for a model that has no such parts."""
        start = 0
        for name, size in self.spaces:
            if name == space:
                return slice(start, start + size)
            start += size
        return slice(0, self.embedding_size)


def with_precision(card: ModelCard, precision: str) -> ModelCard:
    """The same model computed in another precision: to everybody else another model, under a name of its own."""
    return (
        card if precision == FULL_PRECISION else replace(card, name=name_for_precision(card.name, precision), precision=precision)
    )


def name_for_precision(name: str, precision: str) -> str:
    """What a model is called in a precision."""
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
