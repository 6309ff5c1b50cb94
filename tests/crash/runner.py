"""Run one scenario: without a kill as a reference, then with kills, after which it must reach the same state."""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from indexer.settings import Settings
from tests.crash import invariants, powercut
from tests.crash.scenarios import Commands, Scenario
from tests.crash.snapshot import DatabaseSnapshot, differences, not_between, read_snapshot
from tests.crash.steps import Journal, Kill
from tests.crash.traced_program import CommandRun, Workspace, run_commands

HANG_SECONDS = 120.0
"""Time after which a process that has not ended counts as hanging."""

# Threads of the numeric libraries would not survive the fork, and would occupy the other cores.
_SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_DECODER_EXIT_SECONDS = 20.0
"""Time in which a decoder process must notice that its parent was killed; it may finish its image first."""

_PRELOADED_MODULES = (
    "tests.crash.traced_program",
    "PIL.Image",
    "commands.schedule",
    "db.sqlite.salvage",
    "db.sqlite.store",
    "db.vectors.check",
    "indexer.transfer.backup",
    "indexer.transfer.export",
    "indexer.transfer.restore",
    "indexer.ingest.run",
    "indexer.search.engine",
    "indexer.maintenance.repair",
    "indexer.maintenance.service",
    "models.teaching.model_version",
    "commands.output.health",
)
"""Modules that the fork server imports once for all processes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A named step of a scenario: how many times it occurs, and the moments at which it can be killed."""

    name: str
    times: int
    moments: tuple[str, ...]


@dataclass(slots=True)
class RunResult:
    """The number of kills that hit the program, and the violations after them."""

    kills: int = 0
    violations: list[str] = field(default_factory=list)


