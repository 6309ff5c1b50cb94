"""Images that contain the time at which they were written, and a classifier that reads it.

Images are in groups, one group per folder. A writer replaces one group after the other, each in one commit: at tick T, group
T modulo `GROUPS` gets images that contain T. So the newest images of all groups have consecutive ticks in every committed state,
and a result that mixes two states is visible: ticks that are not consecutive, half a group, a group that is missing although it
was not moved, a label on only some images of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.predictions import Scores
from tests.support.builders import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.domain.types import Pixels

GROUPS, GROUP_IMAGES = 7, 12
CYCLE_TICKS, MISSING_AT, MOVED_AT = 11, 3, 6
"""At a tick that is `MISSING_AT` modulo `CYCLE_TICKS`, the group of that tick is missing for a run before it is replaced; at
`MOVED_AT`, it is in another folder for a run. This never happens to the first group.
"""

UNINDEXED_TICK = 65_000
"""The tick of an image that is in no library."""

_SIDE_PIXELS, _EMBEDDING_SIZE = 32, 32
_MIN_SCORE, _SCORE_STEP = 0.6, 0.002


class TornRead(Exception):
    """A result that no committed state of the library can give."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The contents of an image: when it was written, and its number in its group."""

    tick: int
    member: int

    @property
    def group(self) -> int:
        return self.tick % GROUPS

    @property
    def emotion(self) -> str:
        return EMOTIONS[self.tick % len(EMOTIONS)]

    @property
    def score(self) -> float:
        return _MIN_SCORE + _SCORE_STEP * self.member


def group_folder(group: int) -> str:
    return f"group-{group:02d}"


def write_marked_image(path: Path, mark: Mark) -> None:
    """Replace a file, in one step, by an image with a mark."""
    color = (mark.tick >> 8, mark.tick & 255, mark.member)
    pixels = np.full((_SIDE_PIXELS, _SIDE_PIXELS, 3), color, dtype=np.uint8)
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(encoded(Image.fromarray(pixels)))
    temporary.replace(path)


class MarkClassifier:
    """Implements `indexer.ports.models.Classifier`: encodes the mark of an image in its probabilities and its embedding."""

    def __init__(self, name: str) -> None:
        input_spec = InputSpec(_SIDE_PIXELS, 127.5, 127.5)
        self.card = ModelCard(name, "marks", name.encode().hex(), EMOTIONS, input_spec, _EMBEDDING_SIZE)
        # One batch at a time, so that a run classifies and commits a group as a whole.
        self.device, self.engine, self.batch_size, self.streams = "cpu", "marks", GROUP_IMAGES, 1

    def classify(self, pixels: Pixels) -> Scores:
        marks = [Mark(int(red) << 8 | int(green), int(blue)) for red, green, blue in pixels[:, 0, 0]]
        probabilities = np.array([_probabilities(mark) for mark in marks], dtype=np.float32)
        return Scores(probabilities, np.stack([mark_embedding(self.card.name, mark) for mark in marks]))


def mark_of(emotions: dict[str, float]) -> Mark:
    """Decode the mark from probabilities. Raises TornRead."""
    values = [emotions[emotion] for emotion in EMOTIONS]
    best = max(range(len(values)), key=values.__getitem__)
    high, low = values[(best + 1) % len(values)] * 10_000, values[(best + 2) % len(values)] * 1000
    mark = Mark(100 * round(high) + round(low), round((values[best] - _MIN_SCORE) / _SCORE_STEP))
    require(mark.emotion == EMOTIONS[best], f"probabilities that belong to no mark: {values}")
    return mark


def _probabilities(mark: Mark) -> list[float]:
    count = len(EMOTIONS)
    best = mark.tick % count
    values = [0.0] * count
    values[best] = mark.score
    values[(best + 1) % count] = mark.tick // 100 / 10_000
    values[(best + 2) % count] = mark.tick % 100 / 1000
    values[(best + 3) % count] = 1 - sum(values)
    return values


@cache
def mark_embedding(model: str, mark: Mark) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the embedding of a mark by a model: a unit vector, (embedding size,)."""
    random = np.random.default_rng([*model.encode(), mark.tick, mark.member])
    vector = random.normal(size=_EMBEDDING_SIZE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def require(condition: bool, message: str) -> None:
    """Raise TornRead with a message unless a condition holds."""
    if not condition:
        raise TornRead(message)
