"""The child process that decodes images: it reads files from its standard input and writes pixels to its standard output.

A request is a fixed header, a record for each target, then the file's bytes. A response is the length of a JSON header, that
header, then the pixels. Neither can carry code.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import Damaged, ImageError, Unreadable, Unsupported
from indexer.domain.images import DecodedImage, DecodeTarget, Frame, InputSpec
from indexer.imaging.decode import MAX_FRAMES, decode_for, is_page
from indexer.imaging.further_formats import is_drawing
from indexer.system.child_process import answer_only, limit_memory, read_exactly

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

DRAWING_SECONDS = 15.0
"""Limit of the processor time for one SVG or vector animation: many times as long as large ones of people take."""

_REQUEST = struct.Struct("<BQ")
_TARGET = struct.Struct("<IddBI")
_LENGTH = struct.Struct("<I")
_MAX_HEADER_BYTES = 1 << 16
_ERRORS: dict[str, type[ImageError]] = {error.kind: error for error in (Damaged, Unreadable, Unsupported)}


def send_request(pipe: IO[bytes], data: bytes, targets: Sequence[DecodeTarget]) -> None:
    """Send an image file to a child, with what it is prepared for."""
    pipe.write(_REQUEST.pack(len(targets), len(data)))
    for spec, max_side in targets:
        pipe.write(_TARGET.pack(spec.size, spec.mean, spec.std, spec.background, max_side))
    pipe.write(data)
    pipe.flush()


def read_response(pipe: IO[bytes], targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
    """Read a child's response: the image, prepared for each target.

    Raises what the decoder raised, and EOFError for a child that ended or an invalid response.
    """
    (length,) = _LENGTH.unpack(read_exactly(pipe, _LENGTH.size))
    if length > _MAX_HEADER_BYTES:
        raise EOFError
    header = json.loads(read_exactly(pipe, length))
    if "error" in header:
        raise _ERRORS[header["kind"]](header["error"])
    if len(header["images"]) != len(targets):
        raise EOFError
    return tuple(_read_image(pipe, header, image, target) for image, target in zip(header["images"], targets, strict=True))


def _read_image(pipe: IO[bytes], header: Mapping[str, Any], image: Mapping[str, Any], target: DecodeTarget) -> DecodedImage:
    height, width = image["sides"]
    numbers = image["frames"]
    if (
        not (is_page(height, width, target.max_side) if target.max_side else height == width == target.spec.size)
        or not 1 <= len(numbers) <= MAX_FRAMES
    ):
        raise EOFError
    first, *later = (Frame(number, _read_pixels(pipe, height, width)) for number in numbers)
    return DecodedImage(
        digest=bytes.fromhex(header["digest"]),
        pixels=first.pixels,
        width=header["width"],
        height=header["height"],
        format=header["format"],
        frame=first.number,
        later=tuple(later),
        incomplete=header["incomplete"],
    )


def _read_pixels(pipe: IO[bytes], height: int, width: int) -> Pixels:
    return np.frombuffer(read_exactly(pipe, height * width * 3), dtype=np.uint8).reshape(height, width, 3)


def serve(memory: int, drawing_seconds: float) -> None:
    """Decode requests until the input ends, in at most `memory` bytes of address space.

    A drawing that takes more processor time than `drawing_seconds` ends the process with SIGPROF.
    """
    requests, responses = sys.stdin.buffer, answer_only()
    limit_memory(memory)
    while header := requests.read(_REQUEST.size):
        count, length = _REQUEST.unpack(header)
        targets = [_read_target(requests) for _ in range(count)]
        data = read_exactly(requests, length)
        try:
            with _time_limit(drawing_seconds if is_drawing(data) else 0):
                images = decode_for(data, targets)
        except ImageError as error:
            _send_response(responses, {"kind": error.kind, "error": str(error)})
        else:
            facts = {
                "digest": images[0].digest.hex(),
                "width": images[0].width,
                "height": images[0].height,
                "format": images[0].format,
                "incomplete": images[0].incomplete,
                "images": [
                    {"frames": [frame.number for frame in image.frames], "sides": image.pixels.shape[:2]} for image in images
                ],
            }
            _send_response(responses, facts, [frame.pixels for image in images for frame in image.frames])


def _read_target(pipe: IO[bytes]) -> DecodeTarget:
    size, mean, std, background, max_side = _TARGET.unpack(read_exactly(pipe, _TARGET.size))
    return DecodeTarget(InputSpec(size, mean, std, background), max_side)


def _send_response(pipe: IO[bytes], header: dict[str, Any], frames: Sequence[Pixels] = ()) -> None:
    text = json.dumps(header).encode()
    pipe.write(_LENGTH.pack(len(text)) + text)
    for pixels in frames:
        pipe.write(np.ascontiguousarray(pixels).data)
    pipe.flush()


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Limit the processor time of the block; 0 sets no limit. Windows has no such timers."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError):
        serve(int(sys.argv[1]), float(sys.argv[2]))
    os._exit(0)
