"""Readers that ask while somebody writes, for a few seconds; for minutes: python -m tests.crash.stress --minutes 3"""

from __future__ import annotations

from pathlib import Path

from tests.crash.stress import stress

SEED = 1


def test_no_answer_is_an_error_or_torn(tmp_path: Path) -> None:
    tally = stress(tmp_path, seconds=10, readers=4, seed=SEED)
    assert (tally.errors, tally.torn) == (0, 0), "\n".join(tally.told)
    for way in ("all", "like", "page", "feeling", "picture", "show", "status", "export"):
        assert tally.counts[f"answers: {way}"], tally.counts
    assert tally.counts["changed"] > 7, tally.counts
