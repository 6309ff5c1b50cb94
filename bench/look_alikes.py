"""Measure what it costs to read new faces beside their look-alikes.

    python bench/look_alikes.py [--images N] [--added M]

The script fills a library with N synthetic faces that were compared before, adds M new ones, and compares those as an index run
does. It measures two cases. In the first, the new faces are of new characters, as in most folders that a user adds. In the
second, they are of the characters of the library, so most look-alikes of a new face are older ones, which are read again.

Times are of the processor, so that other work on the machine does not count.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import synthetic  # noqa: E402
from bench.machine import machine  # noqa: E402
from db.sqlite.engine import open_engine  # noqa: E402
from db.sqlite.store import SqliteStore  # noqa: E402
from db.vectors.files import FaissFiles  # noqa: E402
from db.vectors.sync import sync_index  # noqa: E402
from indexer.analysis.look_alikes import compare  # noqa: E402
from models.inference.embedding_scorer import EmbeddingScorer  # noqa: E402
from tests.support.quiet import Remembered  # noqa: E402

CASES = {"new characters": False, "characters of the library": True}
"""Whether the new faces share their characters with the library."""

INDEX_MS = 6.5 + 23.3
"""Processor milliseconds for decoding an image and for the networks, with faces (bench/results/index.md)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=2_000)
    options = parser.parse_args()
    cases = {}
    for name, shared in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            cases[name] = measure(Path(scratch), options.images, options.added, shared)
        print(name, cases[name], flush=True)
    results = {
        "command": f"python bench/look_alikes.py --images {options.images} --added {options.added}",
        "machine": machine(),
        "images": options.images,
        "added": options.added,
        "cases": cases,
    }
    path = ROOT / "bench" / "results" / "look_alikes"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def measure(scratch: Path, count: int, added: int, shared: bool) -> dict[str, Any]:
    """Return the number of changed predictions and the times of one comparison."""
    database, files = scratch / "moodex.sqlite", FaissFiles(scratch / "vectors")
    # Faces of one draw share their characters.
    synthetic.fill(database, count + added if shared else count)
    with SqliteStore(database) as store:
        (model,) = store.models()
        sync_index(store, files, model)
    if not shared:
        synthetic.fill(database, added, first=count + 1, seed=9)
    with open_engine(database).begin() as connection:
        connection.exec_driver_sql("UPDATE predictions SET compared_to = ? WHERE id <= ?", (count, count))
    labels = len(model.card.labels)
    matrix = np.random.default_rng(0).standard_normal((labels, model.card.embedding_size), dtype=np.float32)
    zeros = np.zeros(labels, dtype=np.float32)
    scorer = EmbeddingScorer(model.card, matrix, zeros, None, zeros)
    with SqliteStore(database) as store:
        sync_index(store, files, model)  # as a run does in any case
        started = time.process_time()
        changed = compare(store, files, model, lambda: scorer, Remembered(), lambda: None)
        compared = time.process_time()
        sync_index(store, files, model)
        ended = time.process_time()
    ms = 1000 * (ended - started) / added
    return {
        "changed": changed,
        "compare_seconds": round(compared - started, 2),
        "index_seconds": round(ended - compared, 2),
        "ms_per_face": round(ms, 3),
        "share_of_indexing": round(ms / INDEX_MS, 4),
    }


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = [
        f"| {name} | {case['changed']} | {case['compare_seconds']} | {case['index_seconds']} | {case['ms_per_face']} "
        f"| {case['share_of_indexing']:.1%} |"
        for name, case in results["cases"].items()
    ]
    return "\n".join(
        [
            "# Look-alikes",
            "",
            f"`{results['command']}` on {results['machine']}:",
            f"{results['added']:,} new faces in a library of {results['images']:,} synthetic ones, 50 for each character. Times",
            f"are processor times. The share is that of the {INDEX_MS} ms that decoding and the networks take for an image",
            "([indexing](index.md)).",
            "",
            "| new faces of | changed predictions | comparison, s | vector index, s | ms for a new face | share of indexing |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
