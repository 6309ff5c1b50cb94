"""The contract of stores for equal hits: digests and paths order them, whatever the order in which images were added."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from db.sql.tuning import StoreTuning
from db.sqlite.store import SqliteStore
from db.vectors.faiss_index import FaissVectors
from db.vectors.numpy_index import NumpyVectors
from db.vectors.sync import CombinedVectorIndex
from indexer.domain.queries import Hit, SearchQuery
from indexer.ports.store import Store
from indexer.ports.store_reader import HitFilter
from indexer.ports.vectors import VectorIndex, VectorRows
from indexer.search.engine import SearchTuning, key_of, search
from tests.support.builders import image, unit_vectors
from tests.support.equal_images import add_in_order, equal_images
from tests.support.memory_store import MemoryStore
from tests.support.postgres_store import open_postgres
from tests.support.scene import Scene

SAD = frozenset({"sad"})
_TUNING = StoreTuning(anchored_list_rows=4, anchor_spacing_rows=3)


def in_faiss(rows: VectorRows) -> VectorIndex:
    return FaissVectors.build(rows)


def in_segments(rows: VectorRows) -> VectorIndex:
    middle = len(rows.ids) // 2
    parts = [VectorRows(*(column[some] for column in rows)) for some in (slice(middle), slice(middle, None))]
    return CombinedVectorIndex([NumpyVectors(part) for part in parts])


def answers(scene: Scene, build: Callable[[VectorRows], VectorIndex]) -> Iterator[list[Hit]]:
    """Yield the answers to questions of every kind, whole and by pages."""
    store, (model,), (rows,) = scene.store, scene.store.models(), scene.store.vectors(scene.model)
    index = build(rows)
    likes = unit_vectors(1, 8, seed=5)[0].astype(np.float32)
    tuning = SearchTuning(spare_candidates=1)

    def ask(query: SearchQuery) -> list[Hit]:
        return search(store, model, query, lambda: index, tuning)

    for like, emotions, under, dedupe in product((None, likes), (None, SAD), ((), (b"/a", b"/\xff")), (False, True)):
        query = SearchQuery(emotions, like=like, under=under, dedupe=dedupe, limit=100)
        whole = ask(query)
        yield whole
        pages = (ask(replace(query, limit=5, offset=offset)) for offset in range(0, len(whole), 5))
        yield [hit for page in pages for hit in page]
    for chosen in (HitFilter(), HitFilter(SAD), HitFilter(under=(b"/a",)), HitFilter(min_score=0.7)):
        paged: list[Hit] = []
        after = None
        while page := store.ranked(scene.model, chosen, 3, 0, after):
            after = key_of(page[-1])
            paged += [ranked.hit for ranked in page]
        yield paged


def stores(request: pytest.FixtureRequest, folder: Path, opened: ExitStack) -> Iterator[Store]:
    """Yield a store of every kind, and a second one of the first."""
    yield MemoryStore()
    yield MemoryStore()
    yield opened.enter_context(SqliteStore(folder / "moodex.sqlite", tuning=_TUNING))
    yield opened.enter_context(open_postgres(request.getfixturevalue("postgres_url"), _TUNING))


@pytest.mark.parametrize(("seed", "build"), [(0, in_faiss), (1, in_segments)])
def test_answers_do_not_depend_on_the_order_in_which_images_were_added(
    request: pytest.FixtureRequest, tmp_path: Path, seed: int, build: Callable[[VectorRows], VectorIndex]
) -> None:
    images = equal_images(seed)
    expected: list[list[Hit]] | None = None
    with ExitStack() as opened:
        for number, store in enumerate(stores(request, tmp_path, opened)):
            scene = add_in_order(store, images, random.Random(f"{seed} {number}"))
            found = list(answers(scene, build))
            expected = expected or found
            assert found == expected, type(store).__name__
            assert all(len({hit.path for hit in hits}) == len(hits) for hits in found)


def test_equal_hits_are_ordered_by_digest_then_by_folder_and_name(scene: Scene) -> None:
    scene.add("two", b"/b/1.png", b"/a/z.png", b"/a/\xff.png", b"/a/a/1.png")
    scene.add("one", b"/c/1.png")
    expected = [b"/c/1.png", b"/a/z.png", b"/a/\xff.png", b"/a/a/1.png", b"/b/1.png"]
    assert image("one").digest < image("two").digest
    assert scene.paths() == expected
    assert [scene.paths(limit=1, offset=place)[0] for place in range(5)] == expected


def test_a_page_after_a_file_that_is_forgotten_begins_with_the_next_image(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.add("two", b"/a/3.png")
    (first,) = scene.store.ranked(scene.model, HitFilter(), 1, 0)
    place = key_of(first)
    assert [one.hit.path for one in scene.store.ranked(scene.model, HitFilter(), 9, 0, place)] == [b"/a/2.png", b"/a/3.png"]
    scene.store.forget_files([b"/a/1.png"])
    scene.store.expire(2e10)
    assert [one.hit.path for one in scene.store.ranked(scene.model, HitFilter(), 9, 0, place)] == [b"/a/3.png"]
