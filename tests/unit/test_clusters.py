"""Large vector indexes: recall of at least 99% under every filter, and k results if k vectors exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.vectors.clustering import cluster
from db.vectors.faiss_index import FaissVectors
from db.vectors.files import FaissFiles
from db.vectors.tuning import IndexTuning
from indexer.ports.vectors import Generation, VectorFilter, VectorRows
from tests.support.builders import card

COUNT, SIZE = 60_000, 32


def vectors(count: int, seed: int = 0, centers: int = 300, directions: int = 8) -> np.ndarray:
    """Return unit vectors, float16, around many centers. They vary in a few directions, like embeddings of images."""
    random = np.random.default_rng(seed)
    center_vectors = np.random.default_rng(7).normal(size=(centers, SIZE))
    direction_vectors = np.random.default_rng(8).normal(size=(directions, SIZE))
    drawn = (
        center_vectors[random.integers(0, centers, count)] + 0.35 * random.normal(size=(count, directions)) @ direction_vectors
    )
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture(scope="module")
def rows() -> VectorRows:
    random = np.random.default_rng(1)
    emotions = random.choice(4, COUNT, p=[0.5, 0.39, 0.1, 0.01]).astype(np.uint8)
    return VectorRows(np.arange(1, COUNT + 1), emotions, random.random(COUNT).astype(np.float32), vectors(COUNT))


@pytest.fixture(scope="module")
def index(rows: VectorRows) -> FaissVectors:
    built = FaissVectors.build(rows)
    assert built.clusters is not None
    return built


@pytest.mark.parametrize(
    "within",
    [
        VectorFilter(),
        VectorFilter(frozenset({0})),
        VectorFilter(frozenset({0, 2})),
        VectorFilter(frozenset({1}), min_score=0.3),
        VectorFilter(frozenset({2})),
        VectorFilter(frozenset({3})),
        VectorFilter(frozenset({3}), min_score=0.9),
        VectorFilter(ids=np.arange(1, COUNT, 3)),
    ],
    ids=["all", "half", "two", "scored", "tenth", "hundredth", "thousandth", "ids"],
)
def test_recall_is_at_least_99_percent_under_every_filter(rows: VectorRows, index: FaissVectors, within: VectorFilter) -> None:
    allowed = rows.scores >= within.min_score
    if within.emotions is not None:
        allowed &= np.isin(rows.emotions, sorted(within.emotions))
    if within.ids is not None:
        allowed &= np.isin(rows.ids, within.ids)
    queries = vectors(100, seed=5).astype(np.float32)
    similarity = queries @ rows.vectors[allowed].astype(np.float32).T
    tenth = np.sort(similarity, axis=1)[:, -10]
    results = [index.search(query, 10, within) for query in queries]
    assert all(len(ids) == 10 and allowed[ids - 1].all() for ids, _ in results)
    recalls = [(similarities >= least - 1e-5).mean() for (_, similarities), least in zip(results, tenth, strict=True)]
    assert np.mean(recalls) >= 0.99


def test_a_search_reads_few_clusters(index: FaissVectors) -> None:
    assert index.clusters is not None
    near, far = next(index.clusters.attempts(10, 1)), next(index.clusters.attempts(1000, 1))
    assert near.lists < index.clusters.count / 4 and near.lists < far.lists
    assert 10 <= near.candidates < 1000 <= far.candidates < COUNT / 4
    assert not list(index.clusters.attempts(COUNT, 1))


def test_a_selective_filter_needs_more_lists_and_fewer_candidates(index: FaissVectors) -> None:
    assert index.clusters is not None
    whole, tenth = next(index.clusters.attempts(100, 1)), next(index.clusters.attempts(100, 0.1))
    assert tenth.lists > whole.lists
    assert 100 <= tenth.candidates < whole.candidates


def test_emotions_that_depend_on_characters_need_deeper_but_not_exhaustive_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    appearances, characters = vectors(COUNT), np.random.default_rng(0).integers(0, 300, COUNT)
    character_emotions = random.choice(4, 300, p=[0.5, 0.3, 0.19, 0.01])
    emotions = np.where(
        random.random(COUNT) < 0.9, character_emotions[characters], random.choice(4, COUNT, p=[0.5, 0.3, 0.19, 0.01])
    )
    rows = VectorRows(np.arange(1, COUNT + 1), emotions.astype(np.uint8), random.random(COUNT).astype(np.float32), appearances)
    index, within = FaissVectors.build(rows), VectorFilter(frozenset({1}))
    exhaustive_searches: list[int] = []
    monkeypatch.setattr(
        index, "_compared", lambda *arguments: exhaustive_searches.append(1) or FaissVectors._compared(index, *arguments)
    )
    queries, with_emotion = vectors(100, seed=5).astype(np.float32), rows.vectors[emotions == 1].astype(np.float32)
    tenth = np.sort(queries @ with_emotion.T, axis=1)[:, -10]
    results = [index.search(query, 10, within)[1] for query in queries]
    assert np.mean([(similar >= least - 1e-5).mean() for similar, least in zip(results, tenth, strict=True)]) >= 0.99
    assert len(exhaustive_searches) < 12


@pytest.mark.parametrize("k", [1, 3000, COUNT, COUNT + 5])
def test_a_search_returns_k_results_if_k_vectors_exist(index: FaissVectors, k: int) -> None:
    ids, _ = index.search(vectors(1, seed=6)[0].astype(np.float32), k, VectorFilter())
    assert len(ids) == len(set(ids.tolist())) == min(k, COUNT)


def test_clusters_are_learned_again_only_if_the_vectors_differ(index: FaissVectors) -> None:
    assert index.clusters is not None
    reused = cluster(vectors(10_000, seed=9), index.clusters)
    assert reused.learned_from == COUNT and reused.count == index.clusters.count
    others = np.random.default_rng(3).normal(size=(10_000, SIZE)) + 3
    others = (others / np.linalg.norm(others, axis=1, keepdims=True)).astype(np.float16)
    assert cluster(others, index.clusters).learned_from == 10_000
    outgrown = replace(index.clusters, learned_from=1000)
    assert cluster(vectors(10_000, seed=9), outgrown).learned_from == 10_000


def test_a_loaded_index_with_clusters_gives_the_same_results(rows: VectorRows, index: FaissVectors, tmp_path: Path) -> None:
    files, model = FaissFiles(tmp_path), card(size=SIZE)
    files.save(model, [], rows, Generation(COUNT, "t"))
    (segment,) = files.load(model)
    query = vectors(1, seed=6)[0].astype(np.float32)
    for searched in (index, segment.vectors):
        assert isinstance(searched, FaissVectors) and searched.clusters is not None
        assert sum(shard.index.ntotal for shard in searched.clusters.shards) == COUNT
    for within in (VectorFilter(), VectorFilter(frozenset({0})), VectorFilter(frozenset({1}), 0.5)):
        for first, second in zip(index.search(query, 20, within), segment.vectors.search(query, 20, within), strict=True):
            np.testing.assert_array_equal(first, second)


def test_codes_are_read_at_the_second_broad_query_even_if_files_were_deleted(rows: VectorRows, tmp_path: Path) -> None:
    files, model = FaissFiles(tmp_path), card(size=SIZE)
    files.save(model, [], rows, Generation(COUNT, "t"))
    (segment,) = files.load(model)
    files.delete(model)
    assert not list(tmp_path.iterdir())
    index, query = segment.vectors, vectors(1, seed=6)[0].astype(np.float32)
    assert isinstance(index, FaissVectors) and index.clusters is not None
    for _ in range(20):
        index.search(query, 10, VectorFilter(frozenset({2})))
    _, exact = index.search(query, 10, VectorFilter(frozenset({0})))
    index.search(query, 10, VectorFilter(frozenset({1})))
    assert not index.clusters.is_read
    _, approximate = index.search(query, 10, VectorFilter(frozenset({0})))
    assert index.clusters.is_read
    np.testing.assert_allclose(approximate, exact, atol=1e-5)


def random_vectors(count: int) -> np.ndarray:
    """Return unit vectors, float32, in random directions."""
    drawn = np.random.default_rng(11).normal(size=(count, SIZE)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("within", [VectorFilter(), VectorFilter(frozenset({0, 1}))], ids=["all", "two"])
def test_a_query_unlike_all_vectors_has_the_same_recall(rows: VectorRows, index: FaissVectors, within: VectorFilter) -> None:
    allowed = np.ones(COUNT, dtype=bool) if within.emotions is None else np.isin(rows.emotions, [0, 1])
    queries = random_vectors(40)
    tenth = np.sort(queries @ rows.vectors[allowed].astype(np.float32).T, axis=1)[:, -10]
    recalls = [(index.search(query, 10, within)[1] >= least - 1e-5).mean() for query, least in zip(queries, tenth, strict=True)]
    assert np.mean(recalls) >= 0.99


def test_an_exact_filter_compares_all_vectors(rows: VectorRows, index: FaissVectors) -> None:
    for query in vectors(60, seed=12).astype(np.float32):
        expected = np.sort(rows.vectors.astype(np.float32) @ query)[::-1][:25]
        np.testing.assert_allclose(index.search(query, 25, VectorFilter(exact=True))[1], expected, atol=1e-5)


def test_damaged_codes_are_reported_and_the_search_compares_all_vectors(
    rows: VectorRows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, model = FaissFiles(tmp_path), card(size=SIZE)
    files.save(model, [], rows, Generation(COUNT, "t"))
    (path,) = tmp_path.glob("*.faiss")
    stamp = path.stat()
    path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:])
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (segment,) = files.load(model)
    query = vectors(1, seed=6)[0].astype(np.float32)
    expected = np.sort(rows.vectors.astype(np.float32) @ query)[::-1][:10]
    for _ in range(3):
        np.testing.assert_allclose(segment.vectors.search(query, 10, VectorFilter())[1], expected, atol=1e-5)
    assert "doctor --repair" in caplog.text
    (reloaded,) = files.load(model)
    assert isinstance(reloaded.vectors, FaissVectors) and reloaded.vectors.clusters is not None
    assert cluster(rows.vectors, reloaded.vectors.clusters).learned_from == COUNT


CODE_BYTES = SIZE // 4 + 8
"""Bytes of a row in a shard: half a byte for every two numbers of a vector, and the number of the row."""

IN_NINE_SHARDS = IndexTuning(brute_force_max_rows=100, shard_bytes=CODE_BYTES * 7_000)


def in_portions(rows: VectorRows, portion_rows: int) -> Iterator[VectorRows]:
    for start in range(0, COUNT, portion_rows):
        yield VectorRows(*(column[start : start + portion_rows] for column in rows))


@pytest.mark.parametrize(
    "within",
    [
        VectorFilter(),
        VectorFilter(frozenset({0, 2})),
        VectorFilter(frozenset({1}), 0.3),
        VectorFilter(ids=np.arange(1, COUNT, 3)),
    ],
    ids=["all", "two", "scored", "ids"],
)
def test_a_file_made_from_portions_in_shards_gives_the_results_of_memory(
    rows: VectorRows, index: FaissVectors, tmp_path: Path, within: VectorFilter
) -> None:
    files, model = FaissFiles(tmp_path, replace(IN_NINE_SHARDS, portion_bytes=300_000)), card(size=SIZE)
    files.save(model, [], in_portions(rows, 1_000), Generation(COUNT, "t"))
    (segment,) = files.load(model)
    stored = segment.vectors
    assert isinstance(stored, FaissVectors) and stored.clusters is not None and len(stored.clusters.shards) == 9
    assert len(list(tmp_path.iterdir())) == 1 + 1 + 9
    np.testing.assert_array_equal(stored.layout.ids, index.layout.ids)
    np.testing.assert_array_equal(stored.vectors, index.vectors)
    queries = vectors(60, seed=5).astype(np.float32)
    alike = [
        np.isclose(index.search(query, 10, within)[1], stored.search(query, 10, within)[1], atol=1e-5).all() for query in queries
    ]
    assert np.mean(alike) >= 0.95  # codes that are equally near may choose others


def test_a_search_for_an_emotion_reads_only_its_shards(rows: VectorRows) -> None:
    built = FaissVectors.build(rows, tuning=IN_NINE_SHARDS)
    assert built.clusters is not None
    shards = built.clusters.shards
    assert [shard.stop for shard in shards[:-1]] == [shard.start for shard in shards[1:]] and shards[-1].stop == COUNT
    for query in vectors(30, seed=5).astype(np.float32):
        built.search(query, 1, VectorFilter(frozenset({2})))
    start, stop = built.layout.parts[2]
    assert [shard.is_read for shard in shards] == [shard.start < stop and start < shard.stop for shard in shards]
    assert 0 < sum(shard.is_read for shard in shards) <= 2


class _Counted:
    """Vectors that count how many of them are read at once."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self._array, self.most = array.shape, array, 0

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: object) -> np.ndarray:
        found = self._array[rows]
        self.most = max(self.most, len(found))
        return found


