"""The similarity of a hit depends on the hit and the query alone."""

from __future__ import annotations

import numpy as np
import pytest

from db.vectors.numpy_index import NumpyVectors
from indexer.domain.queries import SearchQuery
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch
from indexer.search.engine import SearchTuning, search
from tests.support.builders import card, image, prediction, unit_vectors
from tests.support.memory_store import MemoryStore
from tests.support.scene import Scene


@pytest.mark.parametrize("size", [1, 3, 8, 128, 1000])
def test_a_similarity_is_that_of_the_two_vectors_however_many_are_compared(size: int) -> None:
    store = MemoryStore()
    scene = Scene(store, store.register_model(card(size=size)))
    for seed in range(40):
        files = tuple(scene.record_scan(b"/a/%02d.png" % seed))
        entry = AnalyzedFileSet(image(f"{seed:02}"), {0: (prediction(0.7, 0.2, 0.1, seed=seed, size=size),)}, files)
        store.commit(scene.run, CommitBatch(predicted=(entry,)))
    (model,), (rows,) = store.models(), store.vectors(scene.model)
    like = unit_vectors(1, size, seed=99)[0]
    wide = like.astype(np.float64)
    alone = {
        path: round(min(1.0, float(np.einsum("i,i->", vector.astype(np.float64), wide))), 6)
        for path, vector in zip([b"/a/%02d.png" % seed for seed in range(40)], rows.vectors, strict=True)
    }
    for limit, tuning in ((1, SearchTuning(spare_candidates=0)), (7, SearchTuning()), (40, SearchTuning())):
        query = SearchQuery(like=like.astype(np.float32), limit=limit)
        hits = search(store, model, query, lambda: NumpyVectors(rows), tuning)
        assert [(hit.path, hit.similarity) for hit in hits] == sorted(alone.items(), key=lambda one: (-one[1], one[0]))[:limit]
