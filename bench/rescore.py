"""How long does a library of N pictures take to look at again after teaching? Synthetic embeddings, the real store and index.

python bench/rescore.py [N]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from db.sqlite.engine import open_engine  # noqa: E402
from db.sqlite.store import SqliteStore  # noqa: E402
from db.vectors.files import FaissFiles  # noqa: E402
from db.vectors.sync import sync_index  # noqa: E402
from models import zoo  # noqa: E402
from models.model_card import read_card  # noqa: E402
from models.teaching.linear_head import Head  # noqa: E402
from models.teaching.model_version import score  # noqa: E402

_AT_ONCE = 20_000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    card = read_card(zoo.checkpoints()[zoo.DEFAULT])
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder, "moodex.sqlite"))
        model = store.register_model(card)
        store.begin_run([b"/synthetic"], model)
        fill(store.path, model, len(card.labels), card.embedding_size, count)
        random = torch.Generator().manual_seed(0)
        head = Head(
            card.labels, torch.randn(len(card.labels), card.embedding_size, generator=random), torch.zeros(len(card.labels))
        )
        taught = replace(card, name="taught", weights_digest="11")
        started = time.perf_counter()
        target = store.register_model(taught)
        with tqdm(total=count, unit=" pictures", desc="Looking again", unit_scale=True) as progress:
            store.rescore(1, target, partial(score, taught, head), progress.update)
        between = time.perf_counter()
        sync_index(store, FaissFiles(Path(folder)), next(model for model in store.models() if model.id == target))
        ended = time.perf_counter()
        store.close()
    seconds = {"predictions": round(between - started, 1), "vector_index": round(ended - between, 1)}
    results = {"command": f"python bench/rescore.py {count}", "machine": machine(), "pictures": count, "seconds": seconds}
    (ROOT / "bench" / "results" / "rescore.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def fill(database: Path, model: int, labels: int, size: int, count: int) -> None:
    """Files, pictures, predictions and embeddings as indexing would have left them, all at once."""
    random = np.random.default_rng(0)
    with open_engine(database).begin() as connection:
        connection.exec_driver_sql("INSERT INTO folders VALUES (1, CAST('/synthetic' AS BLOB))")
        for first in tqdm(range(1, count + 1, _AT_ONCE), desc="filling", leave=False):
            ids = range(first, min(first + _AT_ONCE, count + 1))
            vectors = random.normal(size=(len(ids), size)).astype(np.float16)
            odds = random.dirichlet(np.ones(labels), len(ids)).astype("<f4")
            connection.exec_driver_sql("INSERT INTO images VALUES (?, ?, 1, 1, 'PNG')", [(n, n.to_bytes(32)) for n in ids])
            connection.exec_driver_sql(
                "INSERT INTO files VALUES (?, 1, ?, 1, 1, 'done', NULL, NULL, ?, 1)", [(n, b"%d" % n, n) for n in ids]
            )
            connection.exec_driver_sql(
                "INSERT INTO predictions VALUES (?, ?, ?, 0, NULL, NULL, NULL, NULL, 'happy', 0.5, ?, NULL)",
                [(n, n, model, row.tobytes()) for n, row in zip(ids, odds, strict=True)],
            )
            connection.exec_driver_sql(
                "INSERT INTO embeddings VALUES (?, 1, ?, 0, ?)",
                [(n, n, row.tobytes()) for n, row in zip(ids, vectors, strict=True)],
            )


if __name__ == "__main__":
    main()
