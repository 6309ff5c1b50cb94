"""One writer per database: a lock that the system drops with its process, and a note of who holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from indexer.errors import MoodexError, WriterBusy


@contextmanager
def writer_lock(home: Path) -> Iterator[None]:
    """Hold the writer's lock of a data folder. Raises WriterBusy, naming the holder, where somebody else does."""
    holder = home / "writer.json"
    lock = FileLock(home / "writer.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise WriterBusy(f"Another moodex is writing to {home}{_described(holder)}; wait for it or stop it.") from error
    except OSError as error:
        raise MoodexError(f"The data folder {home} cannot be written to: {error.strerror}.") from error
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "since": datetime.now().isoformat(" ", "seconds")}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _described(holder: Path) -> str:
    try:
        note = json.loads(holder.read_text(encoding="utf-8"))
        return f" (process {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError):
        return ""


def writer(home: Path) -> int | None:
    """The process that is writing to a data folder just now, if any; only reads."""
    try:
        pid = int(json.loads((home / "writer.json").read_text(encoding="utf-8"))["pid"])
        if os.name == "posix":  # elsewhere, signal 0 is one that kills
            os.kill(pid, 0)
    except PermissionError:
        return pid  # it is there, and somebody else's
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid
