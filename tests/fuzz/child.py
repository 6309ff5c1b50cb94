"""Decode images from stdin with a limited address space; the child process of `tests.fuzz.sandbox`.

Each image comes after its length in 8 bytes; the answer to each is a line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.fuzz.oracle import decode_and_check

_LENGTH_BYTES = 8
_RESET_PEAK_MEMORY = "5"
"""The value for /proc/self/clear_refs that resets the peak of resident memory (proc(5))."""


def main(address_space_bytes: int) -> None:
    decode_and_check(b"")
    for signature in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
        decode_and_check(signature)  # load the decoders, so that their memory does not count for the first image
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_memory_bytes("VmSize") + address_space_bytes,) * 2)
    out = sys.stdout
    print("ready", flush=True, file=out)
    while length := sys.stdin.buffer.read(_LENGTH_BYTES):
        data = sys.stdin.buffer.read(int.from_bytes(length, "big"))
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK_MEMORY)
        before, started = _memory_bytes("VmRSS"), time.process_time()
        kind, violation = decode_and_check(data)
        seconds = time.process_time() - started
        peak_bytes = max(0, _memory_bytes("VmHWM") - before)
        outcome = {"kind": kind, "violation": violation, "seconds": seconds, "peak_bytes": peak_bytes}
        print(json.dumps(outcome), flush=True, file=out)


def _memory_bytes(name: str) -> int:
    """Return a memory figure of /proc/self/status."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


if __name__ == "__main__":
    main(int(sys.argv[1]))
