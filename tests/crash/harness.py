"""The crash harness: kill the program at every named step of every scenario and at random moments, and check what is left.

    python -m tests.crash.harness --kills 200 [--seed N] [--scenario NAME [--kill MOMENT]...]

All kills are drawn from the seed. The harness prints each violation with the command that repeats it.
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

from tests.crash.runner import ScenarioRunner, Step, start_fork_server
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.steps import Kill

_COMMON_STEPS = ("writer.json", "FaissFiles.save", "_sweep", "begin_run", "finish_run", "register_model", "SqliteStore.close")
"""Parts of the names of steps that nearly every scenario has."""

_RANDOM_KILL_SHARE = 0.2
"""Kills at random moments, from outside, for each kill at a step."""

_POWER_CUT_SHARE = 0.3
"""The share of kills that come with a power cut."""

_REPEATED_KILL_SHARE = 0.07
"""Runs that are killed several times in a row, for each run that is killed once."""

_MAX_KILLS_IN_A_ROW = 5

_MAX_ROUNDS = 20
"""Rounds after which a scenario ends even if few kills came before the end of the program. Most kills hit in the first round."""

_RAM_DISK = Path("/dev/shm")
"""A folder for temporary files: a kill leaves the same files there, and syncing takes no time."""


@dataclass(slots=True)
class Report:
    """The result of the harness.

    - `kills`: kills that hit the program; `missed`: kills that came after its end.
    - `steps`: number of named steps.
    - `violations`: each with the command that repeats it.
    """

    seed: int
    kills: int = 0
    missed: int = 0
    steps: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add the result of another scenario."""
        self.kills += other.kills
        self.missed += other.missed
        self.steps += other.steps
        self.violations += other.violations


@dataclass(frozen=True, slots=True)
class Task:
    """A scenario to run, with the number of kills.

    - `max_step_kills`: maximum number of kills at steps in a round.
    - `min_kills`: rounds follow until as many kills hit the program, a violation is found, or `_MAX_ROUNDS` are over.
    - `round`: number of the first round; each round draws other kills from the same seed.
    - `only`: run with only these kills.
    """

    seed: int
    scenario: str
    max_step_kills: int = 1000
    min_kills: int = 0
    round: int = 0
    only: tuple[Kill, ...] = ()


def plan_round(task: Task, scenario: Scenario, steps: Sequence[Step]) -> Iterator[list[Kill]]:
    """Yield the kills of each run of one round: at each named step, before, in and after it, and at random moments.

    A step that occurs several times is killed at one of them.
    """
    chance = random.Random(f"{task.seed} {task.scenario} {task.round}")
    kills = []
    for step in steps:
        common = not scenario.kills_common_steps and any(part in step.name for part in _COMMON_STEPS)
        moments = chance.sample(step.moments, 1) if common else step.moments
        kills += [Kill(step.name, chance.randint(1, step.times), moment) for moment in moments]
    chance.shuffle(kills)
    kills = [*map(Kill.parse, scenario.broke), *kills][: min(task.max_step_kills, scenario.max_step_kills)]
    kills += [Kill(at=chance.random()) for _ in range(round(_RANDOM_KILL_SHARE * len(kills)) + 1)]
    for kill in kills:
        yield [replace(kill, power_cut=chance.random() < _POWER_CUT_SHARE)]
    for _ in range(round(_REPEATED_KILL_SHARE * len(kills))):
        yield [Kill(at=chance.random()) for _ in range(chance.randint(2, _MAX_KILLS_IN_A_ROW))]


def plan_rounds(task: Task, scenario: Scenario, steps: Sequence[Step], report: Report) -> Iterator[list[Kill]]:
    """Yield the kills of each run, round by round, until enough kills have hit: on a busy machine some come too late.

    The rounds are limited: a program that hangs, or that reaches none of its steps, is never killed.
    """
    for number in range(task.round, task.round + _MAX_ROUNDS):
        yield from plan_round(replace(task, round=number), scenario, steps)
        if report.kills >= task.min_kills or report.violations:
            return


def run_scenario(task: Task) -> Report:
    """Run one scenario with all planned kills."""
    report = Report(task.seed)
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == task.scenario)
    start_fork_server()
    with tempfile.TemporaryDirectory(prefix="moodex-crash-", dir=_RAM_DISK if _RAM_DISK.is_dir() else None) as folder:
        runner = ScenarioRunner(scenario, Path(folder).resolve())
        report.steps = len(runner.steps)
        report.violations += [f"{scenario.name}, never killed: {line}" for line in runner.violations]
        for kills in [list(task.only)] if task.only else plan_rounds(task, scenario, runner.steps, report):
            moments = [str(kill) for kill in kills]
            result = runner.run(kills, random.Random(f"{task.seed} {scenario.name} {moments}"))
            report.kills += result.kills
            report.missed += len(kills) - result.kills
            repeat = ["python", "-m", "tests.crash.harness", "--seed", str(task.seed), "--scenario", scenario.name]
            repeat += [word for moment in moments for word in ("--kill", moment)]
            report.violations += [f"{'; '.join(moments)}: {line}\n    {shlex.join(repeat)}" for line in result.violations]
    return report


def run_scenarios(seed: int, scenarios: Sequence[Scenario], kills: int, only: Sequence[Kill], jobs: int) -> Iterator[Report]:
    """Run scenarios, `jobs` at a time, and yield the report so far after each.

    Rounds over all scenarios follow until `kills` kills have hit, or a round had none.
    """
    report = Report(seed)
    # Every check would warn again about a model that a killed program wrote only in part.
    with ProcessPoolExecutor(jobs, get_context("spawn"), logging.disable, (logging.WARNING,)) as pool:
        for number in count():
            before = report.kills
            tasks = [Task(seed, scenario.name, round=number, only=tuple(only)) for scenario in scenarios]
            for done in as_completed([pool.submit(run_scenario, task) for task in tasks]):
                report.add(done.result())
                yield report
            if only or report.kills >= kills or report.kills == before:
                return


def main() -> int:
    """Run the command line. Return 1 for a violation, or if fewer kills than requested hit the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.harness", description="Kill the program and check what is left.")
    parser.add_argument("--kills", type=int, default=200, help="minimum number of kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", action="append", choices=names, help="run only this scenario")
    parser.add_argument("--kill", action="append", type=Kill.parse, help="kill only at this moment; repeat for a row", default=[])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of scenarios to run at a time")
    options = parser.parse_args()
    scenarios = [scenario for scenario in SCENARIOS if options.scenario is None or scenario.name in options.scenario]
    started, printed = time.monotonic(), 0
    report = Report(options.seed)
    for report in run_scenarios(options.seed, scenarios, options.kills, options.kill, options.jobs):
        for violation in report.violations[printed:]:
            sys.stderr.write(f"VIOLATION {violation}\n")
        printed = len(report.violations)
        sys.stdout.write(f"{report.kills} kills, {printed} violations, {time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()
    facts = {
        "kills": report.kills,
        "violations": printed,
        "named steps": report.steps,
        "too late": report.missed,
        "seed": report.seed,
    }
    for name, number in {**facts, "seconds": round(time.monotonic() - started)}.items():
        sys.stdout.write(f"{name:11} {number}\n")
    return 1 if printed or (not options.kill and report.kills < options.kills) else 0


if __name__ == "__main__":
    sys.exit(main())
