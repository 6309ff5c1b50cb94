"""Named steps of a program: commits, fsyncs, renames, deletions and writes, at each of which it can be killed.

The code of the program stays as it is: the process that will be killed wraps the functions that perform the steps.
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
_PROGRAM_PREFIXES = ("db.", "indexer.", "models.", "commands.", "cli")
_SKIPPED_MODULE = "indexer.system.atomic"
"""Every file write goes through this module, so a step gets the name of the function that called the module."""

_VARYING_NUMBERS = re.compile(r"[0-9a-f]{16,}|\d+")
_SCHEMA_STATEMENTS = ("CREATE", "ALTER", "DROP", "REINDEX")
_KILL_TEXT = re.compile(r"(power cut )?(?:at ([\d.]+)|(before|half|after) (.+) #(\d+))")


@dataclass(frozen=True, slots=True)
class Kill:
    """The moment at which a process is killed.

    Either the `number`-th time (from 1) that it reaches `step`, or, from outside, the fraction `at` (0-1) of its usual duration.
    `power_cut`: the power fails too, and files lose what was not synced.
    """

    step: str = ""
    number: int = 0
    moment: str = BEFORE
    at: float = 0.0
    power_cut: bool = False

    def __str__(self) -> str:
        when = f"{self.moment} {self.step} #{self.number}" if self.step else f"at {self.at:.4f}"
        return f"power cut {when}" if self.power_cut else when

    @staticmethod
    def parse(text: str) -> Kill:
        """Parse the result of `str`. Raises ValueError."""
        match = _KILL_TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a moment of a kill")
        power_cut, at, moment, step, number = match.groups()
        if at:
            return Kill(at=float(at), power_cut=bool(power_cut))
        return Kill(step, int(number), moment, power_cut=bool(power_cut))


class Journal:
    """A file of JSON lines that outlives the process that writes it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def record(self, kind: str, **facts: object) -> None:
        os.write(self._file, json.dumps({"kind": kind, **facts}).encode() + b"\n")

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Return the lines of a journal; an empty list if the file is missing."""
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class StepTracer:
    """Records the steps of this process on files below `root`, and kills it at the one that `kill` names.

    Files that the program replaces or deletes stay in the folder `links` as hard links, since a power cut may bring them back.
    """

    def __init__(self, root: Path, links: Path, journal: Journal, kill: Kill | None) -> None:
        self._root = os.path.realpath(root)
        self._links = links
        self._journal = journal
        self._kill = kill
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def install(self) -> None:
        """Wrap the functions that perform steps, for the rest of this process."""
        self._wrap_files()
        self._wrap_writes()
        self._wrap_sqlite()

    @contextmanager
    def step(self, action: str, path: str, do_half: Callable[[], None] | None = None) -> Iterator[None]:
        """Record one step, which the block performs; `do_half` performs half of it."""
        name = f"{action} {_without_numbers(os.path.relpath(path, self._root))} in {_caller()}"
        with self._lock:
            self._counts[name] += 1
            number = self._counts[name]
        self._journal.record("step", step=name, number=number, moments=[BEFORE, *([HALF] if do_half else []), AFTER])
        self._die_at(name, number, BEFORE)
        if do_half is not None and self._is_time(name, number, HALF):
            do_half()
            self._die_at(name, number, HALF)
        yield
        self._die_at(name, number, AFTER)

    def _is_time(self, name: str, number: int, moment: str) -> bool:
        kill = self._kill
        return kill is not None and (kill.step, kill.number, kill.moment) == (name, number, moment)

    def _die_at(self, name: str, number: int, moment: str) -> None:
        if self._is_time(name, number, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def traces(self, path: str) -> bool:
        """Return whether a path is below the root."""
        return path.startswith(self._root + os.sep)

    def _preserve(self, path: str) -> str | None:
        """Add a hard link to a file and return its path; None if there is no such file."""
        if not os.path.isfile(path):
            return None
        with self._lock:
            link = self._links / str(len(os.listdir(self._links)))
            os.link(path, link)
        return str(link)

    def _wrap_files(self) -> None:
        fsync, replace, rename, unlink, rmdir = os.fsync, os.replace, os.rename, os.unlink, os.rmdir

        def traced_fsync(file: Any) -> None:
            path = os.readlink(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}")
            if not self.traces(path):
                return fsync(file)
            with self.step("fsync", path):
                fsync(file)
                self._journal.record("fsync", path=path, inode=os.stat(path).st_ino)
            return None

        def traced_rename(real: Callable[..., None]) -> Callable[..., None]:
            def traced(source: Any, target: Any, **options: Any) -> None:
                old, new = _absolute(source), _absolute(target)
                if not self.traces(new):
                    return real(source, target, **options)
                with self.step("rename to", new):
                    link = self._preserve(new)
                    inodes = _inodes(old)
                    real(source, target, **options)
                    self._journal.record("rename", source=old, target=new, link=link, inodes=inodes)
                return None

            return traced

        def traced_removal(real: Callable[..., None], action: str) -> Callable[..., None]:
            def traced(path: Any, *, dir_fd: int | None = None) -> None:
                removed = _absolute(path, dir_fd)
                if not self.traces(removed) or not os.path.lexists(removed):
                    return real(path, dir_fd=dir_fd)
                with self.step(action, removed):
                    link = self._preserve(removed)
                    real(path, dir_fd=dir_fd)
                    if link:
                        self._journal.record("unlink", path=removed, link=link)
                return None

            return traced

        replacements: Mapping[str, object] = {
            "fsync": traced_fsync,
            "replace": traced_rename(replace),
            "rename": traced_rename(rename),
            "unlink": traced_removal(unlink, "delete"),
            "remove": traced_removal(unlink, "delete"),
            "rmdir": traced_removal(rmdir, "delete folder"),
        }
        for name, traced in replacements.items():
            setattr(os, name, traced)

    def _wrap_writes(self) -> None:
        """Wrap functions that write a complete file in one call; a kill can leave half of the file."""
        write_bytes, write_index = Path.write_bytes, faiss.write_index

        def traced_write(path: Path, data: bytes) -> int:
            with self.step("write", os.path.abspath(path), lambda: _discard(write_bytes(path, data[: len(data) // 2]))):
                return write_bytes(path, data)

        def traced_text(path: Path, text: str, encoding: str = "utf-8") -> int:
            return traced_write(path, text.encode(encoding))

        def traced_index(index: Any, name: str) -> None:
            def write_half() -> None:
                write_index(index, name)
                os.truncate(name, os.path.getsize(name) // 2)

            with self.step("write", os.path.abspath(name), write_half):
                write_index(index, name)

        Path.write_bytes = traced_write  # type: ignore[method-assign, assignment]
        Path.write_text = traced_text  # type: ignore[method-assign, assignment]
        faiss.write_index = traced_index  # type: ignore[assignment]

    def _wrap_sqlite(self) -> None:
        tracer, journal, connect = self, self._journal, sqlite3.connect

        class TracedConnection(sqlite3.Connection):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self.file = super().execute("PRAGMA database_list").fetchone()[2]
                self.changes_at_commit, self.schema_changed, self.has_committed = 0, False, False
                self.set_trace_callback(self._on_statement)

            def _on_statement(self, statement: str) -> None:
                self.schema_changed = self.schema_changed or statement.lstrip().upper().startswith(_SCHEMA_STATEMENTS)

            def commit(self) -> None:
                self._trace_commit(super().commit)

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    self._trace_commit(super().commit)
                    return self.cursor()
                return super().execute(sql, *values)

            def _trace_commit(self, commit: Callable[[], None]) -> None:
                has_changes = self.schema_changed or self.total_changes != self.changes_at_commit
                if not (self.in_transaction and has_changes and tracer.traces(self.file)):
                    return commit()
                (synchronous,) = super().execute("PRAGMA synchronous").fetchone()
                with tracer.step("commit", self.file):
                    commit()
                    self.changes_at_commit, self.schema_changed, self.has_committed = self.total_changes, False, True
                    journal.record("commit", path=self.file, synchronous=synchronous)
                return None

            def backup(self, target: sqlite3.Connection, **options: Any) -> None:
                with tracer.step("copy to", target.execute("PRAGMA database_list").fetchone()[2]):
                    super().backup(target, **options)

            def close(self) -> None:
                if not self.has_committed:
                    return super().close()
                self.has_committed = False
                with tracer.step("close", self.file):  # SQLite copies the write-ahead log into the database
                    super().close()
                return None

        def traced_connect(*arguments: Any, **options: Any) -> Any:
            return connect(*arguments, **{**options, "factory": TracedConnection})

        sqlite3.connect = sqlite3.dbapi2.connect = traced_connect


def _discard(_: object) -> None:
    """Ignore a value, so that a lambda returns None."""


def _absolute(path: Any, folder: int | None = None) -> str:
    name = os.fsdecode(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name) if folder is not None else os.path.abspath(name)


def _inodes(path: str) -> list[int]:
    """Return the inode of a file, or of every file in a folder."""
    files = [path] if os.path.isfile(path) else [str(file) for file in Path(path).rglob("*") if file.is_file()]
    return [os.stat(file).st_ino for file in files]


def _without_numbers(path: str) -> str:
    """Replace the parts of a path that differ from run to run."""
    return _VARYING_NUMBERS.sub("*", path)


def _caller() -> str:
    """Return the function of the program that takes the current step."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(_PROGRAM_PREFIXES) and module != _SKIPPED_MODULE:
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return "unknown"
