"""A classifier and a face detector for tests, without weights and without torch.

The classifier is a fixed random projection of the image at 8 x 8 pixels. Equal images get equal results, similar images similar
results, and different images different results.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import Face, InputSpec
from indexer.domain.models import APPEARANCE, EXPRESSION, ModelCard
from indexer.domain.predictions import Scores
from models.inference.row_products import multiply_rows

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Halves, Pixels

_GRID_SIDE = 8
_EMBEDDING_SIZE = 64


class FakeClassifier:
    """Implements `indexer.ports.models.Classifier`. `classified` is the number of images that it classified.

    With `spaces`, its embeddings have two spaces, of which it classifies the first, so `scorer` can predict from them.
    """

    def __init__(self, size: int = 32, name: str = "fake", batch_size: int = 8, spaces: bool = False) -> None:
        self.card = ModelCard(
            name=name,
            architecture="fake",
            weights_digest=hashlib.blake2b(name.encode()).hexdigest(),
            labels=EMOTIONS,
            input=InputSpec(size=size, mean=127.5, std=127.5),
            embedding_size=_EMBEDDING_SIZE,
            spaces=((EXPRESSION, _EMBEDDING_SIZE // 2), (APPEARANCE, _EMBEDDING_SIZE // 2)) if spaces else (),
        )
        self.device = "cpu"
        self.engine = "fake"
        self.batch_size = batch_size
        self.streams = 0
        self.classified = 0
        self._lock = threading.Lock()
        random = np.random.default_rng(int(self.card.weights_digest[:8], 16))
        self._projection = random.normal(size=(_GRID_SIDE * _GRID_SIDE * 3, _EMBEDDING_SIZE)).astype(np.float32)
        self._head = random.normal(size=(_EMBEDDING_SIZE, len(EMOTIONS))).astype(np.float32) / 2

    def classify(self, pixels: Pixels) -> Scores:
        with self._lock:
            self.classified += len(pixels)
        block = self.card.input.size // _GRID_SIDE
        coarse = pixels.reshape(len(pixels), _GRID_SIDE, block, _GRID_SIDE, block, 3).mean(axis=(2, 4)) / 127.5 - 1
        embeddings = multiply_rows(coarse.reshape(len(pixels), -1).astype(np.float32), self._projection) + 1e-3
        parts = embeddings.reshape(len(pixels), 2 if self.card.spaces else 1, -1)
        parts /= np.linalg.norm(parts, axis=2, keepdims=True)
        return Scores(_softmax(self._logits(embeddings)), embeddings.astype(np.float32))

    def scorer(self) -> FakeScorer:
        """Return the last layer."""
        return FakeScorer(self.card, self._logits)

    def _logits(self, embeddings: Floats) -> Floats:
        read = embeddings[:, self.card.space_slice(EXPRESSION)]
        return multiply_rows(8 * read, self._head[: read.shape[1]])


class FakeScorer:
    """Implements `indexer.ports.teaching.Scorer`."""

    def __init__(self, card: ModelCard, logits: Callable[[Floats], Floats]) -> None:
        self.card = card
        self.mean_logits = np.linspace(0, 1, len(card.labels), dtype=np.float32)
        self._logits = logits

    def logits(self, embeddings: Halves) -> Floats:
        return self._logits(embeddings.astype(np.float32))

    def score(self, embeddings: Halves) -> Floats:
        return _softmax(self.logits(embeddings))


def _softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


class FakeFaceDetector:
    """Implements `indexer.ports.models.FaceDetector`: a face is the bounding box of all pixels of one of `FACE_COLORS`."""

    FACE_COLORS = ((255, 0, 255), (254, 0, 255), (253, 0, 255))

    def __init__(self, key: str = "fake") -> None:
        self.key = key

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        return [sorted(_faces_in(page), key=lambda face: -face.area) for page in pages]


def _faces_in(page: Pixels) -> list[Face]:
    height, width = page.shape[:2]
    faces = []
    for color in FakeFaceDetector.FACE_COLORS:
        rows, columns = np.nonzero((page == color).all(axis=2))
        if len(rows):
            left, right = columns.min() / width, (columns.max() + 1) / width
            faces.append(Face(float(left), float(rows.min() / height), float(right), float((rows.max() + 1) / height)))
    return faces
