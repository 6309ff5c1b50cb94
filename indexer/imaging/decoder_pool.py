"""Decoding in child processes: what a picture does to its decoder costs that picture, and nothing else.

Decoders are C libraries that read bytes from strangers. One that crashes, hangs or takes all memory takes its child process with
it: the picture fails, and a new child takes the next one. A child that is killed from outside costs nothing: the picture is
decoded again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING

from indexer.domain.errors import Damaged, ImageError, Unreadable
from indexer.imaging.decode_worker import MEMORY_LIMIT_BYTES, answer, ask

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, InputSpec

_ROOT = Path(__file__).resolve().parents[2]

DECODE_TIMEOUT_SECONDS = 60.0
"""What decoding one picture may take, by the clock: several times what the slowest at the limit of pixels takes."""

_STOP_PATIENCE_SECONDS = 2.0
"""Seconds that a child has to end by itself."""

_CHECKS_PER_TIMEOUT = 60
"""How often it is looked, within the time that a picture may take, whether it took longer."""

ENVIRONMENT = {
    # glibc keeps freed memory instead of returning the pages of every picture: a seventh less time to decode one.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 24),
    # Threads of linear algebra that nothing here uses would count as memory.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
"""What decoding is done under."""

_KILLED = -getattr(signal, "SIGKILL", 9)


class DecoderPool:
    """Child processes that decode, as many as there are threads that ask at a time.

    One picture may take `seconds` by the clock, and its child `memory` bytes of address space.
    """

    def __init__(
        self,
        seconds: float = DECODE_TIMEOUT_SECONDS,
        memory: int = MEMORY_LIMIT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._memory, self._clock = seconds, memory, clock
        self._idle: list[_DecoderProcess] = []
        self._children: set[_DecoderProcess] = set()
        self._watch = threading.Thread(target=self._give_up_on_the_late, name="decoders", daemon=True)
        self._over = threading.Event()
        self._starting = threading.Lock()

    def worker_pids(self) -> set[int]:
        """Give the process ids of the child processes."""
        return {child.pid for child in list(self._children)}

    def end(self) -> None:
        """End all of them; nobody may be asking, then or later."""
        self._over.set()
        for child in self._idle:
            child.close()
        for child in self._idle:
            self._end(child)
        self._idle.clear()

    def decode(self, data: bytes, spec: InputSpec, page: int = 0) -> DecodedImage:
        """As `decode.decode`, and Damaged too where the decoder crashes or goes beyond its limits, Unreadable, which is
        worth another try, where it was killed. Thread-safe.
        """
        for fresh in (False, True):
            child = self._start() if fresh else self._take()
            try:
                image = child.decode(data, spec, page, self._clock() + self._seconds)
            except ImageError:
                self._idle.append(child)
                raise
            except (EOFError, OSError, ValueError, LookupError, TypeError):  # it died, or what it says makes no sense
                ended = self._end(child)
                if child.timed_out:
                    raise Damaged(f"decoding it takes more than {self._seconds:g} seconds") from None
                if ended != _KILLED:
                    raise Damaged(_why(ended)) from None
            except BaseException:
                self._end(child)
                raise
            else:
                self._idle.append(child)
                return image
        raise Unreadable("its decoder was killed twice; perhaps memory ran out")

    def _take(self) -> _DecoderProcess:
        try:
            return self._idle.pop()  # the last one used: its memory is warm
        except IndexError:
            return self._start()

    def _start(self) -> _DecoderProcess:
        child = _DecoderProcess(self._memory)
        with self._starting:
            self._children.add(child)
            if not self._watch.ident:
                self._watch.start()
        return child

    def _end(self, child: _DecoderProcess) -> int:
        self._children.discard(child)
        return child.end()

    def _give_up_on_the_late(self) -> None:
        """One thread for all of them: a timer for each picture would cost as much as sending it does."""
        while not self._over.wait(self._seconds / _CHECKS_PER_TIMEOUT):
            now = self._clock()
            for child in list(self._children):
                if now > child.due:
                    child.give_up()


def _why(ended: int) -> str:
    with suppress(ValueError):
        return f"its decoder crashed ({signal.Signals(-ended).name})"
    return f"its decoder ended with code {ended}"


class _DecoderProcess:
    def __init__(self, memory: int) -> None:
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": _search_path()}
        # -P: the folder that moodex is called in must not be able to bring modules of its own.
        command = [sys.executable, "-P", "-m", "indexer.imaging.decode_worker", str(memory)]
        pipe = subprocess.PIPE
        self.due = inf
        self.timed_out = False
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603

    @property
    def pid(self) -> int:
        return self._process.pid

    def decode(self, data: bytes, spec: InputSpec, page: int, due: float) -> DecodedImage:
        self.timed_out = False  # it may have been given up just when it had answered
        self.due = due
        try:
            ask(self._pipe("stdin"), data, spec, page)
            return answer(self._pipe("stdout"), spec, page)
        finally:
            self.due = inf

    def give_up(self) -> None:
        self.timed_out = True
        self._process.kill()

    def close(self) -> None:
        """Tell it that nothing more will come."""
        with suppress(OSError):
            self._pipe("stdin").close()

    def end(self) -> int:
        """End it; the code it ended with, that of a signal negative."""
        self.close()
        try:
            code = self._process.wait(_STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._pipe("stdout").close()
        return code

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] = getattr(self._process, name)
        return pipe


def _search_path() -> str:
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
