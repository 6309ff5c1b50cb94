"""Files that lack their end, as after an interrupted copy or download. Only the sizes that a file states are read."""

from __future__ import annotations

import zlib
from collections.abc import Callable

REASON = "it is cut off: its end is missing; copy or download the image again"
"""Why such a file cannot be decoded, and what to do."""

_JPEG_END, _GIF_END = b"\xff\xd9", b";"
_BOX_KINDS = (b"ftyp", b"jP  ", b"JXL ")
"""The first box of AVIF, HEIF, JPEG 2000 and JPEG XL files."""

_GZIP_WBITS = 31
"""The value for zlib that selects the format of gzip, with its largest window."""

_MAX_UNPACKED_BYTES = 1 << 20
"""Compressed data is unpacked up to this size, to see whether it ends before."""

_MAX_PARTS = 1 << 20
"""Limit of the chunks or boxes that are counted: a file of many empty ones must not take long."""


def is_cut_off(data: bytes) -> bool:
    """Return whether an image file ends before the end that it states. False for formats that state none."""
    is_cut = next((is_cut for start, is_cut in _CHECKS.items() if data.startswith(start)), None)
    if is_cut is None:
        return data[4:8] in _BOX_KINDS and _last_box_is_cut(data)
    return is_cut(data)


def _is_png_cut(data: bytes) -> bool:
    """Return whether the last chunk of a PNG file, IEND, is missing."""
    start = 8
    for _ in range(_MAX_PARTS):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        start += 12 + length  # the length, the kind and a checksum take 4 bytes each
        if kind == b"IEND" or start > len(data):
            return kind != b"IEND"
    return False


def _is_jpeg_cut(data: bytes) -> bool:
    return not data.rstrip(b"\0").endswith(_JPEG_END)


def _is_gif_cut(data: bytes) -> bool:
    return not data.rstrip(b"\0").endswith(_GIF_END)


def _is_webp_cut(data: bytes) -> bool:
    return data[8:12] == b"WEBP" and len(data) < 8 + int.from_bytes(data[4:8], "little")


def _is_bitmap_cut(data: bytes) -> bool:
    return len(data) < int.from_bytes(data[2:6], "little")


def _is_tiff_cut(data: bytes) -> bool:
    """Return whether the list of the tags of the first image is missing. It can be anywhere in the file."""
    return len(data) <= int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big")


def _is_gzip_cut(data: bytes) -> bool:
    """Return whether the end of compressed data is missing, as of a sticker of Telegram. False if it is large, or damaged."""
    decompressor = zlib.decompressobj(wbits=_GZIP_WBITS)
    try:
        return len(decompressor.decompress(data, _MAX_UNPACKED_BYTES)) < _MAX_UNPACKED_BYTES and not decompressor.eof
    except zlib.error:
        return False


def _last_box_is_cut(data: bytes) -> bool:
    """Return whether a file of boxes, each of which states its size, ends inside of one."""
    start = 0
    for _ in range(_MAX_PARTS):
        size, header = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:  # a large box has its size in the 8 bytes after its kind
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        if size < header:  # 0: the box ends with the file
            return False
        start += size
        if start >= len(data):
            return start > len(data)
    return False


_CHECKS: dict[bytes, Callable[[bytes], bool]] = {
    b"\x89PNG\r\n\x1a\n": _is_png_cut,
    b"\xff\xd8\xff": _is_jpeg_cut,
    b"GIF8": _is_gif_cut,
    b"RIFF": _is_webp_cut,
    b"BM": _is_bitmap_cut,
    b"II*\0": _is_tiff_cut,
    b"MM\0*": _is_tiff_cut,
    b"\x1f\x8b": _is_gzip_cut,
}
"""The checks of the formats that begin with a signature."""
