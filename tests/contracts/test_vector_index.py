"""The contract of vector indexes: exact results with every filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.vectors.faiss_index import FaissVectors
from db.vectors.files import FaissFiles
from db.vectors.numpy_index import NumpyVectors
from db.vectors.sync import CombinedVectorIndex
from db.vectors.tuning import DEFAULT_TUNING, IndexTuning
from indexer.ports.vectors import Generation, VectorFilter, VectorIndex, VectorRows
from tests.support.builders import card, rows, unit_vectors
from tests.support.effort import examples
from tests.support.postgres_store import open_postgres


def _combined(all_rows: VectorRows) -> VectorIndex:
    half = len(all_rows.ids) // 2
    parts = [
        VectorRows(all_rows.ids[part], all_rows.emotions[part], all_rows.scores[part], all_rows.vectors[part])
        for part in (slice(None, half), slice(half, None))
    ]
    return CombinedVectorIndex([FaissVectors.build(parts[0]), NumpyVectors(parts[1])])


def _stored(folder: Path, tuning: IndexTuning = DEFAULT_TUNING) -> Callable[[VectorRows], VectorIndex]:
    def build(all_rows: VectorRows) -> VectorIndex:
        files = FaissFiles(folder, tuning)
        model = card(size=all_rows.vectors.shape[1])
        files.save(model, [], all_rows, Generation(int(all_rows.ids[-1]), "t"))
        (segment,) = files.load(model)
        return segment.vectors

    return build


def _in_postgres(url: str) -> Iterator[Callable[[VectorRows], VectorIndex]]:
    from db.postgres.vectors import PostgresVectors

    with open_postgres(url):
        pass  # it makes the tables
    storage = PostgresVectors(url)

    def build(all_rows: VectorRows) -> VectorIndex:
        model = card(size=all_rows.vectors.shape[1])
        storage.save(model, [], all_rows, Generation(int(all_rows.ids[-1]), "t"))
        (segment,) = storage.load(model)
        return segment.vectors

    yield build
    storage.close()


@pytest.fixture(
    params=[
        "numpy",
        "faiss",
        "faiss in threads",
        "faiss with clusters",
        "faiss from a file",
        "faiss with clusters from a file",
        "numpy and faiss combined",
        "postgresql",
        "postgresql with HNSW",
    ]
)
def build(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[VectorRows], VectorIndex]]:
    if "postgresql" in request.param:
        url = request.getfixturevalue("postgres_url")
        if "HNSW" in request.param:
            monkeypatch.setattr("db.postgres.vectors.MIN_INDEXED_ROWS", 1)
            monkeypatch.setattr("db.postgres.vector_index._COMPARED_AT_ONCE_ROWS", 0)
        yield from _in_postgres(url)
        return
    clustered, threaded = IndexTuning(clustered_min_rows=1), IndexTuning(rows_per_thread=1)
    if "threads" in request.param:
        monkeypatch.setattr("faiss.omp_get_max_threads", lambda: 3)
    builders: dict[str, Callable[[VectorRows], VectorIndex]] = {
        "numpy": NumpyVectors,
        "faiss": FaissVectors.build,
        "faiss in threads": partial(FaissVectors.build, tuning=threaded),
        "faiss with clusters": partial(FaissVectors.build, tuning=clustered),
        "faiss from a file": _stored(tmp_path),
        "faiss with clusters from a file": _stored(tmp_path, clustered),
        "numpy and faiss combined": _combined,
    }
    yield builders[request.param]


def brute_force(all_rows: VectorRows, query: np.ndarray, k: int, within: VectorFilter) -> np.ndarray:
    """Return the k best similarities, from a comparison with every row."""
    allowed = all_rows.scores >= np.float32(within.min_score)
    if within.emotions is not None:
        allowed &= np.isin(all_rows.emotions, sorted(within.emotions))
    if within.ids is not None:
        allowed &= np.isin(all_rows.ids, within.ids)
    similarities = all_rows.vectors[allowed].astype(np.float64) @ query.astype(np.float64)
    return np.sort(similarities)[::-1][:k]


FILTERS = [
    VectorFilter(),
    VectorFilter(emotions=frozenset({1})),
    VectorFilter(emotions=frozenset({0, 2})),
    VectorFilter(emotions=frozenset({9})),
    VectorFilter(emotions=frozenset()),
    VectorFilter(min_score=0.7),
    VectorFilter(emotions=frozenset({1, 2}), min_score=0.9),
    VectorFilter(min_score=1.1),
    VectorFilter(ids=np.array([3, 50, 51, 99], dtype=np.int64)),
    VectorFilter(ids=np.array([3, 50, 51, 99, 12345], dtype=np.int64), emotions=frozenset({0, 1}), min_score=0.3),
    VectorFilter(ids=np.empty(0, dtype=np.int64)),
]


@pytest.mark.parametrize("within", FILTERS, ids=range(len(FILTERS)))
@pytest.mark.parametrize("k", [1, 10, 500])
def test_a_search_returns_exactly_the_nearest_selected_rows(
    build: Callable[[VectorRows], VectorIndex], within: VectorFilter, k: int
) -> None:
    all_rows = rows(300)
    index = build(all_rows)
    query = unit_vectors(1, 16, seed=77)[0].astype(np.float32)
    ids, similarities = index.search(query, k, within)
    expected = brute_force(all_rows, query, k, within)
    assert (ids.dtype, similarities.dtype) == (np.int64, np.float64)
    assert len(set(ids.tolist())) == len(ids)
    np.testing.assert_allclose(similarities, expected, atol=1e-5)
    vectors = all_rows.vectors[ids - 1].astype(np.float32)
    np.testing.assert_allclose(vectors @ query, similarities, atol=1e-5)


def test_every_vector_is_its_own_nearest_neighbor(build: Callable[[VectorRows], VectorIndex]) -> None:
    all_rows = rows(50, size=32)
    index = build(all_rows)
    assert len(index) == 50
    for i in (0, 17, 49):
        ids, similarities = index.search(all_rows.vectors[i].astype(np.float32), 1, VectorFilter())
        assert ids.tolist() == [i + 1]
        assert similarities[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("k", [1, 10, 500])
def test_many_queries_find_the_nearest_of_each(build: Callable[[VectorRows], VectorIndex], k: int) -> None:
    all_rows = rows(300)
    index = build(all_rows)
    queries = all_rows.vectors[::7].astype(np.float32)
    ids, similarities = index.nearest(queries, k)
    assert ids.shape == similarities.shape == (len(queries), k) and ids.dtype == np.int64
    found = min(k, 300)
    assert (ids[:, found:] == -1).all() and np.isneginf(similarities[:, found:]).all()
    missed = 0
    for query, row_ids, row_similarities in zip(queries, ids[:, :found], similarities[:, :found], strict=True):
        expected = brute_force(all_rows, query, k, VectorFilter())
        missed += int((row_similarities < expected - 1e-5).any())
        known = row_ids >= 0
        assert len(set(row_ids[known].tolist())) == known.sum()
        vectors = all_rows.vectors[row_ids[known] - 1].astype(np.float32)
        np.testing.assert_allclose(vectors @ query, row_similarities[known], atol=1e-5)
    assert missed <= 2  # clusters may miss one neighbor in a hundred


def test_a_forgotten_model_has_no_files_and_others_keep_theirs(tmp_path: Path) -> None:
    files = FaissFiles(tmp_path)
    forgotten, other = card(size=16), card(size=16, digest="11")
    for model in (forgotten, other):
        files.save(model, [], rows(5), Generation(5, "t"))
    files.delete(forgotten)
    assert files.load(forgotten) == []
    assert len(files.load(other)) == 1
    assert all(path.name.startswith(other.key) for path in tmp_path.iterdir())
    files.delete(forgotten)


@given(
    seed=st.integers(0, 2**16),
    count=st.integers(2, 60),
    k=st.integers(1, 70),
    emotions=st.none() | st.frozensets(st.integers(0, 4)),
    min_score=st.floats(0, 1.2),
)
@examples(60)
def test_faiss_agrees_with_brute_force(seed: int, count: int, k: int, emotions: frozenset[int] | None, min_score: float) -> None:
    all_rows = rows(count, seed=seed, emotions=4)
    query = unit_vectors(1, 16, seed=seed + 1)[0].astype(np.float32)
    within = VectorFilter(emotions, min_score)
    _, similarities = FaissVectors.build(all_rows).search(query, k, within)
    np.testing.assert_allclose(similarities, brute_force(all_rows, query, k, within), atol=1e-5)
