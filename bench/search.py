"""Filtered similarity search at N pictures, beside other libraries, and what keeping the index costs.

    python bench/search.py [--pictures N] [--peers] [--asked Q] [--faithful SHARE]

Fills a database with synthetic pictures (bench/synthetic.py), lets moodex build its index, then asks Q questions one at a time,
warm, in one process, under every filter. Peers get the same vectors, emotions and questions in a process each; what they need is
in bench/peers.txt; of their settings the least are taken that reach a recall of 0.99. Where characters are faithful to an
emotion, the nearest pictures to a question are often all of one that is not asked for.
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
from indexer.domain.models import LOOK  # noqa: E402
from indexer.domain.queries import SearchQuery  # noqa: E402
from indexer.ports.vectors import VectorFilter  # noqa: E402
from indexer.search.engine import search  # noqa: E402

K, MORE = 10, 10_000
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=300)
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME", help="of bench/peers.py")
    parser.add_argument(
        "--faithful", type=float, default=0.0, metavar="SHARE", help="of pictures that feel what their character mostly does"
    )
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers' packages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(Path(scratch), options.pictures, options.asked, options.faithful)
        for name in options.peers:
            command = [options.python, str(ROOT / "bench" / "peers.py"), name, scratch]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            answer = done.stdout.strip().splitlines()[-1:] or ["{}"]
            results["peers"][name] = json.loads(answer[0]) if done.returncode == 0 else {"failed": done.returncode}
            print(name, json.dumps(results["peers"][name]), flush=True)
    path = ROOT / "bench" / "results" / f"search-{options.pictures}{'-faithful' if options.faithful else ''}"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def measure(scratch: Path, count: int, asked: int, faithful: float) -> dict[str, Any]:
    database = scratch / "moodex.sqlite"
    synthetic.fill(database, count, faithful=faithful)
    files = FaissFiles(scratch / "vectors")
    with SqliteStore(database) as store:
        (model,) = store.models()
        seconds = {"build": timed(lambda: sync_index(store, files, model))}
        look, labels = model.card.space_slice(LOOK), model.card.labels
        vectors = synthetic.looks(count, look.stop - look.start)
        own, scores, _ = synthetic.emotions(count, labels, faithful=faithful)
        questions = synthetic.looks(count, look.stop - look.start, seed=0)[_some(count, asked)].astype(np.float32)
        questions += np.random.default_rng(5).normal(0, 0.02, questions.shape).astype(np.float32)
        questions /= np.linalg.norm(questions, axis=1, keepdims=True)
        masks = {name: _mask(own, scores, labels, *chosen) for name, chosen in FILTERS.items()}
        least = {name: nearest(vectors, questions, mask) for name, mask in masks.items()}
        np.savez(scratch / "given.npz", vectors=vectors, own=own, scores=scores, questions=questions)
        np.savez(scratch / "least.npz", **least)  # type: ignore[arg-type]
        (scratch / "labels.json").write_text(json.dumps(list(labels)))
        seconds["open"] = timed(lambda: open_index(store, files, model))
        index = open_index(store, files, model)
        found: dict[str, Any] = {}
        for name, (emotions, score) in FILTERS.items():
            wanted = frozenset(labels.index(emotion) for emotion in emotions) or None
            within = VectorFilter(wanted, score)
            found[name] = ask(lambda question, within=within: index.search(question, K, within)[1], questions, least[name])
            found[name]["whole"] = _whole(store, model, index, questions, emotions, score)
            print(name, found[name], flush=True)
    sizes = {"index_mb": sum(path.stat().st_size for path in (scratch / "vectors").iterdir()) / 1e6}
    synthetic.fill(database, MORE, first=count + 1, seed=9)
    with SqliteStore(database) as store:
        seconds[f"add_{MORE}"] = timed(lambda: sync_index(store, files, model))
        after = open_index(store, files, model)
        both = ask(lambda question: after.search(question, K, VectorFilter())[1], questions, least["all"] * 0 - 1)
    results = {name: round(value, 3) for name, value in seconds.items()}
    return {
        "command": f"python bench/search.py --pictures {count}{f' --faithful {faithful}' if faithful else ''}",
        "machine": machine(),
        "pictures": count,
        "size": look.stop - look.start,
        "seconds": results,
        **sizes,
        "p50_with_a_new_segment": both["p50"],
        "filters": found,
        "peers": {},
    }


def ask(answer: Any, questions: Any, least: Any) -> dict[str, float]:
    """Milliseconds a question, and the share of the ten answers that are as near as the ten nearest; `least` is the tenth's."""
    for question in questions[:20]:
        answer(question)
    times, right = [], []
    for question, tenth in zip(questions, least, strict=True):
        started = time.perf_counter()
        similar = np.asarray(answer(question))
        times.append(1000 * (time.perf_counter() - started))
        right.append(float((similar >= tenth - 5e-4).sum()) / K)
    return {
        "p50": round(float(np.median(times)), 3),
        "p99": round(float(np.quantile(times, 0.99)), 3),
        "recall": round(float(np.mean(right)), 4),
        "qps": round(1000 / float(np.mean(times)), 1),
    }


