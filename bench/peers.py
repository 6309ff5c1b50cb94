"""Measure one peer of bench/search.py and print the results as JSON.

    python bench/peers.py NAME FOLDER

All peers get the same vectors. Those that can filter also get the emotions and scores, in the form that they need. A peer that
trades recall for time runs, for each filter, with the lowest effort with which the first queries reach a recall of 0.99.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RESULT_COUNT = 10
FILTERS: dict[str, tuple[tuple[str, ...], float]] = {
    "all": ((), 0.0),
    "45%": (("neutral",), 0.0),
    "20%": (("happy",), 0.0),
    "1%": (("disgust",), 0.0),
    "45%, score >= 0.8": (("neutral",), 0.8),
}
Similarities = Callable[[Any], Any]
"""Returns the similarities of the ten results of a query."""

Search = Callable[[list[int], float, int], Similarities]
"""Prepares a search from label numbers (none: any), the lowest score and the effort."""

EFFORTS = {
    "hnswlib": (10, 20, 30, 40, 60, 80, 120, 200, 400),
    "usearch": (10, 20, 30, 40, 60, 80, 120, 200, 400),
    "lancedb": (10, 20, 40, 60, 100, 200, 400),
}
MIN_RECALL, CALIBRATION_QUERIES = 0.99, 40
"""The recall that a peer must reach, and the number of queries that measure it for each effort."""


def faiss_flat(folder: Path, vectors: Any, label_numbers: Any, scores: Any) -> Search:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), 65_536):
        index.add(vectors[start : start + 65_536].astype(np.float32))
    faiss.omp_set_num_threads(2)

    def search(emotions: list[int], score: float, effort: int) -> Similarities:
        has_emotion = np.isin(label_numbers, emotions) if emotions else np.ones(len(label_numbers), bool)
        bits = np.packbits(has_emotion & (scores >= np.float32(score)), bitorder="little")
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        return lambda query: index.search(query[None], RESULT_COUNT, params=parameters)[0][0]

    return search


def hnswlib(folder: Path, vectors: Any, label_numbers: Any, scores: Any) -> Search:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=100, M=16)
    for start in range(0, len(vectors), 50_000):
        index.add_items(vectors[start : start + 50_000].astype(np.float32), np.arange(start, min(start + 50_000, len(vectors))))

    def search(emotions: list[int], score: float, effort: int) -> Similarities:
        index.set_ef(effort)
        if not emotions and score <= 0:
            return lambda query: 1 - index.knn_query(query, k=RESULT_COUNT)[1][0]
        mask = (np.isin(label_numbers, emotions) & (scores >= np.float32(score))).tolist()
        return lambda query: 1 - index.knn_query(query, k=RESULT_COUNT, filter=mask.__getitem__)[1][0]

    return search


def usearch(folder: Path, vectors: Any, label_numbers: Any, scores: Any) -> Search:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", expansion_search=200)
    for start in range(0, len(vectors), 50_000):
        index.add(np.arange(start, min(start + 50_000, len(vectors))), vectors[start : start + 50_000])

    def search(emotions: list[int], score: float, effort: int) -> Similarities:
        if emotions or score > 0:
            raise NotImplementedError
        index.expansion_search = effort
        return lambda query: 1 - index.search(query.astype(np.float16), RESULT_COUNT).distances

    return search


def duckdb(folder: Path, vectors: Any, label_numbers: Any, scores: Any) -> Search:
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect()
    size = vectors.shape[1]
    connection.execute(f"CREATE TABLE images (emotion UTINYINT, score FLOAT, vector FLOAT[{size}])")
    for start in range(0, len(vectors), 100_000):
        rows = slice(start, start + 100_000)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors[rows].astype(np.float32).ravel()), size)
        table = pa.table({"emotion": label_numbers[rows], "score": scores[rows], "vector": flat})
        connection.register("chunk", table)
        connection.execute("INSERT INTO images SELECT * FROM chunk")

    def search(emotions: list[int], score: float, effort: int) -> Similarities:
        condition = f"emotion IN ({', '.join(map(str, emotions))})" if emotions else "true"
        sql = (
            f"SELECT array_inner_product(vector, ?::FLOAT[{size}]) AS s FROM images "  # noqa: S608  # of numbers only
            f"WHERE {condition} AND score >= {score} ORDER BY s DESC LIMIT {RESULT_COUNT}"
        )
        return lambda query: np.array(connection.execute(sql, [query.tolist()]).fetchall())[:, 0]

    return search


def sqlite_vec(folder: Path, vectors: Any, label_numbers: Any, scores: Any) -> Search:
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(folder / "vec.sqlite"))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    size = vectors.shape[1]
    connection.execute(
        "CREATE VIRTUAL TABLE images USING vec0"
        f"(emotion INTEGER PARTITION KEY, score FLOAT, vector FLOAT[{size}] distance_metric=cosine)"
    )
    with connection:
        for start in range(0, len(vectors), 10_000):
            rows = zip(
                label_numbers[start : start + 10_000].tolist(),
                scores[start : start + 10_000].tolist(),
                vectors[start : start + 10_000].astype(np.float32),
                strict=True,
            )
            connection.executemany(
                "INSERT INTO images (emotion, score, vector) VALUES (?, ?, ?)", ((e, s, v.tobytes()) for e, s, v in rows)
            )

    def search(emotions: list[int], score: float, effort: int) -> Similarities:
        emotion_condition = f"AND emotion IN ({', '.join(map(str, emotions))})" if emotions else ""
        score_condition = f"AND score >= {score}" if score else ""
        sql = (
            f"SELECT distance FROM images WHERE vector MATCH ? AND k = {RESULT_COUNT} "  # noqa: S608  # of numbers only
            f"{emotion_condition} {score_condition}"
        )
        return lambda query: 1 - np.array([row[0] for row in connection.execute(sql, (query.tobytes(),))])

    return search


def lancedb(folder: Path, vectors: Any, label_numbers: Any, scores: Any) -> Search:
    import lancedb
    import pyarrow as pa

    size = vectors.shape[1]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), size)
    database = lancedb.connect(str(folder / "lance"))
    rows = pa.table({"emotion": label_numbers.astype(np.int32), "score": scores, "vector": flat})
    table = database.create_table("images", rows)
    table.create_index(metric="dot", num_partitions=1024, num_sub_vectors=32, index_type="IVF_PQ")
    table.create_scalar_index("emotion", index_type="BITMAP")

    def search(emotions: list[int], score: float, effort: int) -> Similarities:
        conditions = [f"emotion IN ({', '.join(map(str, emotions))})"] if emotions else []
        conditions += [f"score >= {score}"] if score else []

        def similarities(query: Any) -> Any:
            builder = table.search(query).distance_type("dot").nprobes(effort).refine_factor(20).limit(RESULT_COUNT)
            if conditions:
                builder = builder.where(" AND ".join(conditions), prefilter=True)
            return 1 - np.array(builder.select(["_distance"]).to_arrow()["_distance"])

        return similarities

    return search


PEERS = {peer.__name__: peer for peer in (faiss_flat, hnswlib, usearch, duckdb, sqlite_vec, lancedb)}
QUERY_COUNTS = {"duckdb": 20, "sqlite_vec": 20, "faiss_flat": 60, "lancedb": 60}
"""Slow peers get fewer than 200 queries."""


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    library, tenth = np.load(folder / "library.npz"), np.load(folder / "tenth.npz")
    labels = json.loads((folder / "labels.json").read_text())
    queries = library["queries"][: QUERY_COUNTS.get(name, 200)]
    vectors, label_numbers, scores = library["vectors"], library["label_numbers"], library["scores"]
    started = time.perf_counter()
    search = PEERS[name](folder, vectors, label_numbers, scores)
    results: dict[str, Any] = {"build": round(time.perf_counter() - started, 1), "filters": {}}
    for title, (emotions, score) in FILTERS.items():
        numbers, thresholds = [labels.index(emotion) for emotion in emotions], tenth[title]
        try:
            for effort in EFFORTS.get(name, (0,)):
                similarities = search(numbers, score, effort)
                first_queries = zip(queries[:CALIBRATION_QUERIES], thresholds, strict=False)
                if np.mean([recall(similarities(query), least) for query, least in first_queries]) >= MIN_RECALL:
                    break
        except NotImplementedError:
            continue
        times_ms, recalls = [], []
        for query, least in zip(queries, thresholds, strict=False):
            query_started = time.perf_counter()
            similar = np.asarray(similarities(query))
            times_ms.append(1000 * (time.perf_counter() - query_started))
            recalls.append(recall(similar, least))
        results["filters"][title] = {
            "p50": round(float(np.median(times_ms)), 3),
            "p99": round(float(np.quantile(times_ms, 0.99)), 3),
            "recall": round(float(np.mean(recalls)), 4),
            "effort": effort,
        }
    print(json.dumps(results))


def recall(similar: Any, tenth: float) -> float:
    """Return the share of ten results that are at least as similar as the tenth nearest vector."""
    return float((np.asarray(similar) >= tenth - 5e-4).sum()) / RESULT_COUNT


if __name__ == "__main__":
    main()
