"""Measure filtered similarity search over N images, and compare it with other libraries.

    python bench/search.py [--images N] [--peers NAME...] [--queries Q] [--faithful SHARE]

The script fills a database with synthetic images (bench/synthetic.py) and lets moodex build its index. It then sends Q queries
under every filter, one at a time, warm, in one process. It also measures the time to build, open and extend the index.

Each peer gets the same vectors, emotions and queries in a separate process; bench/peers.txt lists the packages that peers need. A
peer runs with the lowest setting that reaches a recall of 0.99. With `--faithful`, emotions are tied to characters: the nearest
images to a query then often all have an emotion that the filter excludes. The results are in bench/results/search-N, or in
search-N-alone if there are no peers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
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
from db.sqlite.store import SqliteStore  # noqa: E402
from db.vectors.files import FaissFiles  # noqa: E402
from db.vectors.sync import open_index, sync_index  # noqa: E402
from indexer.domain.models import APPEARANCE  # noqa: E402
from indexer.domain.queries import SearchQuery  # noqa: E402
from indexer.ports.vectors import VectorFilter  # noqa: E402
from indexer.search.engine import search  # noqa: E402

RESULT_COUNT, ADDED_IMAGES = 10, 10_000
FILTERS: dict[str, tuple[tuple[str, ...], float]] = {
    "all": ((), 0.0),
    "45%": (("neutral",), 0.0),
    "20%": (("happy",), 0.0),
    "1%": (("disgust",), 0.0),
    "0.1%": (("disgust",), 0.93),
    "45%, score >= 0.8": (("neutral",), 0.8),
    "1%, score >= 0.8": (("disgust",), 0.8),
    "all but 45%": (("happy", "sad", "angry", "surprise", "fear", "disgust"), 0.0),
}
"""Emotions (none: any) and the lowest score, by a name that has the share of the images that pass."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME", help="of bench/peers.py")
    parser.add_argument(
        "--faithful", type=float, default=0.0, metavar="SHARE", help="share of images with the main emotion of their character"
    )
    parser.add_argument("--python", default=sys.executable, help="a Python that has the packages of the peers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(Path(scratch), options.images, options.queries, options.faithful)
        for name in options.peers:
            command = [options.python, str(ROOT / "bench" / "peers.py"), name, scratch]
            process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            last_line = process.stdout.strip().splitlines()[-1:] or ["{}"]
            results["peers"][name] = json.loads(last_line[0]) if process.returncode == 0 else {"failed": process.returncode}
            print(name, json.dumps(results["peers"][name]), flush=True)
    suffix = f"{'-faithful' if options.faithful else ''}{'' if options.peers else '-alone'}"
    path = ROOT / "bench" / "results" / f"search-{options.images}{suffix}"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def measure(scratch: Path, count: int, query_count: int, faithful: float) -> dict[str, Any]:
    """Measure moodex; write the vectors, the queries and the exact results into `scratch` for the peers."""
    database = scratch / "moodex.sqlite"
    synthetic.fill(database, count, faithful=faithful)
    files = FaissFiles(scratch / "vectors")
    with SqliteStore(database) as store:
        (model,) = store.models()
        seconds = {"build": timed(lambda: sync_index(store, files, model))}
        appearance, labels = model.card.space_slice(APPEARANCE), model.card.labels
        size = appearance.stop - appearance.start
        vectors = synthetic.appearances(count, size)
        label_numbers, scores, _ = synthetic.emotions(count, labels, faithful=faithful)
        queries = synthetic.appearances(count, size, seed=0)[_sample_rows(count, query_count)].astype(np.float32)
        queries += np.random.default_rng(5).normal(0, 0.02, queries.shape).astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        masks = {name: _mask(label_numbers, scores, labels, *criteria) for name, criteria in FILTERS.items()}
        tenth = {name: tenth_similarities(vectors, queries, mask) for name, mask in masks.items()}
        np.savez(scratch / "library.npz", vectors=vectors, label_numbers=label_numbers, scores=scores, queries=queries)
        np.savez(scratch / "tenth.npz", **tenth)  # type: ignore[arg-type]
        (scratch / "labels.json").write_text(json.dumps(list(labels)))
        seconds["open"] = timed(lambda: open_index(store, files, model))
        index = open_index(store, files, model)
        by_filter: dict[str, Any] = {}
        for name, (emotions, score) in FILTERS.items():
            allowed = frozenset(labels.index(emotion) for emotion in emotions) or None
            criteria = VectorFilter(allowed, score)

            def similarities(query: Any, criteria: VectorFilter = criteria) -> Any:
                return index.search(query, RESULT_COUNT, criteria)[1]

            by_filter[name] = run_queries(similarities, queries, tenth[name])
            by_filter[name]["whole"] = _whole_search_ms(store, model, index, queries, emotions, score)
            print(name, by_filter[name], flush=True)
    sizes = {"index_mb": sum(path.stat().st_size for path in (scratch / "vectors").iterdir()) / 1e6}
    synthetic.fill(database, ADDED_IMAGES, first=count + 1, seed=9)
    with SqliteStore(database) as store:
        seconds[f"add_{ADDED_IMAGES}"] = timed(lambda: sync_index(store, files, model))
        extended = open_index(store, files, model)
        with_new_segment = run_queries(
            lambda query: extended.search(query, RESULT_COUNT, VectorFilter())[1], queries, tenth["all"] * 0 - 1
        )
    return {
        "command": f"python bench/search.py --images {count}{f' --faithful {faithful}' if faithful else ''}",
        "machine": machine(),
        "images": count,
        "size": size,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        **sizes,
        "p50_with_a_new_segment": with_new_segment["p50"],
        "filters": by_filter,
        "peers": {},
    }


def run_queries(similarities: Any, queries: Any, tenth: Any) -> dict[str, float]:
    """Return milliseconds per query, queries per second, and the recall.

    The recall is the share of the ten results that are at least as similar as the tenth nearest vector, `tenth`.
    """
    for query in queries[:20]:
        similarities(query)
    times_ms, recalls = [], []
    for query, least in zip(queries, tenth, strict=True):
        started = time.perf_counter()
        results = np.asarray(similarities(query))
        times_ms.append(1000 * (time.perf_counter() - started))
        recalls.append(float((results >= least - 5e-4).sum()) / RESULT_COUNT)
    return {
        "p50": round(float(np.median(times_ms)), 3),
        "p99": round(float(np.quantile(times_ms, 0.99)), 3),
        "recall": round(float(np.mean(recalls)), 4),
        "qps": round(1000 / float(np.mean(times_ms)), 1),
    }


def tenth_similarities(vectors: Any, queries: Any, mask: Any) -> Any:
    """Return the similarity of each query and its tenth nearest vector among those that the mask selects."""
    best = np.full((len(queries), RESULT_COUNT), -1, dtype=np.float32)
    rows = np.flatnonzero(mask)
    for start in range(0, len(rows), 50_000):
        chunk = queries @ vectors[rows[start : start + 50_000]].astype(np.float32).T
        best = np.partition(np.concatenate([best, chunk], axis=1), -RESULT_COUNT, axis=1)[:, -RESULT_COUNT:]
    return best.min(axis=1)


def timed(work: Any) -> float:
    """Call a function; return the seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _whole_search_ms(store: Any, model: Any, index: Any, queries: Any, emotions: tuple[str, ...], score: float) -> float:
    """Return the median milliseconds from a query to ten hits with their paths."""
    times_ms = []
    appearance = model.card.space_slice(APPEARANCE)
    for vector in queries[:100]:
        like = np.zeros(model.card.embedding_size, dtype=np.float32)
        like[appearance] = vector
        query = SearchQuery(emotions=frozenset(emotions) or None, min_score=score, like=like, limit=RESULT_COUNT)
        started = time.perf_counter()
        with store.snapshot():  # as the command does
            search(store, model, query, lambda: index)
        times_ms.append(1000 * (time.perf_counter() - started))
    return round(float(np.median(times_ms)), 2)


def _mask(label_numbers: Any, scores: Any, labels: tuple[str, ...], emotions: tuple[str, ...], score: float) -> Any:
    allowed = [labels.index(emotion) for emotion in emotions] or range(len(labels))
    return np.isin(label_numbers, list(allowed)) & (scores >= np.float32(score))


def _sample_rows(count: int, sample_size: int) -> Any:
    return np.sort(np.random.default_rng(4).choice(count, sample_size, replace=False))


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    names = list(results["peers"])
    lines = [
        f"# Searching {results['images']:,} images",
        "",
        f"`{results['command']}` on {results['machine']}; synthetic embeddings of {results['size']} numbers. p50 in ms for ten",
        "results, warm, in process, one query at a time, with the recall in brackets. Whole: p50 of a search that also reads",
        "paths and probabilities from SQLite.",
        "",
        f"| filter | moodex | p99 | whole | {' | '.join(names)} |" if names else "| filter | moodex | p99 | whole |",
        "|---" * (4 + len(names)) + "|",
    ]
    for name, row in results["filters"].items():
        peers = [results["peers"][peer].get("filters", {}).get(name) for peer in names]
        peer_cells = ["-" if peer is None else f"{peer['p50']:.2f} ({peer['recall']:.3f})" for peer in peers]
        cells = [name, f"{row['p50']:.2f} ({row['recall']:.3f})", f"{row['p99']:.2f}", f"{row['whole']:.1f}", *peer_cells]
        lines.append(f"| {' | '.join(cells)} |")
    built = ", ".join(f"{peer} {results['peers'][peer]['build']:.0f} s" for peer in names if "build" in results["peers"][peer])
    seconds = results["seconds"]
    lines += [
        "",
        f"The index has {results['index_mb']:.0f} MB. moodex builds it in {seconds['build']:.0f} s, opens it in",
        f"{1000 * seconds['open']:.0f} ms, and adds {ADDED_IMAGES:,} images in {seconds[f'add_{ADDED_IMAGES}']:.2f} s. A search",
        f"then takes {results['p50_with_a_new_segment']} ms.",
        *([f"The peers build their indexes in: {built}."] if built else []),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
