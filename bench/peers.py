"""One peer of bench/search.py: python bench/peers.py NAME FOLDER. Prints its figures as JSON.

Each gets the same vectors, and, where it filters at all, the emotions and scores as it wants them. One that can trade recall for
time is set, for each filter, to the least effort with which the first questions reach a recall of 0.99.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

K = 10
FILTERS: dict[str, tuple[tuple[str, ...], float]] = {
    "all": ((), 0.0),
    "45%": (("neutral",), 0.0),
    "20%": (("happy",), 0.0),
    "1%": (("disgust",), 0.0),
    "45%, score >= 0.8": (("neutral",), 0.8),
}
Answer = Callable[[Any], Any]
Search = Callable[[list[int], float, int], Answer]
"""Emotions (none: any), least score and effort to what answers a question with ten similarities."""

EFFORTS = {
    "hnswlib": (10, 20, 30, 40, 60, 80, 120, 200, 400),
    "usearch": (10, 20, 30, 40, 60, 80, 120, 200, 400),
    "lancedb": (10, 20, 40, 60, 100, 200, 400),
}
ENOUGH, TRIED = 0.99, 40
"""The recall that is asked for, and how many questions an effort is tried on."""


def faiss_flat(folder: Path, vectors: Any, own: Any, scores: Any) -> Search:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), 65_536):
        index.add(vectors[start : start + 65_536].astype(np.float32))
    faiss.omp_set_num_threads(2)

    def search(emotions: list[int], score: float, effort: int) -> Answer:
        mask = (np.isin(own, emotions) if emotions else np.ones(len(own), bool)) & (scores >= np.float32(score))
        bits = np.packbits(mask, bitorder="little")
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        return lambda question: index.search(question[None], K, params=parameters)[0][0]

    return search


def hnswlib(folder: Path, vectors: Any, own: Any, scores: Any) -> Search:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=100, M=16)
    for start in range(0, len(vectors), 50_000):
        index.add_items(vectors[start : start + 50_000].astype(np.float32), np.arange(start, min(start + 50_000, len(vectors))))

    def search(emotions: list[int], score: float, effort: int) -> Answer:
        index.set_ef(effort)
        if not emotions and score <= 0:
            return lambda question: 1 - index.knn_query(question, k=K)[1][0]
        mask = (np.isin(own, emotions) & (scores >= np.float32(score))).tolist()
        return lambda question: 1 - index.knn_query(question, k=K, filter=mask.__getitem__)[1][0]

    return search


def usearch(folder: Path, vectors: Any, own: Any, scores: Any) -> Search:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", expansion_search=200)
    for start in range(0, len(vectors), 50_000):
        index.add(np.arange(start, min(start + 50_000, len(vectors))), vectors[start : start + 50_000])

    def search(emotions: list[int], score: float, effort: int) -> Answer:
        if emotions or score > 0:
            raise NotImplementedError
        index.expansion_search = effort
        return lambda question: 1 - index.search(question.astype(np.float16), K).distances

    return search


def duckdb(folder: Path, vectors: Any, own: Any, scores: Any) -> Search:
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect()
    size = vectors.shape[1]
    connection.execute(f"CREATE TABLE pictures (emotion UTINYINT, score FLOAT, vector FLOAT[{size}])")
    for start in range(0, len(vectors), 100_000):
        part = slice(start, start + 100_000)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors[part].astype(np.float32).ravel()), size)
        table = pa.table({"emotion": own[part], "score": scores[part], "vector": flat})
        connection.register("given", table)
        connection.execute("INSERT INTO pictures SELECT * FROM given")

    def search(emotions: list[int], score: float, effort: int) -> Answer:
        chosen = f"emotion IN ({', '.join(map(str, emotions))})" if emotions else "true"
        query = (
            f"SELECT array_inner_product(vector, ?::FLOAT[{size}]) AS s FROM pictures "  # noqa: S608  # of numbers only
            f"WHERE {chosen} AND score >= {score} ORDER BY s DESC LIMIT {K}"
        )
        return lambda question: np.array(connection.execute(query, [question.tolist()]).fetchall())[:, 0]

    return search


def sqlite_vec(folder: Path, vectors: Any, own: Any, scores: Any) -> Search:
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(folder / "vec.sqlite"))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    size = vectors.shape[1]
    connection.execute(
        "CREATE VIRTUAL TABLE pictures USING vec0"
        f"(emotion INTEGER PARTITION KEY, score FLOAT, vector FLOAT[{size}] distance_metric=cosine)"
    )
    with connection:
        for start in range(0, len(vectors), 10_000):
            rows = zip(
                own[start : start + 10_000].tolist(),
                scores[start : start + 10_000].tolist(),
                vectors[start : start + 10_000].astype(np.float32),
                strict=True,
            )
            connection.executemany(
                "INSERT INTO pictures (emotion, score, vector) VALUES (?, ?, ?)", ((e, s, v.tobytes()) for e, s, v in rows)
            )

    def search(emotions: list[int], score: float, effort: int) -> Answer:
        chosen = f"AND emotion IN ({', '.join(map(str, emotions))})" if emotions else ""
        scored = f"AND score >= {score}" if score else ""
        query = f"SELECT distance FROM pictures WHERE vector MATCH ? AND k = {K} {chosen} {scored}"  # noqa: S608  # of numbers only
        return lambda question: 1 - np.array([row[0] for row in connection.execute(query, (question.tobytes(),))])

    return search


def lancedb(folder: Path, vectors: Any, own: Any, scores: Any) -> Search:
    import lancedb
    import pyarrow as pa

    size = vectors.shape[1]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), size)
    database = lancedb.connect(str(folder / "lance"))
    table = database.create_table("pictures", pa.table({"emotion": own.astype(np.int32), "score": scores, "vector": flat}))
    table.create_index(metric="dot", num_partitions=1024, num_sub_vectors=32, index_type="IVF_PQ")
    table.create_scalar_index("emotion", index_type="BITMAP")

    def search(emotions: list[int], score: float, effort: int) -> Answer:
        chosen = [f"emotion IN ({', '.join(map(str, emotions))})"] if emotions else []
        chosen += [f"score >= {score}"] if score else []

        def answer(question: Any) -> Any:
            query = table.search(question).distance_type("dot").nprobes(effort).refine_factor(20).limit(K)
            if chosen:
                query = query.where(" AND ".join(chosen), prefilter=True)
            return 1 - np.array(query.select(["_distance"]).to_arrow()["_distance"])

        return answer

    return search


PEERS = {made.__name__: made for made in (faiss_flat, hnswlib, usearch, duckdb, sqlite_vec, lancedb)}
SLOW = {"duckdb": 20, "sqlite_vec": 20, "faiss_flat": 60, "lancedb": 60}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    given, least = np.load(folder / "given.npz"), np.load(folder / "least.npz")
    labels = json.loads((folder / "labels.json").read_text())
    vectors, own, scores = given["vectors"], given["own"], given["scores"]
    questions = given["questions"][: SLOW.get(name, 200)]
    started = time.perf_counter()
    search = PEERS[name](folder, vectors, own, scores)
    results: dict[str, Any] = {"build": round(time.perf_counter() - started, 1), "filters": {}}
    for title, (emotions, score) in FILTERS.items():
        numbers, tenths = [labels.index(emotion) for emotion in emotions], least[title]
        try:
            for effort in EFFORTS.get(name, (0,)):
                answer = search(numbers, score, effort)
                tried = [recall(answer(one), tenth) for one, tenth in zip(questions[:TRIED], tenths, strict=False)]
                if np.mean(tried) >= ENOUGH:
                    break
        except NotImplementedError:
            continue
        times, right = [], []
        for question, tenth in zip(questions, tenths, strict=False):
            began = time.perf_counter()
            similar = np.asarray(answer(question))
            times.append(1000 * (time.perf_counter() - began))
            right.append(recall(similar, tenth))
        results["filters"][title] = {
            "p50": round(float(np.median(times)), 3),
            "p99": round(float(np.quantile(times, 0.99)), 3),
            "recall": round(float(np.mean(right)), 4),
            "effort": effort,
        }
    print(json.dumps(results))


def recall(similar: Any, tenth: float) -> float:
    """The share of ten answers that are as near as the tenth nearest."""
    return float((np.asarray(similar) >= tenth - 5e-4).sum()) / K


if __name__ == "__main__":
    main()
