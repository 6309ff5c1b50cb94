"""Small files that are meant to cost much: in what is written beside a picture, in frames, pages and scans, in shapes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import count
from math import ceil

from PIL import Image

from tests.fuzz import pieces
from tests.support.builders import draw_blocks, encoded

_MANY = 100_000
_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "' + b"ha" * 50 + b'">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, (b"&%c;" % (97 + n)) * 10) for n in range(9))
    + b"]><x:xmpmeta>&j;</x:xmpmeta>"
)  # fmt: skip

Bomb = Callable[[], bytes]

MOST = {"tiff-strips": 400_000_000, "tiff-tile-of-a-gigapixel": 1_200_000_000, "bmp-jumps": 1_000_000_000}
"""Bytes of memory that those may take which take more than a fifth of a gigabyte."""


def bombs() -> dict[str, Bomb]:
    """What makes each, by name."""
    return {
        "png-text-inflates": lambda: _png_with((b"zTXt", b"Comment\0\0" + pieces.zeros(1 << 28))),
        "png-international-text-inflates": lambda: _png_with((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + pieces.zeros(1 << 28))),
        "png-profile-inflates": lambda: _png_with((b"iCCP", b"name\0\0" + pieces.zeros(1 << 28))),
        "png-many-texts": lambda: _png_with(*[(b"zTXt", b"a\0\0" + pieces.zeros(1 << 19))] * 500),
        "png-many-chunks": lambda: _png_with(*[(b"prVt", b"")] * 500_000),
        "png-lines-inflate": lambda: pieces.png([pieces.png_header(16, 16), (b"IDAT", pieces.zeros(1 << 28)), (b"IEND", b"")]),
        "png-laughing-xmp": lambda: _png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _LAUGHS)),
        "png-frames": _apng,
        "gif-frames": _gif,
        "gif-comments": lambda: _gif_with(b"\x21\xfe" + (b"\xff" + b"c" * 255) * _MANY + b"\0"),
        "webp-frames": _webp,
        "webp-laughing-xmp": lambda: encoded(draw_blocks(1), "WEBP", xmp=_LAUGHS),
        "tiff-pages": lambda: pieces.tiff([pieces.grey_page(4, 4)] * 20_000, bytes(16)),
        "tiff-pages-in-a-circle": lambda: pieces.tiff([pieces.grey_page(4, 4)] * 3, bytes(16), loops=True),
        "tiff-strips": _tiff_strips,
        "tiff-tags": lambda: pieces.tiff(
            [pieces.grey_page(4, 4, *((40_000 + n, 3, 1, b"\1\0") for n in range(20_000)))], bytes(16)
        ),
        "tiff-samples": lambda: pieces.tiff([pieces.grey_page(4, 4, pieces.short(277, 65_535))], bytes(16)),
        "tiff-counts": lambda: pieces.tiff([pieces.grey_page(4, 4, (258, 3, 0xFFFFFFFF, b"\\8\0\0\0"))], bytes(16)),
        "tiff-tile-of-a-gigapixel": lambda: pieces.tiff([_one_tile(32_768)], bytes(16)),
        "jpeg-profile": lambda: _jpeg_with(*(_profile_part(n) for n in range(1, 256))),
        "jpeg-segments": lambda: _jpeg_with(*[pieces.jpeg_segment(0xE5, bytes(65_533))] * 1000),
        "jpeg-comments": lambda: _jpeg_with(*[pieces.jpeg_segment(0xFE, b"\x1b[2J" * 10)] * 20_000),
        "jpeg-laughing-xmp": lambda: _jpeg_with(pieces.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _LAUGHS)),
        "jpeg-exif-in-a-circle": lambda: _with_exif(_circle()),
        "jpeg-exif-counts": lambda: _with_exif(pieces.tiff([[(0x0112, 3, 0xFFFFFFFF, b"\6\0\0\0")]])),
        "jpeg-orientation-text": lambda: _with_exif(pieces.tiff([[(0x0112, 2, 4, b"six\0")]])),
        "jpeg-orientation-by-zero": lambda: _with_exif(pieces.tiff([[(0x0112, 5, 1, struct.pack("<II", 6, 0))]])),
        "jpeg-orientation-large": lambda: _with_exif(pieces.tiff([[pieces.short(0x0112, 65_535)]])),
        "jpeg-exif-is-none": lambda: _with_exif(b"\x1b]0;owned\x07" * 100),
        "bmp-empty-line": lambda: pieces.bmp(4_000_000, 1, 8, 1, bytes([1, 1, 0, 0]), 16),
        "bmp-nibbles": lambda: pieces.bmp(11_313, 11_313, 4, 2, bytes([255, 0x12]) * 200_000, 16),
        "bmp-jumps": lambda: pieces.bmp(11_313, 11_313, 8, 1, bytes([0, 2, 255, 255]) * 1000, 16),
        "bmp-runs-of-one": lambda: pieces.bmp(4000, 4000, 8, 1, (bytes([1, 7]) * 4000 + b"\0\0") * 200, 16),
    }


def shapes() -> Iterator[tuple[str, bytes]]:
    """Pictures that are as long and thin as may be."""
    for width, height in ((1, 128_000_000), (128_000_000, 1), (2, 64_000_000), (64_000_000, 2)):
        line = (width * 1 + 7) // 8 + 1
        header = pieces.png_header(width, height, 1, 0)
        yield f"png-{width}x{height}", pieces.png([header, (b"IDAT", pieces.zeros(line * height)), (b"IEND", b"")])
        yield f"tiff-{width}x{height}", pieces.tiff([_deflated(width, height)], pieces.zeros(width * height))
    yield "jpeg-1x65500", encoded(Image.new("RGB", (1, 65_500)), "JPEG")
    yield "gif-1x65535", encoded(Image.new("P", (1, 65_535)), "GIF")
    yield "webp-16383x1", encoded(Image.new("RGB", (16_383, 1)), "WEBP")
    yield "bmp-1x1000000", encoded(Image.new("L", (1, 1_000_000)), "BMP")


def scans(side: int, number: int) -> bytes:
    """A grey progressive JPEG of so many scans, each of which says of every block that nothing is new in it.

    An old way to keep libjpeg busy: a scan takes a few bytes for every 32,767 blocks, and a pass over all coefficients.
    """
    tables = pieces.jpeg_segment(0xDB, b"\0" + b"\1" * 64)
    frame = pieces.jpeg_segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    # One code of one bit each: for direct current "no difference", for the others "32,767 blocks end here".
    huffman = b"".join(
        pieces.jpeg_segment(0xC4, bytes([kind]) + b"\1" + bytes(15) + symbol) for kind, symbol in ((0x00, b"\0"), (0x10, b"\xe0"))
    )
    blocks = ceil(side / 8) ** 2
    direct = pieces.jpeg_segment(0xDA, b"\1\1\0\0\0\0") + bytes(ceil(blocks / 8))
    runs = ceil(blocks / 32_767)
    # The code 0, then 14 bits of ones: 16,384 + 16,383 blocks.
    bits = ("0" + "1" * 14) * runs
    bits += "1" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    other = pieces.jpeg_segment(0xDA, b"\1\1\0\x01\x3f\x00") + packed
    return b"\xff\xd8" + tables + frame + huffman + direct + other * number + b"\xff\xd9"


def nibbles() -> bytes:
    """A bitmap of 127 million pixels of 4 bits in runs, which Pillow unpacks in Python, one after the other."""
    width = 255 * 44
    return pieces.bmp(width, 11_314, 4, 2, (bytes([255, 0x12]) * 44 + b"\0\0") * 11_314, 16)


def _png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    first, *rest = pieces.png_chunks(encoded(draw_blocks(1)))
    return pieces.png([first, *chunks, *rest])


def _jpeg_with(*segments: bytes) -> bytes:
    return pieces.with_segments(encoded(draw_blocks(1), "JPEG"), b"".join(segments))


def _with_exif(exif: bytes) -> bytes:
    return _jpeg_with(pieces.jpeg_segment(0xE1, b"Exif\0\0" + exif))


def _profile_part(number: int) -> bytes:
    return pieces.jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 255]) + bytes(65_000))


def _circle() -> bytes:
    """Tags whose parts are the tags themselves, and are followed by themselves."""
    to_itself = struct.pack("<I", 8)
    return pieces.tiff([[(tag, 4, 1, to_itself) for tag in (0x8769, 0x8825, 0xA005)]], loops=True)


def _apng() -> bytes:
    chunks = pieces.png_chunks(encoded(draw_blocks(1, (8, 8))))
    pixels = next(body for kind, body in chunks if kind == b"IDAT")
    numbers = count(1)
    first = [chunks[0], (b"acTL", struct.pack(">II", _MANY, 0)), _frame_control(0), *chunks[1:-1]]
    more = [
        chunk
        for _ in range(_MANY)
        for chunk in (_frame_control(next(numbers)), (b"fdAT", struct.pack(">I", next(numbers)) + pixels))
    ]
    return pieces.png([*first, *more, chunks[-1]])


def _frame_control(number: int) -> tuple[bytes, bytes]:
    return b"fcTL", struct.pack(">IIIIIHHBB", number, 8, 8, 0, 0, 1, 10, 0, 0)


def _gif() -> bytes:
    still = encoded(draw_blocks(1, (8, 8)), "GIF")
    start = still.index(b",\0\0\0\0")
    return still[:start] + still[start:-1] * _MANY + b";"


def _gif_with(extension: bytes) -> bytes:
    still = encoded(draw_blocks(1, (8, 8)), "GIF")
    start = still.index(b",\0\0\0\0")
    return still[:start] + extension + still[start:]


def _webp() -> bytes:
    moving = encoded(draw_blocks(1, (8, 8)), "WEBP", save_all=True, append_images=[draw_blocks(2, (8, 8))])
    chunks = pieces.riff_chunks(moving)
    return pieces.riff([*chunks[:-1], *chunks[-1:] * _MANY])


def _tiff_strips() -> bytes:
    strips = 200_000
    return pieces.tiff(
        [pieces.grey_page(4, strips, pieces.long(278, 1), pieces.long(273, *[8] * strips), pieces.long(279, *[4] * strips))],
        bytes(16),
    )


def _one_tile(side: int) -> list[pieces.Entry]:
    page = [entry for entry in pieces.grey_page(16, 16) if entry[0] not in (273, 278, 279)]
    tile = [pieces.short(259, 8), pieces.long(322, side), pieces.long(323, side), pieces.long(324, 8), pieces.long(325, 16)]
    return sorted([*(entry for entry in page if entry[0] != 259), *tile])


def _deflated(width: int, height: int) -> list[pieces.Entry]:
    return pieces.grey_page(width, height, pieces.short(259, 8), pieces.long(279, len(pieces.zeros(width * height))))
