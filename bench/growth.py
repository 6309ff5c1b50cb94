"""How time and memory grow with a library, from a thousand pictures to a million.

    python bench/growth.py [--sizes N...] [--indexed-to N] [--only PART]

For each size, a process each: indexing so many small distinct pictures with a classifier that computes next to nothing, which
is what moodex itself costs, and a second look at them; and, over a synthetic library (bench/synthetic.py), building the vector
index, opening it, and searching by emotion and by likeness. Exponents are fitted on logarithmic scales: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.rescan import A_FOLDER, timed, walk  # noqa: E402

PARTS = ("indexing", "searching")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS, ASKED, K = 3, 100, 10
INDEXING = {"index": "index, s", "again": "second look, s", "walk": "bare walk, s", "index_mb": "memory, MB"}
SEARCHING = {
    "build": "build index, s", "open": "open, ms", "first_page": "happy, first page, ms", "far_page": "happy, last page, ms",
    "like": "like, ms", "unlike": "like nothing there, ms", "like_happy": "like and happy, ms",
    "database_mb": "database, MB", "search_mb": "memory, MB",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--indexed-to", type=int, default=SIZES[-1], help="do not index more than this")
    parser.add_argument("--only", choices=PARTS, help="measure one part anew, and leave the other as it was measured")
    options = parser.parse_args()
    from bench.machine import machine

    path = ROOT / "bench" / "results" / "growth"
    parts = [options.only] if options.only else list(PARTS)
    results = json.loads(path.with_suffix(".json").read_text()) if options.only else {}
    for what in parts:
        rows: dict[int, dict[str, float]] = {}
        for size in options.sizes:
            if what == "searching" or size <= options.indexed_to:
                rows[size] = _apart(what, size)
                print(what, size, rows[size], flush=True)
        results[what] = {"machine": machine(), "sizes": rows}
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def _apart(what: str, *given: object) -> Any:
    """What a function of this module says, in a process of its own, for the memory."""
    script = f"import json; from bench import growth; print(json.dumps(growth.{what}(*{given!r})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def indexing(count: int) -> dict[str, float]:
    from indexer.analysis.analyzer import Analyzer
    from indexer.ingest.run import IndexRequest
    from indexer.ingest.service import index
    from indexer.settings import Settings
    from tests.support.fake_models import FakeClassifier
    from tests.support.library import opened
    from tests.support.quiet import Remembered

    with tempfile.TemporaryDirectory() as scratch:
        tree, settings = Path(scratch, "tree"), Settings(Path(scratch, "home"), faces="off")
        _plant(tree, count)

        def look() -> Any:
            return index(
                opened(settings, lambda _: Analyzer(FakeClassifier())), [os.fsencode(tree)], IndexRequest(), Remembered()
            )

        first = timed(look)
        again = [(timed(lambda: walk(tree)), timed(look)) for _ in range(ROUNDS)]
        return {
            "index": round(first, 3),
            "again": round(median(own for _, own in again), 3),
            "walk": round(median(bare for bare, _ in again), 3),
            "index_mb": _memory(),
        }


def _plant(tree: Path, count: int) -> None:
    """Small pictures, each with bytes of its own."""
    from PIL import Image

    picture = BytesIO()
    Image.new("RGB", (32, 32), (200, 120, 40)).save(picture, "PNG")
    for number in range(count):
        folder = tree / f"{number // A_FOLDER // 100:03d}" / f"{number // A_FOLDER % 100:02d}"
        if number % A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:07d}.png").write_bytes(picture.getvalue() + number.to_bytes(4))


def fill(database: str, count: int) -> None:
    from bench import synthetic

    synthetic.fill(Path(database), count)


def build(database: str) -> float:
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index

    with SqliteStore(Path(database)) as store:
        (model,) = store.models()
        return round(timed(lambda: sync_index(store, FaissFiles(Path(database).parent / "vectors"), model)), 3)


def searching(count: int) -> dict[str, float]:
    from bench import synthetic
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import open_index
    from indexer.domain.models import LOOK
    from indexer.domain.queries import SearchQuery
    from indexer.search.engine import search

    with tempfile.TemporaryDirectory() as scratch:
        database, files = Path(scratch, "moodex.sqlite"), FaissFiles(Path(scratch, "vectors"))
        _apart("fill", str(database), count)
        built = _apart("build", str(database))
        with SqliteStore(database) as store:
            (model,) = store.models()
            opened = timed(lambda: open_index(store, files, model))
            index = open_index(store, files, model)
            look = model.card.space_slice(LOOK)
            size = look.stop - look.start
            # Characters that are not there, drawn as those that are; and what is like none of them, which is compared with all.
            some, unlike = synthetic.looks(ASKED, size, seed=4), np.random.default_rng(4).normal(size=(ASKED, size))

            def ask(**query: Any) -> float:
                return round(1000 * timed(lambda: search(store, model, SearchQuery(**query), lambda: index)), 3)

            def like(question: Any, **query: Any) -> float:
                vector = np.zeros(model.card.embedding_size, dtype=np.float32)
                vector[look] = question / np.linalg.norm(question)
                return ask(like=vector, limit=K, **query)

            happy = frozenset({"happy"})
            last = int(count * synthetic.FREQUENCIES["happy"] * 0.95)
            return {
                "build": built,
                "open": round(1000 * opened, 2),
                "first_page": median(ask(emotions=happy, limit=50) for _ in range(ASKED)),
                "far_page": median(ask(emotions=happy, limit=50, offset=last) for _ in range(10)),
                "like": median(like(question) for question in some),
                "unlike": median(like(question) for question in unlike),
                "like_happy": median(like(question, emotions=happy) for question in some),
                "database_mb": round(database.stat().st_size / 1e6, 1),
                "search_mb": _memory(),
            }


def _memory() -> int:
    """The greatest resident memory of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def exponent(sizes: list[int], values: list[float]) -> float:
    """b of the line a + b log(size) through the logarithms of the values."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-6)), 1)[0])


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["# Growth", "", "`python bench/growth.py`.", ""]
    for what, names in zip(PARTS, (INDEXING, SEARCHING), strict=True):
        rows = {int(size): row for size, row in results[what]["sizes"].items()}
        sizes = sorted(rows)
        lines += [f"## {what.title()}", "", f"On {results[what]['machine']}.", ""]
        lines += [f"| | {' | '.join(f'{size:,}' for size in sizes)} | exponent |"]
        lines += ["|---" * (len(sizes) + 2) + "|"]
        for key, name in names.items():
            values = [rows[size][key] for size in sizes]
            grown = f"{exponent(sizes, values):.2f}" if len(sizes) > 1 else ""
            lines.append(f"| {name} | {' | '.join(f'{value:.4g}' for value in values)} | {grown} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
