"""The short form of the crash harness: some of its scenarios, a few kills each. `make crash` has them all."""

from __future__ import annotations

import os
import random

import pytest

from tests.crash.harness import Task, work_through
from tests.crash.steps import Kill

KILLS = 5
SEED = int(os.environ.get("MOODEX_SEED") or random.SystemRandom().randrange(2**32))
"""Read before the tests, which see no settings from outside."""


@pytest.mark.parametrize("scenario", ["again", "merge", "prune", "forget", "restore"])
def test_whenever_it_is_killed_nothing_is_broken(scenario: str) -> None:
    print(f"seed {SEED}")  # noqa: T201
    report = work_through(Task(SEED, scenario, KILLS, least=KILLS))
    assert not report.violations, f"MOODEX_SEED={SEED} repeats it\n" + "\n".join(report.violations)
    assert report.kills >= KILLS


@pytest.mark.parametrize(
    "kill",
    [
        Kill("commit home/x in db.sqlite.writer.SqliteWriter.commit", 3, "after", cut=True),
        Kill("write a b in c.<d>", 1, "half"),
        Kill(at=0.25),
    ],
)
def test_a_kill_is_repeated_by_what_is_told_of_it(kill: Kill) -> None:
    assert Kill.parse(str(kill)) == kill
