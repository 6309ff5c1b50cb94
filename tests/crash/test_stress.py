"""Readers query while a writer changes the library, briefly; for minutes: python -m tests.crash.stress --minutes 3"""

from __future__ import annotations

from pathlib import Path

from tests.crash.stress import stress

SEED, TURNS = 1, 20
QUERIES = ("search_all", "search_similar", "search_page", "search_emotion", "search_by_image", "show", "status", "export")


def test_no_result_is_an_error_or_torn(tmp_path: Path) -> None:
    tally = stress(tmp_path, seconds=0, readers=4, seed=SEED, min_turns=TURNS, min_queries=100)
    assert (tally.errors, tally.torn) == (0, 0), "\n".join(tally.details)
    for query in QUERIES:
        assert tally.counts[f"queries: {query}"], tally.counts
    assert tally.counts["changed"] >= TURNS, tally.counts
