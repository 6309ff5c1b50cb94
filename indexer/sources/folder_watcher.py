"""The folder watcher: detects changes by events of the operating system (watchfiles), or by polling if there are none."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from indexer.domain.path_set import PathSet
from indexer.ports.sources import ARCHIVE_EXTENSIONS, EXTENSIONS, EXTRA_EXTENSIONS, TABLE_EXTENSIONS, extension_of
from indexer.system.addresses import remote_address
from indexer.system.paths import is_under
from indexer.system.text import named

_EXTENSIONS = EXTENSIONS | EXTRA_EXTENSIONS.keys() | set(map(extension_of, ARCHIVE_EXTENSIONS)) | set(TABLE_EXTENSIONS)

POLL_SECONDS = 60.0
"""Default interval of polling."""
_DEBOUNCE_MS, _MAX_WAIT_MS = 400, 5000
"""A change is reported after the first time without another change, but no later than the second time."""
_ROOT_CHECK_SECONDS = 5.0
"""Interval of checks whether the roots are still the same folders: disks are mounted and unmounted."""
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
"""File systems that other machines may change without an event on this machine."""


class Listener(Protocol):
    """A listener for file-system events. `problem` is the reason why it receives none; None while it works."""

    problem: str | None

    @property
    def ready(self) -> bool:
        """Whether the listener receives events now."""

    def stop(self) -> None:
        """Stop listening."""


Listen = Callable[[Sequence[bytes], Callable[[set[bytes]], None], Callable[[bytes], bool]], Listener]


class SystemListener:
    """A listener for events of the operating system, in its own thread.

    Calls `report` with the roots below which something changed; with an empty set if only its own state changed. `is_relevant`
    decides whether a changed path counts.
    """

    def __init__(
        self, roots: Sequence[bytes], report: Callable[[set[bytes]], None], is_relevant: Callable[[bytes], bool]
    ) -> None:
        self.problem: str | None = None
        self._roots = tuple(roots)
        self._report = report
        self._is_relevant = is_relevant
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
                watch_filter=lambda _, path: self._is_relevant(os.fsencode(path)),
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
                    self._report(self._roots_of({os.fsencode(path) for _, path in changes}))
        except Exception as error:  # watchfiles is written in Rust and raises errors of many types
            self.problem = str(error) or type(error).__name__
            self._report(set())

    def _roots_of(self, paths: set[bytes]) -> set[bytes]:
        """Return the roots that contain paths; all roots for a path that the system could not name."""
        changed: set[bytes] = set()
        own = PathSet(self._roots)
        for path in paths:
            root = own.around(path)
            if root is None:
                return set(self._roots)
            while root is not None:  # a root may be inside another
                changed.add(root)
                root = own.around(os.path.dirname(root)) if os.path.dirname(root) != root else None
        return changed


def is_relevant_change(path: bytes, own_folder: bytes) -> bool:
    """Return whether a change of a path may concern images.

    Changes in moodex's data folder do not, nor do changes of existing files with an extension that images do not have.
    """
    if is_under(path, own_folder):
        return False
    extension = os.path.splitext(path)[1].lower()
    return extension in _EXTENSIONS or not extension or os.path.isdir(path) or not os.path.lexists(path)


@dataclass(slots=True)
class FolderWatcher:
    """Implements `indexer.ports.sources.Watcher` for folders (absolute, real).

    - `poll`: interval of polling in seconds. None listens to the system, and polls only folders without events.
    - `wake`: called from any thread after a change.
    - `warn`: called with a sentence if a folder is polled although `poll` is None.
    - `clock`: returns seconds.
    - `listen`: starts a listener.
    - `is_silent`: returns whether the file system of a folder reports no events.
    """

    roots: Sequence[bytes]
    own_folder: bytes
    poll: float | None
    wake: Callable[[], None]
    warn: Callable[[str], None]
    clock: Callable[[], float]
    listen: Listen = SystemListener
    is_silent: Callable[[bytes], bool] = lambda root: (
        remote_address(root) is not None or file_system(root) in _POLLED_FILE_SYSTEMS
    )
    _listener: Listener | None = None
    _changed: set[bytes] = field(default_factory=set)
    _polled: set[bytes] = field(default_factory=set)
    _states: dict[bytes, tuple[int, int] | None] = field(default_factory=dict)
    _polled_at: float = 0.0
    _roots_checked_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> FolderWatcher:
        self._polled_at = self.clock()
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def ready(self) -> bool:
        """Whether the watcher detects every change from now on."""
        return self._listener is None or self._listener.ready or self._listener.problem is not None

    def changed(self) -> set[bytes]:
        """Return the roots that changed, or may have changed, since the last call."""
        now = self.clock()
        if self._listener is not None and self._listener.problem is not None:
            self.warn(
                f"File-system events are not available ({self._listener.problem}); polling every {self._interval:.0f} s instead."
            )
            self._end()
            self._polled = set(self.roots)
        if now - self._roots_checked_at >= _ROOT_CHECK_SECONDS:
            self._check_roots(now)
        with self._lock:
            changed, self._changed = self._changed, set()
        if self._polled and now - self._polled_at >= self._interval:
            self._polled_at = now
            changed |= self._polled
        return changed

    def wait(self) -> float:
        """Return the seconds until the next poll or check of the roots."""
        times = [self._roots_checked_at + _ROOT_CHECK_SECONDS]
        if self._polled:
            times.append(self._polled_at + self._interval)
        return max(0.0, min(times) - self.clock())

    @property
    def _interval(self) -> float:
        return self.poll or POLL_SECONDS

    def _begin(self) -> None:
        self._states = {root: _identity(root) for root in self.roots}
        self._roots_checked_at = self.clock()
        existing = [root for root, state in self._states.items() if state is not None or remote_address(root)]
        silent = [root for root in existing if self.poll is None and self.is_silent(root)]
        if silent:
            names = named([repr(os.fsdecode(root)) for root in silent])
            self.warn(f"{names}: this place does not report changes; polling every {self._interval:.0f} s instead.")
        self._polled = set(silent if self.poll is None else self.roots)
        listening = [root for root in existing if root not in self._polled]
        if listening:
            self._listener = self.listen(listening, self._note_changes, lambda path: is_relevant_change(path, self.own_folder))

    def _end(self) -> None:
        if self._listener is not None:
            self._listener.stop()
        self._listener = None

    def _note_changes(self, roots: set[bytes]) -> None:
        with self._lock:
            self._changed |= roots
        self.wake()

    def _check_roots(self, now: float) -> None:
        """Restart listening if a root appeared, disappeared or was replaced, for example by a mount; it counts as changed."""
        self._roots_checked_at = now
        replaced = {root for root in self.roots if _identity(root) != self._states.get(root)}
        if replaced:
            self._end()
            self._begin()
            with self._lock:
                self._changed |= replaced


def file_system(path: bytes, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of a path's file system, such as "ext4" or "nfs4"; None if the system does not provide it."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    mount_point, kind = b"", None
    for line in lines:
        before, _, after = line.partition(b" - ")
        candidate = _unescaped(before.split()[4])
        if is_under(path, candidate) and len(candidate) >= len(mount_point):
            mount_point, kind = candidate, os.fsdecode(after.split()[0])
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
