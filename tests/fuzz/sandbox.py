"""Decode bytes in a child process that is watched from outside: a crash or a hang is an outcome, too."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

MEMORY_LIMIT_BYTES = 3 << 30
"""Address space for one image."""

TIME_LIMIT_SECONDS = 60.0
"""Time for one image."""

_ROOT = Path(__file__).parents[2]
_MAX_STDERR_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of decoding some bytes.

    - `kind`: the kind of a failure, "decoded", "escaped", "hang" or "killed".
    - `violation`: what is wrong with the outcome; "" if it is allowed.
    - `seconds`: CPU time.
    - `peak_bytes`: maximum memory, on top of that of the process.
    - `stderr`: the start of what the decoding library wrote to stderr.
    """

    kind: str
    violation: str
    seconds: float = 0.0
    peak_bytes: int = 0
    stderr: bytes = b""


class Sandbox:
    """Decodes images in a child process with limits; replaces a child that dies or hangs."""

    def __init__(self, memory_bytes: int = MEMORY_LIMIT_BYTES, seconds: float = TIME_LIMIT_SECONDS) -> None:
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._kill_child()
        self._stderr.close()

    def decode(self, data: bytes) -> Outcome:
        """Decode bytes in the child and return the outcome."""
        child = self._child or self._start_child()
        assert child.stdin is not None
        try:
            child.stdin.write(len(data).to_bytes(8, "big") + data)
            child.stdin.flush()
        except BrokenPipeError:
            return self._outcome_of_death(child)
        line = self._read_line(child)
        if line is None:
            self._kill_child()
            return Outcome("hang", f"not finished in {self._seconds:g} seconds", self._seconds)
        if not line:
            return self._outcome_of_death(child)
        outcome = Outcome(**json.loads(line), stderr=self._take_stderr())
        # libtiff writes plain lines, and moodex cannot silence it from here. Any other byte could be a command to a terminal.
        unsafe = bytes(byte for byte in outcome.stderr if byte != ord("\n") and not 32 <= byte < 127)
        return replace(outcome, violation=f"the decoder wrote {outcome.stderr!r} to stderr") if unsafe else outcome

    def _start_child(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.fuzz.child", str(self._memory_bytes)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            command, cwd=_ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n", self._take_stderr()
        self._child = child
        return child

    def _read_line(self, child: subprocess.Popen[bytes]) -> bytes | None:
        """Return a line from the child; b"" if it is dead, None after the time limit."""
        assert child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            return child.stdout.readline() if selector.select(self._seconds) else None

    def _outcome_of_death(self, child: subprocess.Popen[bytes]) -> Outcome:
        code = child.wait()
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._kill_child()
        return Outcome("killed", f"the decoder died of {cause}: {self._take_stderr()!r}")

    def _take_stderr(self) -> bytes:
        """Return the start of what was written to stderr since the last call."""
        self._stderr.seek(0)
        output = self._stderr.read(_MAX_STDERR_BYTES)
        self._stderr.truncate(0)
        self._stderr.seek(0)
        return output

    def _kill_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()
