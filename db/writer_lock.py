"""The writer lock of a data folder: the system releases it with its process, and a file names the holder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from indexer.domain.errors import WriterBusy, disk_error
from indexer.domain.runs import WriterInfo

_LOCK_PATIENCE_SECONDS, _LOCK_RETRY_SECONDS = 0.25, 0.02
"""Another process may hold the lock for a moment, only to test it."""


@contextmanager
def writer_lock(home: Path, patience: float = _LOCK_PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the writer lock of a data folder. Raises WriterBusy, naming the holder, if another process holds it.

    A held lock is tried again for `patience` seconds.
    """
    holder = home / "writer.json"
    lock = FileLock(home / "writer.lock")
    try:
        lock.acquire(patience, _LOCK_RETRY_SECONDS)
    except Timeout as error:
        raise WriterBusy(f"Another moodex is writing to {home}{_described(holder)}; wait for it or stop it.") from error
    except OSError as error:
        raise disk_error(f"The data folder {home}", error) from error
    try:
        note = {"pid": os.getpid(), "since": datetime.now().isoformat(" ", "seconds"), "time": time.time()}
        with suppress(OSError):  # on a full disk the lock works without the note
            holder.write_text(json.dumps(note), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
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
