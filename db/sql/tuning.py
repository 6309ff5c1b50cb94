"""Sizes of a store's transactions and page anchors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreTuning:
    """Row counts that trade memory and transactions for speed; results do not depend on them.

    `delete_chunk_rows`: predictions, files or images that one transaction deletes; 20,000 with their embeddings are about 50 MB
    of SQLite's write-ahead log. `anchored_list_rows`: longer lists have page anchors; without, the last page of 5,000 hits takes
    about 5 ms. `anchor_spacing_rows`: hits from one anchor to the next, or more, so that no list has more than
    `list_anchors`: a label writes all anchors again, which takes about 10 ms for 1,000.
    """

    delete_chunk_rows: int = 20_000
    anchored_list_rows: int = 5_000
    anchor_spacing_rows: int = 500
    list_anchors: int = 1_000


DEFAULT_TUNING = StoreTuning()
