"""Named steps: every commit, fsync, rename, deletion and write of a program, where it can be killed before, in or after each.

The program is not changed for it: what it calls for these steps is wrapped, in a process that is there to be killed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss

BEFORE, HALF, AFTER = "before", "half", "after"
_OURS = ("db.", "indexer.", "models.", "commands.", "cli")
_PASSED_OVER = "indexer.system.atomic"
_NUMBERS = re.compile(r"[0-9a-f]{16,}|\d+")
_SCHEMA = ("CREATE", "ALTER", "DROP", "REINDEX")
_SPOKEN = re.compile(r"(power cut )?(?:at ([\d.]+)|(before|half|after) (.+) #(\d+))")


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process dies: at a share of its usual time, from outside, or at the `number`-th time that a step is reached.

    `cut`: the power goes with it, and takes along what was not synced.
    """

    step: str = ""
    number: int = 0
    moment: str = BEFORE
    at: float = 0.0
    cut: bool = False

    def __str__(self) -> str:
        when = f"{self.moment} {self.step} #{self.number}" if self.step else f"at {self.at:.4f}"
        return f"power cut {when}" if self.cut else when

    @staticmethod
    def parse(text: str) -> Kill:
        """What `str` made of one."""
        said = _SPOKEN.fullmatch(text)
        if said is None:
            raise ValueError(f"{text!r} says no moment")
        cut, at, moment, step, number = said.groups()
        return Kill(at=float(at), cut=bool(cut)) if at else Kill(step, int(number), moment, cut=bool(cut))


