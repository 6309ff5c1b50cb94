"""The crash harness: kills the program at every named step of every scenario, and at random moments, and checks what is left.

    python -m tests.crash.harness --kills 200 [--seed N] [--scenario NAME [--kill MOMENT]...]

Every kill is drawn from the seed; a violation is told with the command that repeats it.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.steps import Kill
from tests.crash.trial import Step, Trials, start_forking

_EVERYDAY = ("writer.json", "FaissFiles.save", "_sweep", "begin_run", "finish_run", "register_model", "SqliteStore.close")
"""Parts of the names of steps that nearly every scenario has."""

_RANDOM = 0.2
"""The share of kills that come from outside, at a random moment."""

_CUTS = 0.3
"""The share of kills with which the power goes, too."""

_ROWS = 0.07
"""The share of histories in which the program is killed several times in a row."""

_LONGEST = 5
"""Kills in a row, at most."""

_MAX_ROUNDS = 20
"""Rounds after which a scenario ends, however few kills came before the end of the program: most do in the first."""

_IN_MEMORY = Path("/dev/shm")
"""Where files are written that need not last: a kill leaves the same there, and syncing takes no time."""


@dataclass(slots=True)
class Report:
    """What the harness has found: `violations`, each with how to repeat it; `steps` counts the named ones, `missed` the kills
    that came after the end.
    """

    seed: int
    kills: int = 0
    missed: int = 0
    steps: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take in what was found in another scenario."""
        self.kills += other.kills
        self.missed += other.missed
        self.steps += other.steps
        self.violations += other.violations


@dataclass(frozen=True, slots=True)
class Task:
    """A scenario to work through: with at most so many kills at steps, or these kills alone (`only`). Each `round` draws others
    from the same seed; further rounds follow until `least` kills have come before the program's end, or something is violated,
    or `_MAX_ROUNDS` were not enough.
    """

    seed: int
    scenario: str
    most: int = 1000
    least: int = 0
    round: int = 0
    only: tuple[Kill, ...] = ()


def plan(task: Task, scenario: Scenario, steps: Sequence[Step]) -> Iterator[list[Kill]]:
    """Histories of kills: at each named step, before, in and after it, and at random moments.

    A step that comes several times is killed at one of them.
    """
    chance = random.Random(f"{task.seed} {task.scenario} {task.round}")
    chosen = []
    for step in steps:
        common = not scenario.everyday and any(part in step.name for part in _EVERYDAY)
        moments = chance.sample(step.moments, 1) if common else step.moments
        chosen += [Kill(step.name, chance.randint(1, step.times), moment) for moment in moments]
    chance.shuffle(chosen)
    chosen = [*map(Kill.parse, scenario.broke), *chosen][: min(task.most, scenario.most)]
    chosen += [Kill(at=chance.random()) for _ in range(round(_RANDOM * len(chosen)) + 1)]
    for kill in chosen:
        yield [replace(kill, cut=chance.random() < _CUTS)]
    for _ in range(round(_ROWS * len(chosen))):
        yield [Kill(at=chance.random()) for _ in range(chance.randint(2, _LONGEST))]


def planned(task: Task, scenario: Scenario, steps: Sequence[Step], report: Report) -> Iterator[list[Kill]]:
    """The histories of one round, and of further ones while too few kills have hit: on a busy machine some come too late.

    It ends in any case: a program that hangs, or that reaches none of its steps, is never killed.
    """
    for number in range(task.round, task.round + _MAX_ROUNDS):
        yield from plan(replace(task, round=number), scenario, steps)
        if report.kills >= task.least or report.violations:
            return


def work_through(task: Task) -> Report:
    """Kill the program in one scenario, as often as is planned."""
    report = Report(task.seed)
    scenario = next(one for one in SCENARIOS if one.name == task.scenario)
    start_forking()
    with tempfile.TemporaryDirectory(prefix="moodex-crash-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        trials = Trials(scenario, Path(folder).resolve())
        report.steps = len(trials.steps)
        report.violations += [f"{scenario.name}, never killed: {line}" for line in trials.violations]
        for kills in [list(task.only)] if task.only else planned(task, scenario, trials.steps, report):
            spoken = [str(kill) for kill in kills]
            came = trials.try_out(kills, random.Random(f"{task.seed} {scenario.name} {spoken}"))
            report.kills += came.kills
            report.missed += len(kills) - came.kills
            repeat = ["python", "-m", "tests.crash.harness", "--seed", str(task.seed), "--scenario", scenario.name]
            repeat += [word for one in spoken for word in ("--kill", one)]
            report.violations += [f"{'; '.join(spoken)}: {line}\n    {shlex.join(repeat)}" for line in came.violations]
    return report


def reports(seed: int, chosen: Sequence[Scenario], kills: int, only: Sequence[Kill], jobs: int) -> Iterator[Report]:
    """Work through scenarios, several at a time, and yield the report so far after each.

    Begin again until there were so many kills, or a whole round had none.
    """
    report = Report(seed)
    # Models that a killed program has left half way are warned of at every look.
    with ProcessPoolExecutor(jobs, get_context("spawn"), logging.disable, (logging.WARNING,)) as pool:
        for number in count():
            before = report.kills
            tasks = [Task(seed, one.name, round=number, only=tuple(only)) for one in chosen]
            for done in as_completed([pool.submit(work_through, task) for task in tasks]):
                report.add(done.result())
                yield report
            if only or report.kills >= kills or report.kills == before:
                return


def main() -> int:
    """The command line; 1 where anything was violated, or fewer kills came than were asked for."""
    words = argparse.ArgumentParser(prog="python -m tests.crash.harness", description="Kill the program, and check what is left.")
    words.add_argument("--kills", type=int, default=200, help="at least so many")
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    words.add_argument("--scenario", action="append", choices=[one.name for one in SCENARIOS], help="only this one")
    words.add_argument("--kill", action="append", type=Kill.parse, help="only these kills, in one history", default=[])
    words.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many scenarios at a time")
    asked = words.parse_args()
    chosen = [one for one in SCENARIOS if asked.scenario is None or one.name in asked.scenario]
    started, told = time.monotonic(), 0
    report = Report(asked.seed)
    for report in reports(asked.seed, chosen, asked.kills, asked.kill, asked.jobs):
        for violation in report.violations[told:]:
            sys.stderr.write(f"VIOLATION {violation}\n")
        told = len(report.violations)
        sys.stdout.write(f"{report.kills} kills, {told} violations, {time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()
    facts = {
        "kills": report.kills,
        "violations": told,
        "named steps": report.steps,
        "too late": report.missed,
        "seed": report.seed,
    }
    for name, number in {**facts, "seconds": round(time.monotonic() - started)}.items():
        sys.stdout.write(f"{name:11} {number}\n")
    return 1 if told or (not asked.kill and report.kills < asked.kills) else 0


if __name__ == "__main__":
    sys.exit(main())