class ScenarioRunner:
    """Runs a scenario in its own workspace.

    The first run is never killed. It gives the expected states and exit codes, the named `steps`, and its own `violations`.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self._workspace = Workspace(folder)
        self._template = folder / "template"
        self._copy = folder / "copy"
        for part in (self._workspace.images, self._workspace.home, self._workspace.out):
            part.mkdir(parents=True)
        self._commands: Commands = scenario.prepare(self._workspace)
        self._image_files = invariants.file_states(self._workspace.images)
        shutil.copytree(self._workspace.data, self._template)
        self.violations: list[str] = []
        self._states: list[DatabaseSnapshot] = [] if scenario.damaged else [self._read_state()]
        self._codes: list[int] = []
        self.seconds = 0.0
        self.steps: list[Step] = []
        self._run_reference()

    @cached_property
    def settings(self) -> Settings:
        """The settings for the copy of the data folder that checks use."""
        return Settings(home=self._copy, model=self.scenario.model)

    def run(self, kills: Sequence[Kill], chance: random.Random) -> RunResult:
        """Run the commands and kill them at each of these moments in turn, then run them to the end.

        After each kill the next process resumes with the first command that did not end. Check what each killed process left,
        and the final state.
        """
        result = RunResult()
        self._reset()
        self._last_state = DatabaseSnapshot()
        done = 0
        for kill in kills:
            inodes = _inodes(self._workspace.data)
            journal = self._run(done, kill)
            done, ended = _ended(journal, done)
            result.violations += self._wrong_codes(ended, retried=True)
            if self._was_killed:
                result.kills += 1
            if kill.power_cut and self._was_killed:
                powercut.simulate(self._workspace.data, inodes, journal, chance)
            result.violations += _violations_or_error(partial(self._check_after_kill, done, journal, chance))
            if done == len(self._commands):
                break
        journal = self._run(done, None)
        _, ended = _ended(journal, done)
        result.violations += self._wrong_codes(ended, retried=True)
        result.violations += self._classified_twice(journal, self._last_state.classified_images())
        result.violations += _violations_or_error(partial(self._check_end, chance))
        return result

    def output_tail(self) -> str:
        """Return the end of the program's output."""
        log = self._workspace.log
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def _run_reference(self) -> None:
        """Run command after command without a kill, and record the state and exit code after each."""
        chance = random.Random(self.scenario.name)
        step_counts: Counter[str] = Counter()
        moments: dict[str, tuple[str, ...]] = {}
        self._reset()
        for number in range(len(self._commands)):
            inodes = _inodes(self._workspace.data)
            journal = self._run(number, None, number + 1)
            times = {line["kind"]: line["at"] for line in journal if line["kind"] in ("ready", "over")}
            self.seconds += times["over"] - times["ready"]
            self._codes += [line["code"] for line in journal if line["kind"] == "ended"]
            for line in journal:
                if line["kind"] == "step":
                    step_counts[line["step"]] += 1
                    moments[line["step"]] = tuple(line["moments"])
            self.violations += powercut.durability_violations(journal, inodes)
            self.violations += powercut.weak_commits(journal, self._workspace.home / "moodex.sqlite")
            self.violations += self._classified_twice(journal, self._states[-1].classified_images() if self._states else {})
            if not self.scenario.damaged:
                self._states.append(self._read_state())
        self._final_state = self._read_state()
        self._final_models = invariants.user_model_digests(self._workspace.home)
        self.steps = [Step(name, times, moments[name]) for name, times in sorted(step_counts.items())]
        self.violations += self._check_end(chance)

    def _run(self, first: int, kill: Kill | None, end: int | None = None) -> list[dict[str, Any]]:
        """Run command lines in a new process, from number `first` on, kill it if requested, and return its journal."""
        workspace = self._workspace
        workspace.journal.unlink(missing_ok=True)
        shutil.rmtree(workspace.links, ignore_errors=True)
        workspace.links.mkdir()
        at_step = kill if kill is not None and kill.step else None
        run = CommandRun(
            workspace, self._commands[first:end], first, at_step, self.scenario.model, dict(self.scenario.smaller_constants)
        )
        process = _forked(run)
        process.start()
        if kill is not None and not kill.step:
            process.join(kill.at * self.seconds)
            process.kill()
        process.join(HANG_SECONDS)
        self._was_killed = process.exitcode == -signal.SIGKILL
        self._hung = process.exitcode is None
        if self._hung:
            process.kill()
            process.join()
        self._group = process.pid or 0
        process.close()
        return Journal.read(workspace.journal)

    def _reset(self) -> None:
        """Restore everything but the images, which no command changes."""
        for part in (self._workspace.home, self._workspace.out):
            shutil.rmtree(part)
            shutil.copytree(self._template / part.name, part)
        self._workspace.log.unlink(missing_ok=True)

    def _read_state(self) -> DatabaseSnapshot:
        """Read the database in the current schema."""
        from indexer.bootstrap import open_library

        home = invariants.copy_home(self._workspace.home, self._copy)
        if (home / "moodex.sqlite").exists():
            with open_library(self.settings).database.open():
                pass
        return read_snapshot(home / "moodex.sqlite")

    def _check_after_kill(self, done: int, journal: Sequence[dict[str, Any]], chance: random.Random) -> list[str]:
        """Check what a killed program left after `done` commands."""
        violations = ["it hangs"] if self._hung else []
        violations += _survivors(self._group)
        violations += invariants.held_lock(self._workspace.home)
        violations += invariants.incomplete_backups(self._workspace.out)
        violations += self._changed_images()
        if self.scenario.damaged:
            return violations
        invariants.copy_home(self._workspace.home, self._copy)
        state, broken = invariants.check_all(self.settings, chance)
        self._last_state = state
        violations += broken
        before, after = self._states[done], self._states[min(done + 1, len(self._states) - 1)]
        if self.scenario.atomic:
            if differences(state, before) and (wrong := differences(state, after)):
                violations += [f"neither the state before nor the state after: {line}" for line in wrong]
        else:
            violations += not_between(state, before, after)
        if done < len(self._commands) and self._commands[done][0] == "index":
            violations += _unreported_files(journal, state)
        return violations

    def _check_end(self, chance: random.Random) -> list[str]:
        """Check the final state."""
        violations = ["it hangs"] if self._hung else []
        violations += self._changed_images()
        violations += invariants.incomplete_backups(self._workspace.out)
        if self.scenario.deterministic and invariants.user_model_digests(self._workspace.home) != self._final_models:
            violations.append("in the end: the user's own models are not the expected ones")
        invariants.copy_home(self._workspace.home, self._copy)
        state, broken = invariants.check_all(self.settings, chance)
        violations += broken
        expected = self._final_state
        if not self.scenario.deterministic:
            models = {model for model, _, _ in expected.predictions}
            state = replace(state, predictions={key: row for key, row in state.predictions.items() if key[0] in models})
        return violations + [f"in the end: {line}" for line in differences(state, expected)]

    def _changed_images(self) -> list[str]:
        return [] if invariants.file_states(self._workspace.images) == self._image_files else ["image files have changed"]

    def _wrong_codes(self, ended: Sequence[dict[str, Any]], retried: bool) -> list[str]:
        return [
            f"{' '.join(self._commands[line['command']][:2])} ends with {line['code']}: {self.output_tail()[-400:]}"
            for line in ended
            if line["code"] != self._codes[line["command"]] and not (retried and line["code"] in self.scenario.retry_codes)
        ]

    def _classified_twice(self, journal: Sequence[dict[str, Any]], committed: Mapping[str, set[str]]) -> list[str]:
        classified = Counter(
            (line["model"], digest) for line in journal if line["kind"] == "classified" for digest in line["digests"]
        )
        twice = [digest for (_, digest), times in classified.items() if times > 1]
        if not self.scenario.recomputes:
            twice += [digest for model, digest in classified if digest in committed.get(model, ())]
        return [f"{len(twice)} images were classified again"] if twice else []