def nearest(vectors: Any, questions: Any, mask: Any) -> Any:
    """The similarity of the tenth nearest of the selected vectors to each question."""
    best = np.full((len(questions), K), -1, dtype=np.float32)
    rows = np.flatnonzero(mask)
    for start in range(0, len(rows), 50_000):
        found = questions @ vectors[rows[start : start + 50_000]].astype(np.float32).T
        best = np.partition(np.concatenate([best, found], axis=1), -K, axis=1)[:, -K:]
    return best.min(axis=1)


def timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _whole(store: Any, model: Any, index: Any, questions: Any, emotions: tuple[str, ...], score: float) -> float:
    """Milliseconds from a query to ten hits with their paths, in the median."""
    times = []
    look = model.card.space_slice(LOOK)
    for question in questions[:100]:
        like = np.zeros(model.card.embedding_size, dtype=np.float32)
        like[look] = question
        query = SearchQuery(emotions=frozenset(emotions) or None, min_score=score, like=like, limit=K)
        started = time.perf_counter()
        with store.snapshot():  # as the command does
            search(store, model, query, lambda: index)
        times.append(1000 * (time.perf_counter() - started))
    return round(float(np.median(times)), 2)


def _mask(own: Any, scores: Any, labels: tuple[str, ...], emotions: tuple[str, ...], score: float) -> Any:
    wanted = [labels.index(emotion) for emotion in emotions] or range(len(labels))
    return np.isin(own, list(wanted)) & (scores >= np.float32(score))


def _some(count: int, asked: int) -> Any:
    return np.sort(np.random.default_rng(4).choice(count, asked, replace=False))


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    names = list(results["peers"])
    lines = [
        f"# Searching {results['pictures']:,} pictures",
        "",
        f"`{results['command']}` on {results['machine']}; {results['size']} numbers a picture, synthetic. p50 in ms, warm, in",
        "process, one question at a time, for ten answers; in brackets the recall. Whole: to paths and probabilities, by SQLite.",
        "",
        f"| filter | moodex | p99 | whole | {' | '.join(names)} |" if names else "| filter | moodex | p99 | whole |",
        "|---" * (4 + len(names)) + "|",
    ]
    for name, one in results["filters"].items():
        peers = [results["peers"][peer].get("filters", {}).get(name) for peer in names]
        cells = ["-" if peer is None else f"{peer['p50']:.2f} ({peer['recall']:.3f})" for peer in peers]
        own = [name, f"{one['p50']:.2f} ({one['recall']:.3f})", f"{one['p99']:.2f}", f"{one['whole']:.1f}"]
        lines.append(f"| {' | '.join([*own, *cells])} |")
    built = ", ".join(f"{peer} {results['peers'][peer]['build']:.0f} s" for peer in names if "build" in results["peers"][peer])
    seconds = results["seconds"]
    lines += [
        "",
        f"Index of {results['index_mb']:.0f} MB, built in {seconds['build']:.0f} s, opened in {1000 * seconds['open']:.0f} ms;",
        f"{MORE:,} more pictures in {seconds[f'add_{MORE}']:.2f} s, after which a search takes",
        f"{results['p50_with_a_new_segment']} ms.",
        *([f"Built by peers: {built}."] if built else []),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
