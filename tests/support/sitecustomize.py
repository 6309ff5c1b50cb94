"""A faulty decoder for child processes that have this folder in their search path. Bytes in the image choose the fault."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

_open = Image.open


def _open_with_fault(file: IO[bytes], *rest: Any, **options: Any) -> Any:
    text = file.read()
    file.seek(0)
    if b"FAULT:segfault" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"FAULT:stopped" in text:
        _exceed_time_limit()
        os.kill(os.getpid(), signal.SIGSTOP)
    if b"FAULT:hang" in text:
        _exceed_time_limit()
        while True:
            pass
    if b"FAULT:memory" in text:
        return [np.empty(1 << 28, dtype=np.uint8) for _ in range(64)]
    if b"FAULT:exit" in text:
        os._exit(7)
    if b"FAULT:babble" in text:
        sys.stdout.write("output that must be discarded\n" * 10_000)
        sys.stderr.write("more output\n" * 10_000)
    if b"FAULT:killed once" in text and not (marker := Path(os.environ["MOODEX_TEST_MARKER"])).exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if b"FAULT:killed always" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    return _open(file, *rest, **options)


def _exceed_time_limit() -> None:
    """Let the clock of the test jump beyond the time limit of a decoder."""
    Path(os.environ["MOODEX_TEST_LATE"]).touch()


Image.open = _open_with_fault
