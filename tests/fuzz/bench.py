"""A child that decodes, watched from outside: what kills it or holds it up is an outcome like any other."""

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

MEMORY = 3 << 30
"""What a picture may take, in bytes of address space."""

SECONDS = 60.0
"""How long a picture may take."""

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some bytes. `kind` is a failure's kind, "decoded", "escaped", "hang" or "killed"; `wrong` is why it must not
    be so, "" where it may; `seconds` are those of a processor, `peak` the bytes of memory it took at most;
    `said` is what the decoder's library wrote on stderr.
    """

    kind: str
    wrong: str
    seconds: float = 0.0
    peak: int = 0
    said: bytes = b""


class Bench:
    """A child for as many pictures as wanted; one that dies or hangs is replaced."""

    def __init__(self, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._memory, self._seconds = memory, seconds
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed where the bench is left
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()
        self._said.close()

    def try_(self, data: bytes) -> Outcome:
        """What comes of these bytes."""
        child = self._child or self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(len(data).to_bytes(8, "big") + data)
            child.stdin.flush()
        except BrokenPipeError:
            return self._died(child)
        line = self._answer(child)
        if line is None:
            self._end()
            return Outcome("hang", f"not over in {self._seconds:g} seconds", self._seconds)
        if not line:
            return self._died(child)
        outcome = Outcome(**json.loads(line), said=self._new_words())
        # Plain lines are libtiff's, which cannot be told to be silent from here; anything else could command a terminal.
        unsafe = bytes(byte for byte in outcome.said if byte != ord("\n") and not 32 <= byte < 127)
        return replace(outcome, wrong=f"stderr got {outcome.said!r}") if unsafe else outcome

    def _start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.fuzz.child", str(self._memory)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            words, cwd=_ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, bufsize=0
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n", self._new_words()
        self._child = child
        return child

    def _answer(self, child: subprocess.Popen[bytes]) -> bytes | None:
        """The child's line; b"" where it is dead, None where it is too late."""
        assert child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            return child.stdout.readline() if selector.select(self._seconds) else None

    def _died(self, child: subprocess.Popen[bytes]) -> Outcome:
        code = child.wait()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._end()
        return Outcome("killed", f"the decoder died of {name}: {self._new_words()!r}")

    def _new_words(self) -> bytes:
        """What was written on stderr since it was last asked; the start of it."""
        self._said.seek(0)
        words = self._said.read(2000)
        self._said.truncate(0)
        self._said.seek(0)
        return words

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()
