"""Measure how time and memory grow with a library, from a thousand images to ten million.

    python bench/growth.py [--sizes N...] [--indexed-to N] [--only PART] [--results FOLDER]

A separate process measures each size. The first part indexes that many small distinct images, up to a million, with a classifier
that computes almost nothing, so that the time is that of moodex itself, and rescans them. The second part builds, opens, extends
and searches a vector index over a synthetic library (bench/synthetic.py), by emotion and by similarity, and runs `moodex status`
and `moodex doctor`. Exponents are fitted on logarithmic scales: 1 is linear. Growth is also drawn.

Ten million images need 20 GB in the folder for temporary files (TMPDIR), and about an hour: python bench/growth.py --only
searching --sizes 10000000 measures them alone and keeps all other results.
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

from bench.rescan import FILES_PER_FOLDER, timed, walk  # noqa: E402

PARTS = ("indexing", "searching")
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MAX_INDEXED, FILLED_AT_ONCE, ADDED_IMAGES = 1_000_000, 1_000_000, 10_000
ROUNDS, QUERY_COUNT, RESULT_COUNT = 3, 100, 10
INDEXING = {"index": "index, s", "rescan": "rescan, s", "walk": "bare walk, s", "index_mb": "memory, MB"}
SEARCHING = {
    "build": "build index, s", "add": f"add {ADDED_IMAGES:,} images to the index, s", "status": "moodex status, s",
    "doctor": "moodex doctor, s", "open": "open index, ms", "first_page": "happy, first page, ms",
    "far_page": "happy, page at 95%, ms", "like": "similar, ms", "unlike": "similar to nothing in the library, ms",
    "like_happy": "similar and happy, ms", "index_like_happy": "similar and happy, index alone, ms",
    "database_mb": "database, MB", "vectors_mb": "vector index, MB", "build_mb": "memory to build the index, MB",
    "search_mb": "memory to search, MB", "doctor_mb": "memory of moodex doctor, MB",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--indexed-to", type=int, default=MAX_INDEXED, metavar="N", help="do not index more than N images")
    parser.add_argument("--only", choices=PARTS, help="measure one part and keep the results of the other")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", metavar="FOLDER")
    options = parser.parse_args()
    from bench.growth_picture import draw
    from bench.machine import machine

    path = options.results / "growth"
    results = json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").exists() else {}
    for part in [options.only] if options.only else PARTS:
        earlier = results.get(part, {}).get("sizes", {})
        rows = {int(size): row for size, row in earlier.items() if options.only and int(size) not in options.sizes}
        for size in options.sizes:
            if part == "searching" or size <= options.indexed_to:
                rows[size] = _in_new_process(part, size)
                print(part, size, rows[size], flush=True)
        results[part] = {"machine": machine(), "sizes": dict(sorted(rows.items()))}
        path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".md").write_text(page(results))
    draw(results, path.with_suffix(".png"))


def _in_new_process(function: str, *arguments: object) -> Any:
    """Call a function of this module in a new process, whose memory is then its own; return its result."""
    script = f"import json; from bench import growth; print(json.dumps(growth.{function}(*{arguments!r})))"
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def indexing(count: int) -> dict[str, float]:
    """Index and rescan `count` images; return seconds and megabytes."""
    from indexer.analysis.analyzer import Analyzer
    from indexer.ingest.run import IndexRequest
    from indexer.ingest.service import index
    from indexer.settings import Settings
    from tests.support.fake_models import FakeClassifier
    from tests.support.library import opened
    from tests.support.quiet import Remembered

    with tempfile.TemporaryDirectory() as scratch:
        tree, settings = Path(scratch, "tree"), Settings(Path(scratch, "home"), faces="off")
        _write_images(tree, count)

        def run() -> Any:
            return index(
                opened(settings, lambda _: Analyzer(FakeClassifier())), [os.fsencode(tree)], IndexRequest(), Remembered()
            )

        first = timed(run)
        rounds = [(timed(lambda: walk(tree)), timed(run)) for _ in range(ROUNDS)]
        return {
            "index": round(first, 3),
            "rescan": round(median(rescan for _, rescan in rounds), 3),
            "walk": round(median(bare for bare, _ in rounds), 3),
            "index_mb": _peak_mb(),
        }


def _write_images(tree: Path, count: int) -> None:
    """Write small images of which no two have the same bytes."""
    from PIL import Image

    image = BytesIO()
    Image.new("RGB", (32, 32), (200, 120, 40)).save(image, "PNG")
    for number in range(count):
        folder = tree / f"{number // FILES_PER_FOLDER // 100:03d}" / f"{number // FILES_PER_FOLDER % 100:02d}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:07d}.png").write_bytes(image.getvalue() + number.to_bytes(4))


def fill(database: str, count: int) -> None:
    """Write the synthetic library, in portions that fit into memory, each with its own characters."""
    from bench import synthetic

    for first in range(1, count + 1, FILLED_AT_ONCE):
        synthetic.fill(Path(database), min(FILLED_AT_ONCE, count + 1 - first), first, seed=100 * (first // FILLED_AT_ONCE))


def extend(database: str, count: int) -> None:
    """Add images to a synthetic library of `count`."""
    from bench import synthetic

    synthetic.fill(Path(database), ADDED_IMAGES, first=count + 1, seed=9)


def build(database: str) -> tuple[float, int]:
    """Make the vector index current; return the seconds, and the highest memory in MB."""
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index

    with SqliteStore(Path(database)) as store:
        (model,) = store.models()
        seconds = timed(lambda: sync_index(store, FaissFiles(Path(database).parent / "vectors"), model))
    return round(seconds, 3), _peak_mb()


def command(home: str, *arguments: str) -> tuple[float, int]:
    """Run moodex over a library; return the seconds, and its highest memory in MB. Call it in a process of its own."""
    program = [sys.executable, str(ROOT / "cli.py"), "--home", home, *arguments]
    seconds = timed(lambda: subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True))
    return round(seconds, 3), round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)


def searching(count: int) -> dict[str, float]:
    """Search, check and extend a synthetic library of `count` images; return seconds, milliseconds and megabytes."""
    with tempfile.TemporaryDirectory() as scratch:
        database = Path(scratch, "moodex.sqlite")
        _in_new_process("fill", str(database), count)
        measured: dict[str, float] = {}
        measured["build"], measured["build_mb"] = _in_new_process("build", str(database))
        measured |= _searches(database, count)
        measured["search_mb"] = _peak_mb()
        measured["database_mb"] = round(database.stat().st_size / 1e6, 1)
        measured["vectors_mb"] = round(sum(path.stat().st_size for path in Path(scratch, "vectors").iterdir()) / 1e6, 1)
        measured["status"], _ = _in_new_process("command", scratch, "status")
        measured["doctor"], measured["doctor_mb"] = _in_new_process("command", scratch, "doctor")
        _in_new_process("extend", str(database), count)
        measured["add"], _ = _in_new_process("build", str(database))
        return measured


def _searches(database: Path, count: int) -> dict[str, float]:
    """Open the vector index of a library and search it; return milliseconds."""
    from bench import synthetic
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import open_index
    from indexer.domain.models import APPEARANCE
    from indexer.domain.queries import SearchQuery
    from indexer.ports.vectors import VectorFilter
    from indexer.search.engine import search

    files = FaissFiles(database.parent / "vectors")
    with SqliteStore(database) as store:
        (model,) = store.models()
        open_seconds = timed(lambda: open_index(store, files, model))
        index = open_index(store, files, model)
        appearance = model.card.space_slice(APPEARANCE)
        size = appearance.stop - appearance.start
        # Queries like the characters of the library, which it does not have, and queries like nothing in it. The index
        # compares the latter with all vectors.
        similar = synthetic.appearances(QUERY_COUNT, size, seed=4)
        dissimilar = np.random.default_rng(4).normal(size=(QUERY_COUNT, size))

        def milliseconds(**query: Any) -> float:
            return round(1000 * timed(lambda: search(store, model, SearchQuery(**query), lambda: index)), 3)

        def like(vector: Any, **query: Any) -> float:
            embedding = np.zeros(model.card.embedding_size, dtype=np.float32)
            embedding[appearance] = vector / np.linalg.norm(vector)
            return milliseconds(like=embedding, limit=RESULT_COUNT, **query)

        def like_in_index(vector: Any, within: VectorFilter) -> float:
            return round(1000 * timed(lambda: index.search(vector, RESULT_COUNT, within)), 3)

        happy = frozenset({"happy"})
        in_index = VectorFilter(frozenset({model.card.labels.index("happy")}))
        far_offset = int(count * synthetic.FREQUENCIES["happy"] * 0.95)
        return {
            "open": round(1000 * open_seconds, 2),
            "first_page": median(milliseconds(emotions=happy, limit=50) for _ in range(QUERY_COUNT)),
            "far_page": median(milliseconds(emotions=happy, limit=50, offset=far_offset) for _ in range(10)),
            "like": median(like(vector) for vector in similar),
            "unlike": median(like(vector) for vector in dissimilar),
            "like_happy": median(like(vector, emotions=happy) for vector in similar),
            "index_like_happy": median(like_in_index(vector, in_index) for vector in similar.astype(np.float32)),
        }


def _peak_mb() -> int:
    """Return the highest resident memory of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def exponent(sizes: list[int], values: list[float]) -> float:
    """Return b of the line a + b log(size), fitted to the logarithms of the values."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-6)), 1)[0])


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["# Growth", "", "`python bench/growth.py`.", "", "![Time and memory by the number of images](growth.png)", ""]
    for part, titles in zip(PARTS, (INDEXING, SEARCHING), strict=True):
        rows = {int(size): row for size, row in results[part]["sizes"].items()}
        sizes = sorted(rows)
        lines += [f"## {part.title()}", "", f"On {results[part]['machine']}.", ""]
        lines += [f"| | {' | '.join(f'{size:,}' for size in sizes)} | exponent |"]
        lines += ["|---" * (len(sizes) + 2) + "|"]
        for key, title in titles.items():
            if any(key not in row for row in rows.values()):
                continue  # results from before this was measured
            values = [rows[size][key] for size in sizes]
            fitted = f"{exponent(sizes, values):.2f}" if len(sizes) > 1 else ""
            lines.append(f"| {title} | {' | '.join(f'{value:.4g}' for value in values)} | {fitted} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
