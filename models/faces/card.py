"""The card of a face detector, which is read without loading weights. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from indexer.domain.errors import ModelUnavailable

SHIPPED = Path(__file__).parent / "moodex-faces.safetensors"


@dataclass(frozen=True, slots=True)
class FaceCard:
    """Facts of a detector: `side` of its input in pixels, `least` probability of a reported face (0-1)."""

    weights_digest: str
    side: int
    least: float

    @property
    def key(self) -> str:
        """Hex digest of everything that decides which faces are detected."""
        return hashlib.blake2b(f"{self.weights_digest} {self.side} {self.least}".encode(), digest_size=16).hexdigest()


def read_card(path: Path = SHIPPED) -> FaceCard:
    """Read the card of a weights file. Raises ModelUnavailable if it cannot be read."""
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return FaceCard(str(card["weights_digest"]), int(card["side"]), float(card["least"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"The card of the face detector {path} cannot be read: {error}.") from error
