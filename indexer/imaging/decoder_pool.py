"""Decoding in child processes: a crash or hang of a decoder costs one image.

Decoders are C libraries that read untrusted bytes. If one crashes, hangs or exhausts memory, only its child process ends: that
image fails, and a new child decodes the next one. If a child is killed from outside, its image is decoded again.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

from indexer.domain.errors import Damaged, ImageError, Unreadable
from indexer.domain.images import DecodeTarget
from indexer.imaging.decode_worker import DRAWING_SECONDS, read_response, send_request
from indexer.system.child_process import KILLED, MEMORY_LIMIT_BYTES, ChildProcess, crash_reason

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, InputSpec

DECODE_TIMEOUT_SECONDS = 60.0
"""Time limit for one image: several times as long as the slowest image at the limit of pixels takes."""

_CHECKS_PER_TIMEOUT = 60
"""Number of checks for late children within the time limit."""

ENVIRONMENT = {
    # glibc keeps freed memory instead of returning the pages of every image: decoding takes a seventh less time.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 24),
    # Threads of linear algebra libraries would use up address space, and decoding does not need them.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
"""Environment variables of the child processes."""

_DRAWS_TOO_LONG = -getattr(signal, "SIGPROF", 27)


class DecoderPool:
    """Child processes that decode images, one for each thread that calls `decode` at the same time.

    - `seconds`: time limit for one image.
    - `memory`: limit of the address space of a child, in bytes.
    - `drawing_seconds`: limit of the processor time for a drawing (SVG, Lottie).
    - `clock`: returns seconds.
    """

    def __init__(
        self,
        seconds: float = DECODE_TIMEOUT_SECONDS,
        memory: int = MEMORY_LIMIT_BYTES,
        clock: Callable[[], float] = time.monotonic,
        drawing_seconds: float = DRAWING_SECONDS,
    ) -> None:
        self._seconds, self._memory, self._clock, self._drawing_seconds = seconds, memory, clock, drawing_seconds
        self._idle: list[_DecoderProcess] = []
        self._children: set[_DecoderProcess] = set()
        self._timer = threading.Thread(target=self._kill_late_children, name="decoders", daemon=True)
        self._ended = threading.Event()
        self._starting = threading.Lock()

    def worker_pids(self) -> set[int]:
        """Return the process ids of the child processes."""
        return {child.pid for child in list(self._children)}

    def end(self) -> None:
        """End all children. No thread may call `decode` during or after this."""
        self._ended.set()
        for child in self._idle:
            child.close()
        for child in self._idle:
            self._end(child)
        self._idle.clear()

    def decode(self, data: bytes, spec: InputSpec, max_side: int = 0) -> DecodedImage:
        """Decode an image in a child process, like `decode.decode`, and raise what `decode_for` raises. Thread-safe."""
        (image,) = self.decode_for(data, [DecodeTarget(spec, max_side)])
        return image

    def decode_for(self, data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
        """Decode an image in a child process, like `decode.decode_for`. Thread-safe.

        Also raises Damaged if the decoder crashes or exceeds its limits, and Unreadable (worth a retry) if it was killed.
        """
        for fresh in (False, True):
            child = self._start() if fresh else self._take()
            try:
                images = child.decode(data, targets, self._clock() + self._seconds)
            except ImageError:
                self._idle.append(child)
                raise
            except (EOFError, OSError, ValueError, LookupError, TypeError):  # it died, or its response is invalid
                exit_code = self._end(child)
                if child.timed_out:
                    raise Damaged(f"decoding it takes more than {self._seconds:g} seconds") from None
                if exit_code == _DRAWS_TOO_LONG:
                    raise Damaged(f"drawing it takes more than {self._drawing_seconds:g} seconds; save it as PNG") from None
                if exit_code != KILLED:
                    raise Damaged(crash_reason(exit_code, "its decoder")) from None
            except BaseException:
                self._end(child)
                raise
            else:
                self._idle.append(child)
                return images
        raise Unreadable("its decoder was killed twice; the system may be out of memory")

    def _take(self) -> _DecoderProcess:
        try:
            return self._idle.pop()  # the most recently used one: its memory is in the caches
        except IndexError:
            return self._start()

    def _start(self) -> _DecoderProcess:
        child = _DecoderProcess(self._memory, self._drawing_seconds)
        with self._starting:
            self._children.add(child)
            if not self._timer.ident:
                self._timer.start()
        return child

    def _end(self, child: _DecoderProcess) -> int:
        self._children.discard(child)
        return child.end()

    def _kill_late_children(self) -> None:
        """Kill children beyond their time limit. One thread serves all: a timer per image costs as much as sending the image."""
        while not self._ended.wait(self._seconds / _CHECKS_PER_TIMEOUT):
            now = self._clock()
            for child in list(self._children):
                if now > child.deadline:
                    child.kill_late()


class _DecoderProcess(ChildProcess):
    def __init__(self, memory: int, drawing_seconds: float) -> None:
        super().__init__("indexer.imaging.decode_worker", (str(memory), str(drawing_seconds)), ENVIRONMENT)

    def decode(self, data: bytes, targets: Sequence[DecodeTarget], deadline: float) -> tuple[DecodedImage, ...]:
        self.timed_out = False  # the timer may have expired just after the previous response
        self.deadline = deadline
        try:
            send_request(self.pipe("stdin"), data, targets)
            return read_response(self.pipe("stdout"), targets)
        finally:
            self.deadline = inf
