"""One scenario's trials: the program is killed in it, looked at, and run to its end, which is that of one that was let be."""

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
from tests.crash.steps import Journal, Kill
from tests.crash.truth import Truth, between, differences, read_truth
from tests.crash.victim import Place, Run, live

PATIENCE = 120.0
"""Seconds after which a process that should have ended is taken for one that hangs."""

# Threads of their own would not outlive the fork, and take the other cores.
_SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_LAST_PICTURE = 20.0
"""Seconds that a process that was decoding may take to see that nobody asks any more."""

_NEEDED = (
    "tests.crash.victim",
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
"""What is imported once, where processes are forked."""


@dataclass(frozen=True, slots=True)
class Step:
    """A named step of a scenario: how often it comes, and the moments at which it can be interrupted."""

    name: str
    times: int
    moments: tuple[str, ...]


@dataclass(slots=True)
class Came:
    """What a trial came to: how many kills hit, and what they broke."""

    kills: int = 0
    violations: list[str] = field(default_factory=list)


class Trials:
    """A scenario in a place of its own. It is run once to its end before it is ever killed, and the steps of that are known."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self._place = Place(folder)
        self._template = folder / "template"
        self._copy = folder / "copy"
        for part in (self._place.pictures, self._place.home, self._place.out):
            part.mkdir(parents=True)
        self._commands: Commands = scenario.prepare(self._place)
        self._pictures = invariants.seen(self._place.pictures)
        shutil.copytree(self._place.world, self._template)
        self.violations: list[str] = []
        self._states: list[Truth] = [] if scenario.damaged else [self._state()]
        self._codes: list[int] = []
        self.seconds = 0.0
        self.steps: list[Step] = []
        self._let_be()

    @cached_property
    def settings(self) -> Settings:
        """Those of the copies that are looked at."""
        return Settings(home=self._copy, model=self.scenario.model)

    def try_out(self, kills: Sequence[Kill], chance: random.Random) -> Came:
        """Kill the program at each of these moments in turn, whenever it was begun again, look at what is left each time, and let
        it come to its end.
        """
        came = Came()
        self._begin_anew()
        self._seen = Truth()
        done = 0
        for kill in kills:
            before = _inodes(self._place.world)
            journal = self._run(done, kill)
            done, ended = _ended(journal, done)
            came.violations += self._codes_of(ended, again=True)
            if self._killed:
                came.kills += 1
            if kill.cut and self._killed:
                powercut.cut(self._place.world, before, journal, chance)
            came.violations += _found(partial(self._left, done, journal, chance))
            if done == len(self._commands):
                break
        journal = self._run(done, None)
        _, ended = _ended(journal, done)
        came.violations += self._codes_of(ended, again=True)
        came.violations += self._computed_twice(journal, self._seen.pictures_seen())
        came.violations += _found(partial(self._end, chance))
        return came

    def said(self) -> str:
        """The last that the program has said."""
        log = self._place.log
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def _let_be(self) -> None:
        """Run to the end, command by command, and remember what each came to."""
        chance = random.Random(self.scenario.name)
        names: Counter[str] = Counter()
        moments: dict[str, tuple[str, ...]] = {}
        self._begin_anew()
        for number in range(len(self._commands)):
            before = _inodes(self._place.world)
            journal = self._run(number, None, number + 1)
            times = {line["kind"]: line["at"] for line in journal if line["kind"] in ("ready", "over")}
            self.seconds += times["over"] - times["ready"]
            self._codes += [line["code"] for line in journal if line["kind"] == "ended"]
            for line in journal:
                if line["kind"] == "step":
                    names[line["step"]] += 1
                    moments[line["step"]] = tuple(line["moments"])
            self.violations += powercut.promises_broken(journal, before)
            self.violations += powercut.weak_commits(journal, self._place.home / "moodex.sqlite")
            self.violations += self._computed_twice(journal, self._states[-1].pictures_seen() if self._states else {})
            if not self.scenario.damaged:
                self._states.append(self._state())
        self._final = self._state()
        self._shelf = invariants.shelved(self._place.home)
        self.steps = [Step(name, times, moments[name]) for name, times in sorted(names.items())]
        self.violations += self._end(chance)

    def _run(self, first: int, kill: Kill | None, end: int | None = None) -> list[dict[str, Any]]:
        """Run command lines in a process of their own, from the first on, and kill it as is said; its journal."""
        place = self._place
        place.journal.unlink(missing_ok=True)
        shutil.rmtree(place.kept, ignore_errors=True)
        place.kept.mkdir()
        at_step = kill if kill is not None and kill.step else None
        run = Run(place, self._commands[first:end], first, at_step, self.scenario.model, dict(self.scenario.smaller))
        process = _forked(run)
        process.start()
        if kill is not None and not kill.step:
            process.join(kill.at * self.seconds)
            process.kill()
        process.join(PATIENCE)
        self._killed = process.exitcode == -signal.SIGKILL
        self._hung = process.exitcode is None
        if self._hung:
            process.kill()
            process.join()
        self._group = process.pid or 0
        process.close()
        return Journal.read(place.journal)

    def _begin_anew(self) -> None:
        """Everything but the pictures, which nobody changes, as it was at first."""
        for part in (self._place.home, self._place.out):
            shutil.rmtree(part)
            shutil.copytree(self._template / part.name, part)
        self._place.log.unlink(missing_ok=True)

    def _state(self) -> Truth:
        """What the database says now, in today's schema."""
        from indexer.bootstrap import open_library

        home = invariants.copied(self._place.home, self._copy)
        if (home / "moodex.sqlite").exists():
            with open_library(self.settings).database.open():
                pass
        return read_truth(home / "moodex.sqlite")

    def _left(self, done: int, journal: Sequence[dict[str, Any]], chance: random.Random) -> list[str]:
        """What a killed program has left, looked at."""
        found = ["it hangs"] if self._hung else []
        found += _survivors(self._group)
        found += invariants.lock_is_free(self._place.home)
        found += invariants.archives(self._place.out)
        found += self._untouched()
        if self.scenario.damaged:
            return found
        invariants.copied(self._place.home, self._copy)
        truth, broken = invariants.all_of(self.settings, chance)
        self._seen = truth
        found += broken
        before, after = self._states[done], self._states[min(done + 1, len(self._states) - 1)]
        if self.scenario.whole:
            if differences(truth, before) and (wrong := differences(truth, after)):
                found += [f"neither what was nor what will be: {line}" for line in wrong]
        else:
            found += between(truth, before, after)
        if done < len(self._commands) and self._commands[done][0] == "index":
            found += _forgotten(journal, truth)
        return found

    def _end(self, chance: random.Random) -> list[str]:
        """What is wrong with where it came to."""
        found = ["it hangs"] if self._hung else []
        found += self._untouched()
        found += invariants.archives(self._place.out)
        if self.scenario.ends and invariants.shelved(self._place.home) != self._shelf:
            found.append("in the end: the user's own models are not the right ones")
        invariants.copied(self._place.home, self._copy)
        truth, broken = invariants.all_of(self.settings, chance)
        found += broken
        expected = self._final
        if not self.scenario.ends:
            known = {model for model, _, _ in expected.said}
            truth = replace(truth, said={key: said for key, said in truth.said.items() if key[0] in known})
        return found + [f"in the end: {line}" for line in differences(truth, expected)]

    def _untouched(self) -> list[str]:
        return [] if invariants.seen(self._place.pictures) == self._pictures else ["the pictures are not as they were"]

    def _codes_of(self, ended: Sequence[dict[str, Any]], again: bool) -> list[str]:
        return [
            f"{' '.join(self._commands[one['command']][:2])} ends with {one['code']}: {self.said()[-400:]}"
            for one in ended
            if one["code"] != self._codes[one["command"]] and not (again and one["code"] in self.scenario.codes)
        ]

    def _computed_twice(self, journal: Sequence[dict[str, Any]], committed: Mapping[str, set[str]]) -> list[str]:
        computed = Counter((line["model"], one) for line in journal if line["kind"] == "computed" for one in line["digests"])
        twice = [one for (_, one), times in computed.items() if times > 1]
        if not self.scenario.anew:
            twice += [one for model, one in computed if one in committed.get(model, ())]
        return [f"{len(twice)} pictures were computed again"] if twice else []


def start_forking() -> None:
    """Let what makes the processes import everything that they need, once."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(_NEEDED))
    with patch.dict(os.environ, _SINGLE):
        forkserver.ensure_running()


def _forked(run: Run) -> BaseProcess:
    process: BaseProcess = multiprocessing.get_context("forkserver").Process(target=live, args=(run,))
    return process


def _found(look: Callable[[], list[str]]) -> list[str]:
    """What a look finds; where it cannot be taken, that."""
    try:
        return look()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def _ended(journal: Sequence[dict[str, Any]], first: int) -> tuple[int, list[dict[str, Any]]]:
    """How many command lines have ended by now, and how those of this journal did."""
    ended = [line for line in journal if line["kind"] == "ended"]
    return first + len(ended), ended


def _inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def _forgotten(journal: Sequence[dict[str, Any]], truth: Truth) -> list[str]:
    """Whether more files wait than people were told are left."""
    left: int | None = None
    for line in journal:
        match line["kind"]:
            case "begun":
                left = None
            case "total":
                left = line["pictures"]
            case "said" if left is not None:
                left -= line["done"]
    waiting = sum(file.state == "pending" for file in truth.files.values())
    if left is None or waiting <= left or not truth.files:
        return []
    return [f"{waiting} files wait, though it said that {left} are left"]


def _survivors(group: int) -> list[str]:
    """Processes of the killed one's group that live on: what decodes may finish its picture, and no more."""
    found = []
    for process in _members(group):
        try:
            watched = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        if not select.select([watched], [], [], _LAST_PICTURE)[0]:
            found.append(f"process {process} lives on")
        os.close(watched)
    return found


def _members(group: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(facts[2]) == group and facts[0] not in "ZX":
            found.append(int(status.parent.name))
    return found
