"""The pieces that picture files are made of, written by hand: what no library would write can be written with them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"

Entry = tuple[int, int, int, bytes]
"""A TIFF tag: its number, type, count, and its value's bytes."""

_SHORT, _LONG = 3, 4
_IN_PLACE = 4


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with a sum that holds."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks."""
    return SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, interlaced: int = 0) -> tuple[bytes, bytes]:
    """The first chunk of a PNG."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG that is whole."""
    found, place = [], len(SIGNATURE)
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def deflated(body: bytes) -> bytes:
    """What a chunk of a PNG holds that is compressed."""
    return zlib.compress(body)


def zeros(size: int) -> bytes:
    """So many zero bytes, deflated: a thousandth of them."""
    squeezed = zlib.compressobj(9)
    part = bytes(1 << 20)
    parts = [squeezed.compress(part[: min(len(part), size - done)]) for done in range(0, size, len(part))]
    return b"".join([*parts, squeezed.flush()])


def short(tag: int, *values: int) -> Entry:
    """A tag of 16-bit numbers."""
    return tag, _SHORT, len(values), struct.pack(f"<{len(values)}H", *values)


def long(tag: int, *values: int) -> Entry:
    """A tag of 32-bit numbers."""
    return tag, _LONG, len(values), struct.pack(f"<{len(values)}I", *values)


def tiff(pages: Sequence[Sequence[Entry]], data: bytes = b"", loops: bool = False) -> bytes:
    """A little-endian TIFF: header, `data` at offset 8, then the pages' tags. `loops`: the last page is followed by the first."""
    out = bytearray(b"II*\0" + struct.pack("<I", 8 + len(data)) + data)
    first = len(out)
    for number, entries in enumerate(pages):
        values = len(out) + 2 + 12 * len(entries) + 4
        tags, far = b"", b""
        for tag, kind, count, value in entries:
            place = value.ljust(_IN_PLACE, b"\0") if len(value) <= _IN_PLACE else struct.pack("<I", values + len(far))
            far += value if len(value) > _IN_PLACE else b""
            tags += struct.pack("<HHI", tag, kind, count) + place
        last = number == len(pages) - 1
        following = (first if loops else 0) if last else values + len(far)
        out += struct.pack("<H", len(entries)) + tags + struct.pack("<I", following) + far
    return bytes(out)


def grey_page(width: int, height: int, *more: Entry, offset: int = 8) -> list[Entry]:
    """The tags of an uncompressed grey page of one strip."""
    tags = [
        long(256, width),
        long(257, height),
        short(258, 8),
        short(259, 1),
        short(262, 1),
        long(273, offset),
        short(277, 1),
        long(278, height),
        long(279, width * height),
    ]
    replaced = {entry[0] for entry in more}
    return sorted([*(entry for entry in tags if entry[0] not in replaced), *more])


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """A marker segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    """A JPEG with segments right after its start."""
    return jpeg[:2] + segments + jpeg[2:]


def bmp(width: int, height: int, bits: int, compression: int, body: bytes, colours: int = 0) -> bytes:
    """A Windows bitmap with a palette of so many greys."""
    palette = b"".join(bytes([n * 255 // max(1, colours - 1)] * 3 + [0]) for n in range(colours))
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 2835, 2835, colours, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def riff(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A WebP file of these chunks."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a WebP file that is whole."""
    found, place = [], 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        found.append((data[place : place + 4], data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    return found
