"""Hearing of changes below folders: from the system, by watchfiles, or, where it says nothing, by looking again and again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from indexer.ports.sources import EXTENSIONS
from indexer.system.paths import is_under

POLL_SECONDS = 60.0
"""Seconds between looks where the system tells nothing."""
_DEBOUNCE_MS, _MAX_WAIT_MS = 400, 5000
"""How long nothing must happen before changes are told of, and when they are told of all the same."""
_ROOT_CHECK_SECONDS = 5.0
"""Seconds between looks at whether the folders themselves are still the same: disks come and go."""
_POLLED_FILE_SYSTEMS = (
    "9p",
    "afs",
    "ceph",
    "cifs",
    "davfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "nfs",
    "nfs4",
    "smb3",
)
"""File systems that others may change without this machine hearing of it."""


class Listener(Protocol):
    """What hears for a time. `problem` says why it does not, or no longer."""

    problem: str | None

    @property
    def ready(self) -> bool:
        """Whether it hears by now."""

    def stop(self) -> None:
        """Hear no longer."""


Listen = Callable[[Sequence[bytes], Callable[[set[bytes]], None], Callable[[bytes], bool]], Listener]


class SystemListener:
    """Hears what the system tells, in a thread of its own. Calls `heard` with the roots below which something changed, an empty
    set where only its own state did; `counts` says whether a changed path matters.
    """

    def __init__(self, roots: Sequence[bytes], heard: Callable[[set[bytes]], None], counts: Callable[[bytes], bool]) -> None:
        self.problem: str | None = None
        self._roots = tuple(roots)
        self._heard = heard
        self._counts = counts
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            from watchfiles import watch

            for changes in watch(
                *map(os.fsdecode, self._roots),
                watch_filter=lambda _, path: self._counts(os.fsencode(path)),
                debounce=_MAX_WAIT_MS,
                step=_DEBOUNCE_MS,
                rust_timeout=_DEBOUNCE_MS,
                stop_event=self._stop,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                if changes or not self.ready:
                    self._ready.set()
                    self._heard(self._of({os.fsencode(path) for _, path in changes}))
        except Exception as error:  # of many kinds, from another language
            self.problem = str(error) or type(error).__name__
            self._heard(set())

    def _of(self, paths: set[bytes]) -> set[bytes]:
        """The roots below which paths lie; all of them for a path whose name the system could not tell."""
        found: set[bytes] = set()
        for path in paths:
            below = {root for root in self._roots if is_under(path, root)}
            found |= below or set(self._roots)
        return found


def matters(path: bytes, own_folder: bytes) -> bool:
    """Whether a change of a path may concern pictures: not the program's own data, nor files that are none by name."""
    if is_under(path, own_folder):
        return False
    extension = os.path.splitext(path)[1].lower()
    return extension in EXTENSIONS or not extension or os.path.isdir(path) or not os.path.lexists(path)


@dataclass(slots=True)
class FolderWatcher:
    """Which of some folders (absolute, real) have changed since it was last asked. Any thread calls `wake` where one has.

    `poll` is how often to look where the system is not to be asked; None asks it, and looks only where it tells nothing, which
    `tell` is told of. `clock` gives seconds.
    """

    roots: Sequence[bytes]
    own_folder: bytes
    poll: float | None
    wake: Callable[[], None]
    tell: Callable[[str], None]
    clock: Callable[[], float]
    listen: Listen = SystemListener
    is_silent: Callable[[bytes], bool] = lambda root: file_system(root) in _POLLED_FILE_SYSTEMS
    _listener: Listener | None = None
    _changed: set[bytes] = field(default_factory=set)
    _polled: set[bytes] = field(default_factory=set)
    _states: dict[bytes, tuple[int, int] | None] = field(default_factory=dict)
    _looked_at: float = 0.0
    _roots_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> FolderWatcher:
        self._looked_at = self.clock()
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def ready(self) -> bool:
        """Whether nothing that changes from now on is missed."""
        return self._listener is None or self._listener.ready or self._listener.problem is not None

    def changed(self) -> set[bytes]:
        """The folders that have changed, or may have."""
        now = self.clock()
        if self._listener is not None and self._listener.problem is not None:
            self.tell(f"Changes cannot be heard of ({self._listener.problem}); looking every {self._pause:.0f} s instead.")
            self._end()
            self._polled = set(self.roots)
        if now - self._roots_at >= _ROOT_CHECK_SECONDS:
            self._look_at_roots(now)
        with self._lock:
            changed, self._changed = self._changed, set()
        if self._polled and now - self._looked_at >= self._pause:
            self._looked_at = now
            changed |= self._polled
        return changed

    def wait(self) -> float:
        """Seconds until it should be asked again."""
        times = [self._roots_at + _ROOT_CHECK_SECONDS]
        if self._polled:
            times.append(self._looked_at + self._pause)
        return max(0.0, min(times) - self.clock())

    @property
    def _pause(self) -> float:
        return self.poll or POLL_SECONDS

    def _begin(self) -> None:
        self._states = {root: _identity(root) for root in self.roots}
        self._roots_at = self.clock()
        there = [root for root, state in self._states.items() if state is not None]
        silent = [root for root in there if self.poll is None and self.is_silent(root)]
        if silent:
            names = ", ".join(repr(os.fsdecode(root)) for root in silent)
            self.tell(f"{names}: the file system tells of no changes; looking every {self._pause:.0f} s instead.")
        self._polled = set(silent if self.poll is None else self.roots)
        heard = [root for root in there if root not in self._polled]
        if heard:
            self._listener = self.listen(heard, self._hear, lambda path: matters(path, self.own_folder))

    def _end(self) -> None:
        if self._listener is not None:
            self._listener.stop()
        self._listener = None

    def _hear(self, roots: set[bytes]) -> None:
        with self._lock:
            self._changed |= roots
        self.wake()

    def _look_at_roots(self, now: float) -> None:
        """A folder that came, went, or is another one now, as a mounted disk is, has changed, and has to be listened to anew."""
        self._roots_at = now
        other = {root for root in self.roots if _identity(root) != self._states.get(root)}
        if other:
            self._end()
            self._begin()
            with self._lock:
                self._changed |= other


def file_system(path: bytes, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The kind of file system that a path lies on, as "ext4" or "nfs4"; None where the system does not say."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    best, kind = b"", None
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = _unescaped(before.split()[4])
        if is_under(path, point) and len(point) >= len(best):
            best, kind = point, os.fsdecode(after.split()[0])
    return kind


def _unescaped(text: bytes) -> bytes:
    for code, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        text = text.replace(code, character)
    return text


def _identity(root: bytes) -> tuple[int, int] | None:
    try:
        status: Any = os.stat(root)
    except OSError:
        return None
    return status.st_dev, status.st_ino
