"""A short form of the crash harness: some of its scenarios with a few kills each. `make crash` runs all of them."""

from __future__ import annotations

import os
import random

import pytest

from tests.crash import harness
from tests.crash.harness import Report, Task, plan_rounds, run_scenario
from tests.crash.runner import Step
from tests.crash.scenarios import SCENARIOS
from tests.crash.steps import Kill

KILLS = 5
SEED = int(os.environ.get("MOODEX_SEED") or random.SystemRandom().randrange(2**32))
"""Read at import, since the tests remove all MOODEX_ variables."""


@pytest.mark.parametrize("scenario", ["again", "merge", "prune", "forget", "restore"])
def test_a_kill_at_any_step_breaks_no_invariant(scenario: str) -> None:
    print(f"seed {SEED}")  # noqa: T201
    report = run_scenario(Task(SEED, scenario, KILLS, min_kills=KILLS))
    assert not report.violations, f"MOODEX_SEED={SEED} repeats it\n" + "\n".join(report.violations)
    assert report.kills >= KILLS


STEPS = [Step("commit home/x in a.b", 3, ("before", "after"))]


def test_rounds_follow_until_enough_kills_have_hit() -> None:
    report = Report(1)
    for number, _ in enumerate(plan_rounds(Task(1, "first", KILLS, min_kills=KILLS), SCENARIOS[2], STEPS, report)):
        report.kills += number % 4 == 0  # the other kills come too late
    assert report.kills >= KILLS


@pytest.mark.parametrize(("violated", "rounds"), [(True, 1), (False, harness._MAX_ROUNDS)])
def test_the_rounds_end_although_the_program_is_never_killed(violated: bool, rounds: int) -> None:
    task, scenario = Task(1, "first", KILLS, min_kills=KILLS), SCENARIOS[2]
    one_round = len(list(plan_rounds(Task(1, "first", KILLS), scenario, STEPS, Report(1))))
    report = Report(1, violations=["it hangs"] if violated else [])
    assert one_round * rounds <= len(list(plan_rounds(task, scenario, STEPS, report))) <= (one_round + KILLS) * rounds


@pytest.mark.parametrize(
    "kill",
    [
        Kill("commit home/x in db.sql.writer.SqlWriter.commit", 3, "after", power_cut=True),
        Kill("write a b in c.<d>", 1, "half"),
        Kill(at=0.25),
    ],
)
def test_a_kill_can_be_repeated_from_its_printed_text(kill: Kill) -> None:
    assert Kill.parse(str(kill)) == kill
