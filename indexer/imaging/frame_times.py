"""How long the frames of an animation are shown, read from its bytes without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate

_GIF_EXTENSION, _GIF_FRAME, _GIF_CONTROL = 0x21, 0x2C, 0xF9
_GIF_HEADER_BYTES, _GIF_FRAME_BYTES = 13, 10
_MS_OF_GIF_UNIT = 10
_SHORTEST_MS = 10
"""Frames that state a shorter time are shown for some time, too."""


def spread_frames(data: bytes, form: str, first: int, last: int, most: int) -> list[int]:
    """Return the numbers of at most `most` frames from `first` to `last`, both of them included, spread over the time.

    `form` is the name of the format. Frames of other formats than GIF, PNG and WebP, and of files that do not state the times of
    all these frames, count as equally long. If a few frames take most of the time, others are spread over the numbers.
    """
    by_number = list(dict.fromkeys(first + round(step * (last - first) / (most - 1)) for step in range(most)))
    times = _times(data, form)[: last - first + 1]
    if len(times) <= last - first:
        return by_number
    chosen = {first + at for at in _at_equal_distances(times, most)}
    return sorted([*chosen, *(number for number in by_number if number not in chosen)][:most])


def _at_equal_distances(times: list[int], most: int) -> Iterator[int]:
    """Yield the frames that are shown at times of equal distance, from the middle of the first to the middle of the last."""
    ends = list(accumulate(times))
    start, end = times[0] / 2, ends[-1] - times[-1] / 2
    frame = 0
    for step in range(most):
        moment = start + (end - start) * step / (most - 1)
        while frame < len(ends) - 1 and ends[frame] <= moment:
            frame += 1
        yield frame


def _times(data: bytes, form: str) -> list[int]:
    """Return the time of each frame, in milliseconds; of damaged files, as many as there are."""
    read = _READERS.get(form)
    times: list[int] = []
    if read is not None:
        with suppress(IndexError):  # the file is cut off
            times.extend(max(time, _SHORTEST_MS) for time in read(data))
    return times


def _gif_times(data: bytes) -> Iterator[int]:
    at = _GIF_HEADER_BYTES + _color_table_bytes(data[10])
    time = 0
    while at < len(data):
        if data[at] == _GIF_EXTENSION:
            if data[at + 1] == _GIF_CONTROL:
                time = _MS_OF_GIF_UNIT * int.from_bytes(data[at + 4 : at + 6], "little")
            at += 2
        elif data[at] == _GIF_FRAME:
            yield time
            time = 0
            at += _GIF_FRAME_BYTES + _color_table_bytes(data[at + 9]) + 1
        else:
            return
        while data[at]:
            at += data[at] + 1
        at += 1


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _png_times(data: bytes) -> Iterator[int]:
    at = 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"fcTL":
            numerator, denominator = (int.from_bytes(data[at + start : at + start + 2], "big") for start in (28, 30))
            yield 1000 * numerator // (denominator or 100)
        at += size + 12


def _webp_times(data: bytes) -> Iterator[int]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"ANMF":
            yield int.from_bytes(data[at + 20 : at + 23], "little")
        at += 8 + size + size % 2


_READERS: dict[str, Callable[[bytes], Iterator[int]]] = {"GIF": _gif_times, "PNG": _png_times, "WEBP": _webp_times}
