"""Child processes that handle untrusted bytes for this one: modules that read their standard input and answer on their output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import IO

MEMORY_LIMIT_BYTES = 3 << 30
"""Limit of a child's address space: an image at the limit of pixels takes up to 2.5 GB."""

KILLED = -getattr(signal, "SIGKILL", 9)
"""The exit code of a child that was killed, by moodex or by the system."""

_ROOT = Path(__file__).resolve().parents[2]

_STOP_PATIENCE_SECONDS = 2.0
"""Time for a child to end by itself before it is killed."""


class ChildProcess:
    """A child process that runs a module of moodex. `deadline`, in seconds of any clock, is when its owner kills it."""

    def __init__(self, module: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.deadline = inf
        self.timed_out = False
        # -P: Python must not import modules from the current folder.
        command = [sys.executable, "-P", "-m", module, *arguments]
        variables = {**os.environ, **environment, "PYTHONPATH": _search_path()}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=variables)  # noqa: S603

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill_late(self) -> None:
        """Kill the process because its time is over."""
        self.timed_out = True
        self._process.kill()

    def close(self) -> None:
        """Close the input of the process, which makes it end."""
        with suppress(OSError):
            self.pipe("stdin").close()

    def end(self) -> int:
        """End the process; return its exit code, negative for a signal."""
        self.close()
        try:
            code = self._process.wait(_STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.pipe("stdout").close()
        return code

    def pipe(self, name: str) -> IO[bytes]:
        """Return "stdin" or "stdout" of the process."""
        pipe: IO[bytes] = getattr(self._process, name)
        return pipe


def crash_reason(exit_code: int, what: str) -> str:
    """Describe how a child ended, as in "its decoder crashed (SIGSEGV)"; `what` is the subject."""
    with suppress(ValueError):
        return f"{what} crashed ({signal.Signals(-exit_code).name})"
    return f"{what} ended with code {exit_code}"


def answer_only() -> IO[bytes]:
    """Prepare this process as a child, in which libraries may print; return the stream for its responses."""
    responses = os.fdopen(os.dup(1), "wb")
    # Output that a library prints is discarded: it must not mix with the responses.
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 1)
    os.dup2(null_device, 2)
    # The parent decides when to stop; signals that a terminal or service manager sends to all processes are meant for the parent.
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    return responses


def limit_memory(memory: int) -> None:
    """Limit the address space of this process to some bytes, and write no core files."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limits
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # a lower limit is set already, or the system has no such limit (macOS)
            resource.setrlimit(kind, (limit, limit))


def read_exactly(pipe: IO[bytes], length: int) -> bytes:
    """Read some bytes from a pipe. Raises EOFError if it ends before."""
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _search_path() -> str:
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