def test_clusters_are_built_from_parts_of_the_vectors(rows: VectorRows) -> None:
    counted, kept = _Counted(rows.vectors), []

    def keep(number: int, built: Any) -> Callable[[], Any]:
        kept.append((number, built.ntotal))
        return lambda: built

    tuning = replace(IN_NINE_SHARDS, training_bytes=2 * SIZE * 10_000)
    clusters = cluster(counted, tuning=tuning, keep=keep)  # type: ignore[arg-type]  # it acts like an array
    assert kept == [(number, shard.stop - shard.start) for number, shard in enumerate(clusters.shards)]
    assert counted.most == 10_000


def test_fewer_training_vectors_lose_no_recall(rows: VectorRows) -> None:
    """41 for each center, as for ten million vectors."""
    built = FaissVectors.build(rows, tuning=IndexTuning(training_bytes=2 * SIZE * 20_000))
    queries = vectors(300, seed=5).astype(np.float32)
    tenth = np.sort(queries @ rows.vectors.astype(np.float32).T, axis=1)[:, -10]
    similarities = [built.search(query, 10, VectorFilter())[1] for query in (queries[0], *queries)][1:]
    assert built.clusters is not None and built.clusters.is_read
    assert np.mean([(similar >= least - 1e-5).mean() for similar, least in zip(similarities, tenth, strict=True)]) >= 0.99
