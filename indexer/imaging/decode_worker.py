"""What a child process that decodes does: takes pictures on its standard input, one after the other, and answers with pixels.

A request is a fixed head, then the file's bytes; an answer is the length of a JSON head, that head, then the pixels. Neither can
carry code.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import Damaged, ImageError, Unreadable, Unsupported
from indexer.domain.images import DecodedImage, InputSpec
from indexer.imaging.decode import decode

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

MEMORY_LIMIT_BYTES = 3 << 30
"""The address space of a child, in bytes, while it decodes: a picture at the limit of pixels takes up to 2.5 GB."""

_REQUEST = struct.Struct("<IddBIQ")
_LENGTH = struct.Struct("<I")
_LONGEST_HEAD = 1 << 16
_ERRORS: dict[str, type[ImageError]] = {error.kind: error for error in (Damaged, Unreadable, Unsupported)}


def ask(pipe: IO[bytes], data: bytes, spec: InputSpec, page: int) -> None:
    """Send a picture to a child."""
    pipe.write(_REQUEST.pack(spec.size, spec.mean, spec.std, spec.background, page, len(data)))
    pipe.write(data)
    pipe.flush()


def answer(pipe: IO[bytes], spec: InputSpec, page: int) -> DecodedImage:
    """A child's answer. Raises what the decoder raised, and EOFError where it ended, or answered nonsense."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    if length > _LONGEST_HEAD:
        raise EOFError
    head = json.loads(_exactly(pipe, length))
    if "error" in head:
        raise _ERRORS[head["kind"]](head["error"])
    height, width = head["sides"]
    allowed = range(1, page + 1) if page else [spec.size]
    if height not in allowed or width not in allowed:
        raise EOFError
    pixels = np.frombuffer(_exactly(pipe, height * width * 3), dtype=np.uint8).reshape(height, width, 3)
    return DecodedImage(bytes.fromhex(head["digest"]), pixels, head["width"], head["height"], head["format"])


def serve(memory: int) -> None:
    """Decode what comes in until nothing more does, in so many bytes of memory."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a decoder prints belongs nowhere, least of all among the answers.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Who asks decides when to stop; what the terminal or a service manager tells all processes is for it.
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    _limit(memory)
    while head := requests.read(_REQUEST.size):
        size, mean, std, background, page, length = _REQUEST.unpack(head)
        data = _exactly(requests, length)
        try:
            image = decode(data, InputSpec(size, mean, std, background), page)
        except ImageError as error:
            _send(answers, {"kind": error.kind, "error": str(error)})
        else:
            told = {"digest": image.digest.hex(), "width": image.width, "height": image.height, "format": image.format}
            _send(answers, {**told, "sides": image.pixels.shape[:2]}, image.pixels)


def _send(pipe: IO[bytes], head: dict[str, Any], pixels: Pixels | None = None) -> None:
    text = json.dumps(head).encode()
    pipe.write(_LENGTH.pack(len(text)) + text)
    if pixels is not None:
        pipe.write(np.ascontiguousarray(pixels).data)
    pipe.flush()


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _limit(memory: int) -> None:
    """Let the system refuse more memory than this, and write no core files."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limits
    for what, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # there is a lower limit already, or the system knows none (macOS)
            resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError):
        serve(int(sys.argv[1]))
    os._exit(0)
