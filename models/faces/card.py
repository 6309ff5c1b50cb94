"""The card of a face detector: a JSON file next to the weights. Reads no weights and imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from indexer.domain.errors import ModelUnavailable

SHIPPED = Path(__file__).parent / "moodex-faces.safetensors"
"""Weights of the shipped face detector."""

LEAST_OF_ONLY_FACE = 0.3
"""Lowest probability, 0-1, of the most probable face of a page where no face has the lowest probability of the card. If it is no
face, a classifier that knows none drops it."""


@dataclass(frozen=True, slots=True)
class FaceCard:
    """The description of a face detector.

    - `weights_digest`: BLAKE3 hex digest of the weights file.
    - `side`: side of its square input in pixels.
    - `least`: lowest probability, 0-1, of a reported face; see also `LEAST_OF_ONLY_FACE`.
    """

    weights_digest: str
    side: int
    least: float

    @property
    def key(self) -> str:
        """Hex digest of everything that affects which faces are detected."""
        return hashlib.blake2b(
            f"{self.weights_digest} {self.side} {self.least} {LEAST_OF_ONLY_FACE}".encode(), digest_size=16
        ).hexdigest()


def read_card(path: Path = SHIPPED) -> FaceCard:
    """Read the card of a weights file. Raises ModelUnavailable if it is missing, not JSON, or lacks a field."""
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return FaceCard(str(card["weights_digest"]), int(card["side"]), float(card["least"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"The card of the face detector {path} cannot be read: {error}.") from error
