"""What a library of a given size needs: time, rows, bytes and memory, from rates that were measured.

The numbers are results of this repository, at a million images on two cores; `tests/unit/test_scale.py` compares them. At other
sizes, times follow the exponents that were fitted to measurements from a thousand images to ten million (of whole index runs: to
one million).
"""

from __future__ import annotations

from dataclasses import dataclass

MILLION = 1_000_000

DATABASE_BYTES = 1013.1
"""Bytes of the database for each image with one face (bench/results/growth.json, `database_mb`)."""

VECTOR_BYTES = 310.1
"""Bytes of the vector index for each face (bench/results/search-1000000.json, `index_mb`)."""

BUILD_SECONDS, BUILD_EXPONENT = 30.8, 1.04
"""Seconds to build the vector index of a million faces, and their growth (bench/results/growth.json, `build`)."""

SEARCH_P99_MS, SEARCH_EXPONENT = 0.87, 0.58
"""99 of 100 searches for similar faces end within these milliseconds (bench/results/search-1000000.json).

The exponent is that of the kind of search that grows most (bench/results/growth.json, `unlike`).
"""

COMMITS_PER_SECOND = 881.0
"""Images a second that one process scans, reads and commits, without a network (bench/results/growth.json, `index`)."""

WORKER_MB = 636.0
"""Memory of a process that analyzes with two threads (bench/results/index.json, `peak_mb`)."""

RUN_MB, RUN_EXPONENT = 920.0, 0.35
"""Memory of the process that scans and commits a million images, and its growth (bench/results/growth.json, `index_mb`)."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an index run needs.

    - `hours`: until all images are committed. `commits_bound`: one process commits more slowly than the machines analyze.
    - `cost`, `cost_per_million`: of the machines, in the unit of the price; None without a price.
    - `rows`: files, images, predictions and embeddings, of images with one face each.
    - `database_gb`, `index_gb`: on disk. `worker_gb`, `run_gb`: memory of a worker, and of the process that commits.
    - `build_hours`: of the vector index, on one machine. `search_ms`: 99 of 100 searches for similar faces are faster, if memory
      holds the index.
    """

    images: int
    machines: int
    images_per_second: float
    hours: float
    commits_bound: bool
    cost: float | None
    cost_per_million: float | None
    rows: int
    database_gb: float
    index_gb: float
    worker_gb: float
    run_gb: float
    build_hours: float
    search_ms: float


def forecast(images: int, machines: int, machine_rate: float, price: float | None = None) -> Forecast:
    """Forecast a run over `images` on equal machines, each of which analyzes `machine_rate` images a second.

    `price` is that of a machine for an hour.
    """
    analyzed = machines * machine_rate
    rate = min(analyzed, COMMITS_PER_SECOND)
    hours = images / rate / 3600
    cost = None if price is None else hours * machines * price
    millions = images / MILLION
    return Forecast(
        images=images,
        machines=machines,
        images_per_second=rate,
        hours=hours,
        commits_bound=analyzed > COMMITS_PER_SECOND,
        cost=cost,
        cost_per_million=None if cost is None else cost / millions,
        rows=4 * images,
        database_gb=images * DATABASE_BYTES / 1e9,
        index_gb=images * VECTOR_BYTES / 1e9,
        worker_gb=WORKER_MB / 1e3,
        run_gb=RUN_MB * max(1.0, millions) ** RUN_EXPONENT / 1e3,
        build_hours=BUILD_SECONDS * millions**BUILD_EXPONENT / 3600,
        search_ms=SEARCH_P99_MS * max(1.0, millions) ** SEARCH_EXPONENT,
    )
