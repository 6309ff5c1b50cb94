"""Measure how long a library of N images takes to score again after teaching.

    python bench/rescore.py [N]

The embeddings are synthetic; the store and the vector index are real.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from db.schema import DIGEST_START_BYTES  # noqa: E402
from db.sqlite.engine import open_engine  # noqa: E402
from db.sqlite.store import SqliteStore  # noqa: E402
from db.vectors.files import FaissFiles  # noqa: E402
from db.vectors.sync import sync_index  # noqa: E402
from models import zoo  # noqa: E402
from models.inference.embedding_scorer import EmbeddingScorer  # noqa: E402
from models.model_card import read_card  # noqa: E402

_INSERT_CHUNK_ROWS = 20_000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    card = read_card(zoo.checkpoints()[zoo.DEFAULT])
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder, "moodex.sqlite"))
        model = store.register_model(card)
        store.begin_run([b"/synthetic"], model)
        fill(store.path, model, len(card.labels), card.embedding_size, count)
        matrix = np.random.default_rng(0).standard_normal((len(card.labels), card.embedding_size), dtype=np.float32)
        taught = replace(card, name="taught", weights_digest="11")
        zeros = np.zeros(len(card.labels), dtype=np.float32)
        scorer = EmbeddingScorer(taught, matrix, zeros, None, zeros)
        started = time.perf_counter()
        target = store.register_model(taught)
        with tqdm(total=count, unit=" images", desc="scoring", unit_scale=True) as progress:
            store.rescore(1, target, scorer.score, progress.update)
        rescored = time.perf_counter()
        sync_index(store, FaissFiles(Path(folder)), next(model for model in store.models() if model.id == target))
        ended = time.perf_counter()
        store.close()
    seconds = {"predictions": round(rescored - started, 1), "vector_index": round(ended - rescored, 1)}
    results = {"command": f"python bench/rescore.py {count}", "machine": machine(), "images": count, "seconds": seconds}
    (ROOT / "bench" / "results" / "rescore.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def fill(database: Path, model: int, label_count: int, embedding_size: int, count: int) -> None:
    """Insert files, images, predictions and embeddings as indexing would have left them, in one transaction."""
    random = np.random.default_rng(0)
    with open_engine(database).begin() as connection:
        connection.exec_driver_sql("INSERT INTO folders (id, path) VALUES (1, CAST('/synthetic' AS BLOB))")
        for first in tqdm(range(1, count + 1, _INSERT_CHUNK_ROWS), desc="filling", leave=False):
            ids = range(first, min(first + _INSERT_CHUNK_ROWS, count + 1))
            vectors = random.normal(size=(len(ids), embedding_size)).astype(np.float16)
            probabilities = random.dirichlet(np.ones(label_count), len(ids)).astype("<f4")
            connection.exec_driver_sql(
                "INSERT INTO images (id, digest, width, height, format) VALUES (?, ?, 1, 1, 'PNG')",
                [(n, n.to_bytes(32)) for n in ids],
            )
            connection.exec_driver_sql(
                "INSERT INTO files (folder_id, name, size, mtime_ns, state, image_id, appeared_run_id) "
                "VALUES (1, ?, 1, 1, 'done', ?, 1)",
                [(b"%d" % n, n) for n in ids],
            )
            connection.exec_driver_sql(
                "INSERT INTO predictions (image_id, digest_start, model_id, region, emotion, score, probabilities) "
                "VALUES (?, ?, ?, 0, 'happy', 0.5, ?)",
                [
                    (n, n.to_bytes(32)[:DIGEST_START_BYTES], model, row.tobytes())
                    for n, row in zip(ids, probabilities, strict=True)
                ],
            )
            connection.exec_driver_sql(
                "INSERT INTO embeddings (embedder_id, image_id, region, vector) VALUES (1, ?, 0, ?)",
                [(n, row.tobytes()) for n, row in zip(ids, vectors, strict=True)],
            )


if __name__ == "__main__":
    main()