def start_fork_server() -> None:
    """Start the process from which others are forked; it imports once what they need."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(_PRELOADED_MODULES))
    with patch.dict(os.environ, _SINGLE_THREADED):
        forkserver.ensure_running()


def _forked(run: CommandRun) -> BaseProcess:
    process: BaseProcess = multiprocessing.get_context("forkserver").Process(target=run_commands, args=(run,))
    return process


def _violations_or_error(check: Callable[[], list[str]]) -> list[str]:
    """Return the violations that a check finds, or the error that prevents it."""
    try:
        return check()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def _ended(journal: Sequence[dict[str, Any]], first: int) -> tuple[int, list[dict[str, Any]]]:
    """Return how many command lines have ended in total, and the journal lines of those that ended."""
    ended = [line for line in journal if line["kind"] == "ended"]
    return first + len(ended), ended


def _inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def _unreported_files(journal: Sequence[dict[str, Any]], state: DatabaseSnapshot) -> list[str]:
    """Check that no more files are pending than the progress reported."""
    remaining: int | None = None
    for line in journal:
        match line["kind"]:
            case "begun":
                remaining = None
            case "total":
                remaining = line["images"]
            case "progress" if remaining is not None:
                remaining -= line["done"]
    pending = sum(file.state == "pending" for file in state.files.values())
    if remaining is None or pending <= remaining or not state.files:
        return []
    return [f"{pending} files are pending, but the progress reported that {remaining} remain"]


def _survivors(group: int) -> list[str]:
    """Check that the process group of the killed process ends. Decoders may finish their image first."""
    violations = []
    for process in _group_members(group):
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        if not select.select([descriptor], [], [], _DECODER_EXIT_SECONDS)[0]:
            violations.append(f"process {process} is still running")
        os.close(descriptor)
    return violations


def _group_members(group: int) -> list[int]:
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            members.append(int(status.parent.name))
    return members
