"""Readers that ask while somebody writes, a few times each; for minutes: python -m tests.crash.stress --minutes 3"""

from __future__ import annotations

from pathlib import Path

from tests.crash.stress import stress

SEED, TURNS = 1, 20


def test_no_answer_is_an_error_or_torn(tmp_path: Path) -> None:
    tally = stress(tmp_path, seconds=0, readers=4, seed=SEED, turns=TURNS, answers=100)
    assert (tally.errors, tally.torn) == (0, 0), "\n".join(tally.told)
    for way in ("all", "like", "page", "feeling", "picture", "show", "status", "export"):
        assert tally.counts[f"answers: {way}"], tally.counts
    assert tally.counts["changed"] >= TURNS, tally.counts
