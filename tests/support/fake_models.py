"""A classifier and a face detector for tests, without weights and without torch.

The classifier is a fixed random projection of the image reduced to 8 x 8 pixels, so that equal images get equal results, similar
images similar ones, and different images different ones.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import Face, InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.predictions import Scores
from models.inference.row_products import multiply_rows

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

_GRID = 8
_EMBEDDING = 64


class FakeClassifier:
    """Implements `indexer.ports.models.Classifier`. `classified` is the number of images that it classified."""

    def __init__(self, size: int = 32, name: str = "fake", batch_size: int = 8) -> None:
        self.card = ModelCard(
            name=name,
            architecture="fake",
            weights_digest=hashlib.blake2b(name.encode()).hexdigest(),
            labels=EMOTIONS,
            input=InputSpec(size=size, mean=127.5, std=127.5),
            embedding_size=_EMBEDDING,
        )
        self.device = "cpu"
        self.engine = "fake"
        self.batch_size = batch_size
        self.streams = 0
        self.classified = 0
        self._lock = threading.Lock()
        random = np.random.default_rng(int(self.card.weights_digest[:8], 16))
        self._project = random.normal(size=(_GRID * _GRID * 3, _EMBEDDING)).astype(np.float32)
        self._decide = random.normal(size=(_EMBEDDING, len(EMOTIONS))).astype(np.float32) / 2

    def classify(self, pixels: Pixels) -> Scores:
        with self._lock:
            self.classified += len(pixels)
        block = self.card.input.size // _GRID
        coarse = pixels.reshape(len(pixels), _GRID, block, _GRID, block, 3).mean(axis=(2, 4)) / 127.5 - 1
        embeddings = multiply_rows(coarse.reshape(len(pixels), -1).astype(np.float32), self._project) + 1e-3
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        logits = multiply_rows(8 * embeddings, self._decide)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Scores((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), embeddings.astype(np.float32))


class FakeFaceDetector:
    """Implements `indexer.ports.models.FaceDetector`: a face is the bounding box of all pixels of one of `MARKS`."""

    MARKS = ((255, 0, 255), (254, 0, 255), (253, 0, 255))

    def __init__(self, key: str = "fake") -> None:
        self.key = key

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        return [sorted(_marked(page), key=lambda face: -face.area) for page in pages]


def _marked(page: Pixels) -> list[Face]:
    height, width = page.shape[:2]
    faces = []
    for mark in FakeFaceDetector.MARKS:
        rows, columns = np.nonzero((page == mark).all(axis=2))
        if len(rows):
            left, right = columns.min() / width, (columns.max() + 1) / width
            faces.append(Face(float(left), float(rows.min() / height), float(right), float((rows.max() + 1) / height)))
    return faces
