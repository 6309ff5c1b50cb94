"""The short form of the crash harness: some of its scenarios, a few kills each. `make crash` has them all."""

from __future__ import annotations

import os
import random

import pytest

from tests.crash import harness
from tests.crash.harness import Report, Task, planned, work_through
from tests.crash.scenarios import SCENARIOS
from tests.crash.steps import Kill
from tests.crash.trial import Step

KILLS = 5
SEED = int(os.environ.get("MOODEX_SEED") or random.SystemRandom().randrange(2**32))
"""Read before the tests, which see no settings from outside."""


@pytest.mark.parametrize("scenario", ["again", "merge", "prune", "forget", "restore"])
def test_whenever_it_is_killed_nothing_is_broken(scenario: str) -> None:
    print(f"seed {SEED}")  # noqa: T201
    report = work_through(Task(SEED, scenario, KILLS, least=KILLS))
    assert not report.violations, f"MOODEX_SEED={SEED} repeats it\n" + "\n".join(report.violations)
    assert report.kills >= KILLS


STEPS = [Step("commit home/x in a.b", 3, ("before", "after"))]


def test_rounds_follow_until_enough_kills_have_hit() -> None:
    report = Report(1)
    for number, _ in enumerate(planned(Task(1, "first", KILLS, least=KILLS), SCENARIOS[2], STEPS, report)):
        report.kills += number % 4 == 0  # the others come too late
    assert report.kills >= KILLS


@pytest.mark.parametrize(("violated", "rounds"), [(True, 1), (False, harness._MAX_ROUNDS)])
def test_a_program_that_is_never_killed_ends_the_rounds(violated: bool, rounds: int) -> None:
    task, scenario = Task(1, "first", KILLS, least=KILLS), SCENARIOS[2]
    one_round = len(list(planned(Task(1, "first", KILLS), scenario, STEPS, Report(1))))
    report = Report(1, violations=["it hangs"] if violated else [])
    assert one_round * rounds <= len(list(planned(task, scenario, STEPS, report))) <= (one_round + KILLS) * rounds


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
