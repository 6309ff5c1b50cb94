"""Write parts of image files by hand, so that files can be invalid in ways that no library would write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"

Entry = tuple[int, int, int, bytes]
"""A TIFF tag: number, type, count, and the bytes of its value."""

_SHORT, _LONG = 3, 4
"""TIFF types of 16-bit and 32-bit numbers."""

_MAX_INLINE_BYTES = 4
"""A TIFF tag contains values up to this size; for longer ones it contains an offset."""


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk with a correct checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG with these chunks."""
    return SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_header(width: int, height: int, depth: int = 8, color: int = 2, interlaced: int = 0) -> tuple[bytes, bytes]:
    """Return the first chunk of a PNG."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a complete PNG."""
    chunks, offset = [], len(SIGNATURE)
    while offset + 12 <= len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        chunks.append((data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + size]))
        offset += 12 + size
    return chunks


def deflated(body: bytes) -> bytes:
    """Compress the body of a PNG chunk."""
    return zlib.compress(body)


def zeros(size: int) -> bytes:
    """Return `size` zero bytes, deflated to a thousandth of that."""
    compressor = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [compressor.compress(block[: min(len(block), size - done)]) for done in range(0, size, len(block))]
    return b"".join([*parts, compressor.flush()])


def short(tag: int, *values: int) -> Entry:
    """Return a tag of 16-bit numbers."""
    return tag, _SHORT, len(values), struct.pack(f"<{len(values)}H", *values)


def long(tag: int, *values: int) -> Entry:
    """Return a tag of 32-bit numbers."""
    return tag, _LONG, len(values), struct.pack(f"<{len(values)}I", *values)


def tiff(pages: Sequence[Sequence[Entry]], data: bytes = b"", loops: bool = False) -> bytes:
    """Return a little-endian TIFF: header, `data` at offset 8, then the tags of the pages.

    `loops`: the last page names the first one as its successor.
    """
    file = bytearray(b"II*\0" + struct.pack("<I", 8 + len(data)) + data)
    first_page = len(file)
    for number, entries in enumerate(pages):
        values_offset = len(file) + 2 + 12 * len(entries) + 4
        tags, values = b"", b""
        for tag, kind, count, value in entries:
            tags += struct.pack("<HHI", tag, kind, count)
            if len(value) <= _MAX_INLINE_BYTES:
                tags += value.ljust(_MAX_INLINE_BYTES, b"\0")
            else:
                tags += struct.pack("<I", values_offset + len(values))
                values += value
        last = number == len(pages) - 1
        next_page = (first_page if loops else 0) if last else values_offset + len(values)
        file += struct.pack("<H", len(entries)) + tags + struct.pack("<I", next_page) + values
    return bytes(file)


def gray_page(width: int, height: int, *more: Entry, offset: int = 8) -> list[Entry]:
    """Return the tags of an uncompressed gray page of one strip; `more` replaces or extends them."""
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
    """Return a marker segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    """Insert segments directly after the start marker of a JPEG."""
    return jpeg[:2] + segments + jpeg[2:]


def bmp(width: int, height: int, bits: int, compression: int, body: bytes, colors: int = 0) -> bytes:
    """Return a Windows bitmap with a palette of `colors` grays."""
    palette = b"".join(bytes([n * 255 // max(1, colors - 1)] * 3 + [0]) for n in range(colors))
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 2835, 2835, colors, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def riff(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a WebP file with these chunks."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a complete WebP file."""
    chunks, offset = [], 12
    while offset + 8 <= len(data):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        chunks.append((data[offset : offset + 4], data[offset + 8 : offset + 8 + size]))
        offset += 8 + size + size % 2
    return chunks
