"""The command line in this process, through the same entry as `./cli.py`. It restores the state of the process."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_gc_threshold = gc.get_threshold()
import cli  # noqa: E402

gc.set_threshold(*_gc_threshold)  # importing cli changes it


Argument = str | bytes | Path

_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE]
_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def run_in_process(arguments: Sequence[Argument], environ: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run one command line in an environment; capture the output of it and its children like a pipe.

    Raises AssertionError if the command changed a signal handler or the current folder.
    """
    decoded = [os.fsdecode(argument) for argument in arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        with _environment(environ), _logging(), _threads(), _streams(out, error):
            folder, handlers = Path.cwd(), _handlers()
            code = cli.run(decoded)
            assert (Path.cwd(), _handlers()) == (folder, handlers)
        out.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(decoded, code, out.read(), error.read())


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in _SIGNALS]


@contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(environ)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(environ: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environ):
        del os.environ[name]
    os.environ.update(environ)


@contextmanager
def _logging() -> Iterator[None]:
    """Restore the root logger's handlers, all levels, and the level up to which logging is disabled."""
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.manager.disable
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        logging.disable(disabled)
        for name in list(root.manager.loggerDict):
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@contextmanager
def _threads() -> Iterator[None]:
    """Wait for threads that were started, as the interpreter does at its end. Restore torch's number of threads."""
    before = set(threading.enumerate())
    torch = sys.modules.get("torch")
    count = torch.get_num_threads() if torch else 0
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            if not thread.daemon:
                thread.join()
        if torch:
            torch.set_num_threads(count)


@contextmanager
def _streams(out: IO[bytes], error: IO[bytes]) -> Iterator[None]:
    """Redirect the three standard streams, both as Python objects and as the descriptors that children inherit."""
    objects = [getattr(sys, name) for name in _STREAMS]
    for stream in objects[1:]:
        stream.flush()
    descriptors = [os.dup(number) for number in _STREAMS.values()]
    with open(os.devnull, "rb") as empty:
        for file, number in ((empty, 0), (out, 1), (error, 2)):
            os.dup2(file.fileno(), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    try:
        yield
    finally:
        for name, before in zip(_STREAMS, objects, strict=True):
            getattr(sys, name).close()
            setattr(sys, name, before)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
