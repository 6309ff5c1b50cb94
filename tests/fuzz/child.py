"""Decodes what it is sent, in a process of its own, with as much memory as it is told and no more.

Pictures come on stdin, each after its length in 8 bytes; a line of JSON goes out for each.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.fuzz.judge import judged

_LENGTH = 8
_RESET = "5"
"""What Linux takes for: forget how much memory was used at most. From then on it is counted anew."""


def main(address_space: int) -> None:
    judged(b"")
    for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
        judged(start)  # so that the decoders are loaded, and their memory is not taken for the first picture's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + address_space,) * 2)
    out = sys.stdout
    print("ready", flush=True, file=out)
    while length := sys.stdin.buffer.read(_LENGTH):
        data = sys.stdin.buffer.read(int.from_bytes(length, "big"))
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(_RESET)
        before, started = _memory("VmRSS"), time.process_time()
        kind, wrong = judged(data)
        seconds = time.process_time() - started
        facts = {"kind": kind, "wrong": wrong, "seconds": seconds, "peak": max(0, _memory("VmHWM") - before)}
        print(json.dumps(facts), flush=True, file=out)


def _memory(which: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(which)


if __name__ == "__main__":
    main(int(sys.argv[1]))