class Journal:
    """Lines that outlive the process that writes them."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, kind: str, **facts: object) -> None:
        os.write(self._file, json.dumps({"kind": kind, **facts}).encode() + b"\n")

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """What was noted; nothing where nothing was."""
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Steps:
    """The steps of this process that concern files below `world`; it dies at one of them where `kill` says so.

    What renames and deletions take away is kept, as a further link, in `kept`: a power cut may bring it back.
    """

    def __init__(self, world: Path, kept: Path, journal: Journal, kill: Kill | None) -> None:
        self._world = os.path.realpath(world)
        self._kept = kept
        self._journal = journal
        self._kill = kill
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def install(self) -> None:
        """Wrap, for the rest of this process, what it calls for its steps."""
        self._wrap_files()
        self._wrap_writes()
        self._wrap_sqlite()

    @contextmanager
    def step(self, what: str, path: str, halve: Callable[[], None] | None = None) -> Iterator[None]:
        """One step; `halve` does half of it."""
        name = f"{what} {_kind(os.path.relpath(path, self._world))} in {_caller()}"
        with self._lock:
            self._counts[name] += 1
            number = self._counts[name]
        self._journal.note("step", step=name, number=number, moments=[BEFORE, *([HALF] if halve else []), AFTER])
        self._die_at(name, number, BEFORE)
        if halve is not None and self._is_time(name, number, HALF):
            halve()
            self._die_at(name, number, HALF)
        yield
        self._die_at(name, number, AFTER)

    def _is_time(self, name: str, number: int, moment: str) -> bool:
        kill = self._kill
        return kill is not None and (kill.step, kill.number, kill.moment) == (name, number, moment)

    def _die_at(self, name: str, number: int, moment: str) -> None:
        if self._is_time(name, number, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def within(self, path: str) -> bool:
        """Whether a path is below the world."""
        return path.startswith(self._world + os.sep)

    def _keep(self, path: str) -> str | None:
        """A further link to a file, under which it stays; None where there is none."""
        if not os.path.isfile(path):
            return None
        with self._lock:
            place = self._kept / str(len(os.listdir(self._kept)))
            os.link(path, place)
        return str(place)

    def _wrap_files(self) -> None:
        fsync, replace, rename, unlink, rmdir = os.fsync, os.replace, os.rename, os.unlink, os.rmdir

        def traced_fsync(file: Any) -> None:
            path = os.readlink(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}")
            if not self.within(path):
                return fsync(file)
            with self.step("fsync", path):
                fsync(file)
                self._journal.note("fsync", path=path, inode=os.stat(path).st_ino)
            return None

        def moving(real: Callable[..., None]) -> Callable[..., None]:
            def traced(source: Any, target: Any, **options: Any) -> None:
                old, new = _absolute(source), _absolute(target)
                if not self.within(new):
                    return real(source, target, **options)
                with self.step("rename to", new):
                    kept = self._keep(new)
                    inodes = _inodes(old)
                    real(source, target, **options)
                    self._journal.note("rename", source=old, target=new, kept=kept, inodes=inodes)
                return None

            return traced

        def removing(real: Callable[..., None], word: str) -> Callable[..., None]:
            def traced(path: Any, *, dir_fd: int | None = None) -> None:
                place = _absolute(path, dir_fd)
                if not self.within(place) or not os.path.lexists(place):
                    return real(path, dir_fd=dir_fd)
                with self.step(word, place):
                    kept = self._keep(place)
                    real(path, dir_fd=dir_fd)
                    if kept:
                        self._journal.note("unlink", path=place, kept=kept)
                return None

            return traced

        instead: Mapping[str, object] = {
            "fsync": traced_fsync,
            "replace": moving(replace),
            "rename": moving(rename),
            "unlink": removing(unlink, "delete"),
            "remove": removing(unlink, "delete"),
            "rmdir": removing(rmdir, "delete folder"),
        }
        for name, traced in instead.items():
            setattr(os, name, traced)

    def _wrap_writes(self) -> None:
        """Files that are written at one stroke can be half written."""
        write_bytes, write_index = Path.write_bytes, faiss.write_index

        def traced_write(path: Path, data: bytes) -> int:
            with self.step("write", os.path.abspath(path), lambda: _drop(write_bytes(path, data[: len(data) // 2]))):
                return write_bytes(path, data)

        def traced_text(path: Path, text: str, encoding: str = "utf-8") -> int:
            return traced_write(path, text.encode(encoding))

        def traced_index(index: Any, name: str) -> None:
            def halve() -> None:
                write_index(index, name)
                os.truncate(name, os.path.getsize(name) // 2)

            with self.step("write", os.path.abspath(name), halve):
                write_index(index, name)

        Path.write_bytes = traced_write  # type: ignore[method-assign, assignment]
        Path.write_text = traced_text  # type: ignore[method-assign, assignment]
        faiss.write_index = traced_index  # type: ignore[assignment]

    def _wrap_sqlite(self) -> None:
        steps, journal, connect = self, self._journal, sqlite3.connect

        class Traced(sqlite3.Connection):
            def __init__(self, *words: Any, **options: Any) -> None:
                super().__init__(*words, **options)
                self.file = super().execute("PRAGMA database_list").fetchone()[2]
                self.changes, self.reshaped, self.wrote = 0, False, False
                self.set_trace_callback(self._heard)

            def _heard(self, statement: str) -> None:
                self.reshaped = self.reshaped or statement.lstrip().upper().startswith(_SCHEMA)

            def commit(self) -> None:
                self._committing(super().commit)

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    self._committing(super().commit)
                    return self.cursor()
                return super().execute(sql, *values)

            def _committing(self, commit: Callable[[], None]) -> None:
                news = self.reshaped or self.total_changes != self.changes
                if not (self.in_transaction and news and steps.within(self.file)):
                    return commit()
                (safety,) = super().execute("PRAGMA synchronous").fetchone()
                with steps.step("commit", self.file):
                    commit()
                    self.changes, self.reshaped, self.wrote = self.total_changes, False, True
                    journal.note("commit", path=self.file, synchronous=safety)
                return None

            def backup(self, target: sqlite3.Connection, **options: Any) -> None:
                with steps.step("copy to", target.execute("PRAGMA database_list").fetchone()[2]):
                    super().backup(target, **options)

            def close(self) -> None:
                if not self.wrote:
                    return super().close()
                self.wrote = False
                with steps.step("close", self.file):  # its log is written back
                    super().close()
                return None

        def traced_connect(*words: Any, **options: Any) -> Any:
            return connect(*words, **{**options, "factory": Traced})

        sqlite3.connect = sqlite3.dbapi2.connect = traced_connect


def _drop(_: object) -> None:
    """Takes what nobody needs."""


def _absolute(path: Any, folder: int | None = None) -> str:
    name = os.fsdecode(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name) if folder is not None else os.path.abspath(name)


def _inodes(path: str) -> list[int]:
    """Those of a file, or of all files in a folder."""
    files = [path] if os.path.isfile(path) else [str(file) for file in Path(path).rglob("*") if file.is_file()]
    return [os.stat(file).st_ino for file in files]


def _kind(path: str) -> str:
    """A file's name without what differs from run to run."""
    return _NUMBERS.sub("*", path)


def _caller() -> str:
    """The function of the program that takes this step."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(_OURS) and module != _PASSED_OVER:
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return "nobody"
