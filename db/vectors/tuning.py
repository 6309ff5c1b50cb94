"""Row counts at which a vector index changes its method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """Row counts that trade speed for the cost of building and starting; results stay the same up to the recall of clusters.

    `clustered_min_rows`: an index of at least this many rows has clusters. `brute_force_max_rows`: up to this many selected rows
    are all compared. `rows_per_thread`: rows, about 3 ms of comparisons, that are worth a thread.
    """

    clustered_min_rows: int = 50_000
    brute_force_max_rows: int = 10_000
    rows_per_thread: int = 100_000


DEFAULT_TUNING = IndexTuning()
