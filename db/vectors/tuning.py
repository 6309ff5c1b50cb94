"""Sizes at which a vector index changes its method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """Sizes that trade speed for memory and for the cost of building; results stay the same up to the recall of clusters.

    `clustered_min_rows`: an index of at least this many rows has clusters. `brute_force_max_rows`: up to this many selected rows
    are all compared. `rows_per_thread`: rows, about 3 ms of comparisons, that are worth a thread.

    The others bound the memory of building, in bytes. `portion_bytes`: rows that are sorted at once. `training_bytes`: vectors
    from which the centers are learned. `shard_bytes`: codes in one file.
    """

    clustered_min_rows: int = 50_000
    brute_force_max_rows: int = 10_000
    rows_per_thread: int = 100_000
    portion_bytes: int = 2**23
    training_bytes: int = 2**26
    shard_bytes: int = 40 * 2**20


DEFAULT_TUNING = IndexTuning()
