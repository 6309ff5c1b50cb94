"""Measure what it costs to read new faces beside their look-alikes.

    python bench/look_alikes.py [--images N] [--added M] [--scattered]

The script fills a library with N synthetic faces that were compared before, adds M new ones, and compares those as an index run
does. The new ones are of new characters, as most folders that a user adds; with `--scattered`, of the characters of the library,
so that most look-alikes of a new face are old ones, which must be read again. The share of the indexing time assumes the time of
an image in bench/results/index.json, with faces.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import synthetic  # noqa: E402
from bench.machine import machine  # noqa: E402
from db.sqlite.engine import open_engine  # noqa: E402
from db.sqlite.store import SqliteStore  # noqa: E402
from db.vectors.files import FaissFiles  # noqa: E402
from db.vectors.sync import sync_index  # noqa: E402
from indexer.analysis.look_alikes import compare  # noqa: E402
from models.teaching.linear_head import Head  # noqa: E402
from models.teaching.model_version import EmbeddingScorer  # noqa: E402
from tests.support.quiet import Remembered  # noqa: E402

INDEX_MS = 17.4
"""Milliseconds for an image in bench/results/index.md: the shipped model, with faces, two cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=2_000)
    parser.add_argument("--scattered", action="store_true", help="add faces of the characters of the library")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(Path(scratch), options.images, options.added, options.scattered)
    arguments = f"--images {options.images} --added {options.added}{' --scattered' if options.scattered else ''}"
    result = {"command": f"python bench/look_alikes.py {arguments}", "machine": machine(), **measured}
    path = ROOT / "build" / f"look_alikes-{options.images}{'-scattered' if options.scattered else ''}.json"
    # path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(scratch: Path, count: int, added: int, scattered: bool) -> dict[str, Any]:
    """Return the counts and times of one comparison."""
    database, files = scratch / "moodex.sqlite", FaissFiles(scratch / "vectors")
    # Faces of one draw share their characters.
    synthetic.fill(database, count + added if scattered else count)
    with SqliteStore(database) as store:
        (model,) = store.models()
        sync_index(store, files, model)
    if not scattered:
        synthetic.fill(database, added, first=count + 1, seed=9)
    with open_engine(database).begin() as connection:
        connection.exec_driver_sql("UPDATE predictions SET compared_to = ? WHERE id <= ?", (count, count))
    random, labels = torch.Generator().manual_seed(0), model.card.labels
    head = Head(labels, torch.randn(len(labels), model.card.embedding_size, generator=random), torch.zeros(len(labels)))
    scorer = EmbeddingScorer(model.card, head, None, np.zeros(len(labels), dtype=np.float32))
    with SqliteStore(database) as store:
        sync_index(store, files, model)  # as a run does in any case
        started = time.process_time()
        changed = compare(store, files, model, lambda: scorer, Remembered(), lambda: None)
        compared = time.process_time()
        sync_index(store, files, model)
        ended = time.process_time()
    ms = 1000 * (ended - started) / added
    return {
        "images": count,
        "added": added,
        "changed": changed,
        "seconds": {"compare": round(compared - started, 2), "index": round(ended - compared, 2)},
        "ms_per_added_face": round(ms, 3),
        "share_of_indexing": round(ms / INDEX_MS, 4),
    }


if __name__ == "__main__":
    main()
