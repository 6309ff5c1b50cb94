"""What is known of a detector without opening it. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from indexer.domain.errors import ModelUnavailable

SHIPPED = Path(__file__).parent / "moodex-faces.safetensors"


@dataclass(frozen=True, slots=True)
class FaceCard:
    """What must be known of a detector: `side` of its input in pixels, and the probability from which it reports a face."""

    weights_digest: str
    side: int
    least: float

    @property
    def key(self) -> str:
        """Hex digest of everything that decides which faces are found."""
        return hashlib.blake2b(f"{self.weights_digest} {self.side} {self.least}".encode(), digest_size=16).hexdigest()


def read_card(path: Path = SHIPPED) -> FaceCard:
    """The card of a detector's weights file. Raises ModelUnavailable where it cannot be read."""
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return FaceCard(str(card["weights_digest"]), int(card["side"]), float(card["least"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"The card of the face detector {path} cannot be read: {error}.") from error
