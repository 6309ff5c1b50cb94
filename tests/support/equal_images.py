"""Images with equal scores, embeddings and faces, and their addition to a store in any order."""

from __future__ import annotations

import random
from typing import NamedTuple

from indexer.domain.fingerprints import FINGERPRINT_BYTES
from indexer.domain.images import Face
from indexer.domain.predictions import Prediction
from indexer.domain.runs import RunCounts
from indexer.ports.store import Store
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch
from tests.support.builders import image, unit_vectors
from tests.support.scene import Scene

_SCORES = [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.2, 0.2, 0.6), (1.0, 0.0, 0.0)]
_LEFT, _RIGHT = Face(0, 0.25, 0.5, 0.75), Face(0.5, 0.25, 1, 0.75)


class Added(NamedTuple):
    """An image to add: its name, its files and its predictions."""

    name: str
    paths: list[bytes]
    predictions: tuple[Prediction, ...]


def equal_images(seed: int) -> list[Added]:
    """Return images of which many have equal scores, equal embeddings or several files, and some two equal faces."""
    draw = random.Random(seed)
    vectors = unit_vectors(4, 8, seed)
    images = []
    for number in range(16):
        scores, vector = draw.choice(_SCORES), vectors[draw.randrange(4)]
        regions: tuple[Prediction, ...] = (
            Prediction(scores, vector, fingerprint=bytes([25 * draw.randrange(9)]) * FINGERPRINT_BYTES),
        )
        if draw.random() < 0.2:
            regions = tuple(Prediction(scores, vector, face=face) for face in (_LEFT, _RIGHT))
        folders = draw.sample([b"/a", b"/a/b", b"/a-c", b"/\xff"], draw.choice([1, 1, 2, 3]))
        images.append(Added(f"n{number}", [folder + b"/%d.png" % draw.randrange(100, 10**6) for folder in folders], regions))
    return images


def add_in_order(store: Store, images: list[Added], order: random.Random) -> Scene:
    """Add images and their files in an order, some of their files in later transactions, then label some."""
    scene = Scene(store)
    late = []
    for one in order.sample(images, len(images)):
        paths = order.sample(one.paths, len(one.paths))
        first = paths[: order.randint(1, len(paths))]
        scene.store.commit(
            scene.run,
            CommitBatch(predicted=(AnalyzedFileSet(image(one.name), {0: one.predictions}, tuple(scene.record_scan(*first))),)),
        )
        late += [(path, image(one.name).digest) for path in paths[len(first) :]]
    for path, digest in order.sample(late, len(late)):
        (file,) = scene.record_scan(path)
        scene.store.commit(scene.run, CommitBatch(linked=((file, digest),)))
    for one in order.sample(images[:5], 5):
        store.label({image(one.name).digest: "sad"})
    store.finish_run(scene.run, "done", RunCounts())
    return scene
