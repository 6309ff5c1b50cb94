"""The locks of a data folder: the system releases them with their process, and a file names who holds the writer lock."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from indexer.domain.errors import WriterBusy, disk_error
from indexer.domain.runs import WriterInfo

_LOCK_PATIENCE_SECONDS, _LOCK_RETRY_SECONDS = 0.25, 0.02
"""Another process may hold the lock for a moment, only to test it."""

_LABEL_PATIENCE_SECONDS = 5.0
"""Thousands of labels take a second or two."""


@contextmanager
def writer_lock(home: Path, admits_labels: bool = False, patience: float = _LOCK_PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the writer lock of a data folder, and that of labels unless it `admits_labels`.

    Raises WriterBusy, naming the holder, if another process holds one of them. A held lock is tried again for `patience` seconds.
    """
    holder = home / "writer.json"
    busy = f"Another moodex is writing to {home}{{}}; wait for it or stop it."
    with (
        _held(home / "writer.lock", patience, busy),
        nullcontext() if admits_labels else _held(home / "labels.lock", patience, busy),
    ):
        note = {"pid": os.getpid(), "since": datetime.now().isoformat(" ", "seconds"), "time": time.time()}
        try:
            with suppress(OSError):  # on a full disk the lock works without the note
                holder.write_text(json.dumps(note), encoding="utf-8")
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextmanager
def label_lock(home: Path) -> Iterator[None]:
    """Hold the lock of changes that users make while a run may be in progress: labels, and hidden images.

    Raises WriterBusy if a process holds it for seconds: one that writes the whole library.
    """
    busy = f"Labels cannot change while another moodex teaches, repairs or restores {home}{{}}; try again when it has finished."
    with _held(home / "labels.lock", _LABEL_PATIENCE_SECONDS, busy):
        yield


@contextmanager
def _held(path: Path, patience: float, busy: str) -> Iterator[None]:
    """Hold a lock. Raises WriterBusy after `patience` seconds; `busy` is its sentence, with a gap for the holder."""
    lock = FileLock(path)
    try:
        lock.acquire(patience, _LOCK_RETRY_SECONDS)
    except Timeout as error:
        raise WriterBusy(busy.format(_described(path.with_name("writer.json")))) from error
    except OSError as error:
        raise disk_error(f"The data folder {path.parent}", error) from error
    try:
        yield
    finally:
        lock.release()


def writer(home: Path) -> WriterInfo | None:
    """Return the process that holds the writer lock of a data folder, or None.

    The lock itself is tested: processes cannot always see each other, and process ids are used again.
    """
    lock = FileLock(home / "writer.lock", timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        pass  # held, or in a folder that cannot be written to: only writer.json names the holder
    else:
        lock.release()
        return None
    try:
        note = json.loads((home / "writer.json").read_text(encoding="utf-8"))
        return WriterInfo(int(note["pid"]), float(note["time"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _described(holder: Path) -> str:
    try:
        note = json.loads(holder.read_text(encoding="utf-8"))
        return f" (process {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError):
        return ""
