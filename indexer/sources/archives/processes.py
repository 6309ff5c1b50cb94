"""Reading of archives in child processes: one that crashes, hangs or exhausts memory costs a member, or the archive."""

from __future__ import annotations

import atexit
import json
import threading
from functools import cache
from typing import TYPE_CHECKING
from zlib import crc32

from indexer.domain.errors import Damaged, ImageError, Unreadable
from indexer.sources.archives.contents import Contents
from indexer.sources.archives.worker import read_answer, send_request
from indexer.system.child_process import KILLED, MEMORY_LIMIT_BYTES, ChildProcess, crash_reason

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp

ARCHIVE_TIMEOUT_SECONDS = 600.0
"""Time limit for one answer: the first one of a compressed tar archive comes when all of it was read."""

_PROCESSES = 4


class ArchiveProcesses:
    """A few child processes that open archives. Thread-safe.

    An archive is always read by the same child, which keeps it open, and keeps what it unpacked.
    """

    def __init__(self, seconds: float = ARCHIVE_TIMEOUT_SECONDS, memory: int = MEMORY_LIMIT_BYTES) -> None:
        self._slots = [_Slot(seconds, memory) for _ in range(_PROCESSES)]

    def contents(self, archive: bytes, stamp: FileStamp) -> Contents:
        """Return the contents of an archive that has a stamp.

        Raises FileNotFoundError, Damaged, Unsupported, and Unreadable (worth a retry).
        """
        data = self._slot(archive).ask(archive, stamp, None)
        try:
            return Contents.from_json(json.loads(data))
        except (ValueError, LookupError, TypeError) as error:
            raise Damaged("its list of members is invalid") from error

    def read(self, archive: bytes, stamp: FileStamp, member: bytes) -> bytes:
        """Return the bytes of a member of an archive that has a stamp. Raises what `contents` raises."""
        return self._slot(archive).ask(archive, stamp, member)

    def end(self) -> None:
        """End all children. A later call starts new ones."""
        for slot in self._slots:
            slot.end()

    def _slot(self, archive: bytes) -> _Slot:
        return self._slots[crc32(archive) % len(self._slots)]


@cache
def shared_processes() -> ArchiveProcesses:
    """Return the child processes that all libraries of this process share. They end with it."""
    processes = ArchiveProcesses()
    atexit.register(processes.end)
    return processes


class _Slot:
    """One child, which is started when it is needed."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None

    def ask(self, archive: bytes, stamp: FileStamp, member: bytes | None) -> bytes:
        with self._lock:
            child = self._child = self._child or self._start()
            timer = threading.Timer(self._seconds, child.kill_late)
            timer.daemon = True
            timer.start()
            try:
                send_request(child.pipe("stdin"), archive, stamp, member)
                return read_answer(child.pipe("stdout"))
            except (ImageError, FileNotFoundError):
                raise
            except (EOFError, OSError, ValueError, LookupError, TypeError):  # it died, or its answer is invalid
                timer.cancel()
                raise self._why_it_ended(child) from None
            except BaseException:
                self._end()
                raise
            finally:
                timer.cancel()

    def end(self) -> None:
        with self._lock:
            self._end()

    def _why_it_ended(self, child: ChildProcess) -> ImageError:
        exit_code = self._end()
        if child.timed_out:
            return Damaged(f"reading its archive takes more than {self._seconds:g} seconds")
        if exit_code == KILLED:
            return Unreadable("the process that reads its archive was killed; the system may be out of memory")
        return Damaged(crash_reason(exit_code, "the program that reads its archive"))

    def _start(self) -> ChildProcess:
        return ChildProcess("indexer.sources.archives.worker", (str(self._memory),), {})

    def _end(self) -> int:
        child, self._child = self._child, None
        return 0 if child is None else child.end()
